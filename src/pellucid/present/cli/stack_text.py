"""The text of `pellucid stacks`: a group of equal stacks is one block, the thread that waits longest speaks for it."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import Group
from pellucid.model.report import StacksReport
from pellucid.present.cli import plain, screen
from pellucid.present.view.groups import equal


def show(target: str, *, as_json: bool = False, every: bool = False) -> int:
    """Look and print; the exit status is 0, what goes wrong is raised."""
    from pellucid.observe.stacks import stacks

    report = stacks(plain.resolve(target))
    if as_json:
        plain.emit(report)
    else:
        for line in lines(report, every=every):
            screen.say(line)
    return 0


def lines(report: StacksReport, *, every: bool) -> Iterator[str]:
    """The whole screen, without colour."""
    process = report.process
    assert process is not None
    python = [thread for thread in report.threads if thread.python]
    other = [thread for thread in report.threads if not thread.python]
    count = len(report.threads)
    code = "Java" if process.runtime and "Python" not in process.runtime else "Python"
    yield screen.printable(
        f"pid {process.pid} {process.name} · {process.runtime or 'no Python'} · {count} thread{'' if count == 1 else 's'}"
    )
    for group in equal(python):
        yield ""
        yield screen.printable(
            f"{group.who}: {words.does(group.longest)}{_gil(group)}{' (moving)' if group.longest.moving else ''}"
        )
        for frame in group.longest.frames:
            yield screen.printable(
                f"    {frame.qualname or frame.function} ({frame.file}:{frame.line if frame.line is not None else '?'})"
            )
        if not group.longest.frames:
            yield f"    (no {code} frame)" if not group.longest.moving else "    (did not hold still)"
    if other:
        yield ""
        if every:
            for thread in other:
                yield screen.printable(f"{thread.name} (tid {thread.tid}), no {code}: {words.does(thread)}")
        else:
            yield (
                f"{len(other)} threads run no {code} (--all shows them)"
                if len(other) > 1
                else f"1 thread runs no {code} (--all shows it)"
            )
    cost = report.cost
    if cost.stopped_s is not None:
        yield ""
        yield f"The JVM was asked for its stacks: its threads stood still for {1000 * cost.stopped_s:.1f} ms."
    if cost.moving:
        yield ""
        yield f"{cost.moving} of {cost.stacks} stacks did not hold still ({cost.retries} retries): only their outer part is shown"
    yield from screen.gaps(report.gaps)


def _gil(group: Group) -> str:
    return ", holds the GIL" if any(thread.holds_gil for thread in group.threads) else ""
