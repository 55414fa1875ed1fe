"""The text of `pellucid stacks --tasks`: each task below the one that awaits it, with its chain of awaits."""

from collections.abc import Iterator

from pellucid.model import Frame
from pellucid.model.report import TasksReport
from pellucid.model.task import AsyncTask
from pellucid.present.cli import screen

_MANY = 4
"""So many tasks with equal stacks, of which nobody waits for one, are told together."""


def lines(report: TasksReport) -> Iterator[str]:
    """The whole screen, without colour."""
    process = report.process
    assert process is not None
    count = len(report.tasks)
    yield screen.printable(
        f"pid {process.pid} {process.name} · {process.runtime} · {count} task{'' if count == 1 else 's'}"
    )
    alike: dict[tuple[str, str, tuple[Frame, ...], str | None], list[AsyncTask]] = {}
    for task in report.tasks:
        alike.setdefault((task.coroutine, task.state, task.stack, task.awaits), []).append(task)
    for group in alike.values():
        task = group[0]
        if len(group) < _MANY or any(one.awaited_by or one.held_by for one in group):
            for one in group:
                yield from _task(one, "")
        else:
            yield from _task(task, f" and {len(group) - 1:,} like it")
    yield from screen.gaps(report.gaps)


def _task(task: AsyncTask, others: str) -> Iterator[str]:
    yield ""
    yield screen.printable(f"{task.name}{others} ({task.coroutine}): {_does(task)}")
    for frame in task.stack:
        yield screen.printable(f"    {frame.qualname} ({frame.file}:{frame.line if frame.line is not None else '?'})")


def _does(task: AsyncTask) -> str:
    said = f"waits for {task.awaits}" if task.awaits else "runs now" if task.state == "running" else f"is {task.state}"
    if task.held_by:
        said += f", held by {', '.join(task.held_by)}"
    if task.awaited_by:
        said += f"; awaited by {', '.join(task.awaited_by)}"
    return said
