"""`ps --tree`: processes below their parents, and in each the threads, asyncio tasks and greenlets by their names.

What multiprocessing knows of a process stands in multiprocessing.process._current_process: its name, whether it is a daemon, and
the pid that started it. Where that is not its parent any more, the starter has ended without ending it: an orphan.
"""

import time

from pellucid.kernel import procfs
from pellucid.kernel.memory import Unreadable
from pellucid.model import Gap
from pellucid.model.errors import LookError, NoSuchProcess
from pellucid.model.report import TreeReport
from pellucid.model.tree import Branch, Leaf
from pellucid.observe.blocked import Seen, descendants, see
from pellucid.observe.identity import matching, runtime

MAX_OPENED = 128
"""Python processes whose threads are told; the others are listed without."""
MAX_PROCESSES = 4096


def tree(pattern: str | None) -> TreeReport:
    """The processes that `pattern` (a pid or a text) matches, with all below them; every process where it is None."""
    gaps: list[Gap] = []
    if pattern is not None and pattern.isascii() and pattern.isdigit():
        roots = [procfs.process(int(pattern)).pid]
    else:
        roots = list(matching(pattern))
    pids = dict.fromkeys(roots)
    if pattern is not None:
        for pid in roots:
            pids |= dict.fromkeys(descendants(pid, MAX_PROCESSES))
    branches: list[Branch] = []
    opened = 0
    for pid in pids:
        try:
            process = procfs.process(pid)
            python = runtime(pid, process.exe)
            # A JVM is asked for its threads, which stops them for a moment: only where it was named.
            opens = (
                python.startswith(("Python", "CPython")) or (pattern is not None and python == "JVM")
                if python
                else False
            )
            if opens and opened < MAX_OPENED:
                opened += 1
                branches.append(_opened(pid, gaps))
            else:
                branches.append(Branch(procfs.with_runtime(process, python) if python else process, "", None, None, ()))
        except NoSuchProcess:
            continue  # it ended since: the tree is of those that are there
    return TreeReport(process=None, taken_at=time.time(), gaps=tuple(dict.fromkeys(gaps)), branches=tuple(branches))


def _opened(pid: int, gaps: list[Gap]) -> Branch:
    try:
        seen = see(pid)
    except LookError as error:
        if isinstance(error, NoSuchProcess):
            raise
        gaps.append(Gap(f"the threads of pid {pid}", error.said, error.remedy))
        return Branch(procfs.process(pid), "", None, None, ())
    try:
        gaps += seen.look.gaps
        daemon, parent = _by_multiprocessing(seen)
        orphan = (
            parent
            if parent is not None and parent != seen.process.ppid and not _forked_by_service(seen, parent)
            else None
        )
        return Branch(
            seen.process, seen.process_name, daemon, orphan, (*_threads(seen), *_tasks(seen), *_greenlets(seen))
        )
    finally:
        seen.close()


def _threads(seen: Seen) -> list[Leaf]:
    return [
        Leaf("thread", seen.name(tid), tid, _does(seen, tid), seen.place(tid), seen.daemon(tid))
        for tid in seen.tasks
        if tid in seen.stacks or (seen.sights is None and seen.java is None)
    ]


def _does(seen: Seen, tid: int) -> str:
    blocked, wait, task = seen.blocked.get(tid), seen.waits.get(tid), seen.tasks[tid]
    if blocked is not None and blocked.sync is not None:
        return str(blocked.sync)
    if wait is None:
        return "runs" if task.state == "running" else task.state
    if wait.watched:
        return f"{wait.call} on {wait.watched[0].what}"
    return wait.kind if wait.kind in {"sleep", "gil", "child", "signal"} else wait.call


def _tasks(seen: Seen) -> list[Leaf]:
    if seen.tasks_look is None:
        return []
    return [
        Leaf("task", task.name, None, task.awaits or task.state, task.coroutine) for task in seen.tasks_look.values()
    ]


def _greenlets(seen: Seen) -> list[Leaf]:
    return seen.greenlets.leaves() if seen.greenlets is not None else []


def _by_multiprocessing(seen: Seen) -> tuple[bool | None, int | None]:
    """(daemon, the pid that started it), as the process itself knows it."""
    if seen.sights is None:
        return None, None
    values, registry = seen.sights.values, seen.sights.registry
    try:
        current = registry.variable("multiprocessing.process", "_current_process")
        if not current:
            return None, None
        own = values.namespace(current)
        parent = (
            values.number(own["_parent_pid"])
            if "_parent_pid" in own and not values.is_none(own["_parent_pid"])
            else None
        )
        daemon = values.item(own["_config"], "daemon") if "_config" in own else None
        return (bool(values.number(daemon)) if daemon else False) if parent else None, parent
    except (Unreadable, KeyError):
        return None, None


def _forked_by_service(seen: Seen, parent: int) -> bool:
    """A child of the forkserver has that as its parent, and the one who asked for it is alive."""
    try:
        return procfs.stat(parent).letter not in "ZX" and seen.process.ppid > 1
    except LookError:
        return False
