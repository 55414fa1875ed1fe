"""The text of `pellucid ps --tree`: processes below their parents, threads and tasks below their process."""

from collections.abc import Iterator

from pellucid.diagnose.words import command
from pellucid.model.report import TreeReport
from pellucid.model.tree import Branch, Leaf
from pellucid.present.cli import screen

MAX_LEAVES = 60


def lines(report: TreeReport) -> Iterator[str]:
    """The whole screen, without colour."""
    known = {branch.process.pid for branch in report.branches}
    for branch in report.branches:
        if branch.process.ppid not in known:
            yield from _branch(branch, report.branches, "", "", set())
    yield from screen.gaps(report.gaps)


def _branch(branch: Branch, every: tuple[Branch, ...], first: str, rest: str, above: set[int]) -> Iterator[str]:
    process = branch.process
    name = f" {branch.name}" if branch.name else ""
    marks = [process.state, *([process.runtime] if process.runtime else []), *(["daemon"] if branch.daemon else [])]
    if branch.orphan_of is not None:
        marks.append(f"orphan: pid {branch.orphan_of}, which started it, has ended")
    yield screen.printable(f"{first}{process.pid}{name} {command(process, 70)} ({', '.join(marks)})")
    children = [one for one in every if one.process.ppid == process.pid and one.process.pid not in above]
    leaves = branch.leaves[:MAX_LEAVES]
    for place, leaf in enumerate(leaves):
        last = place + 1 == len(leaves) and not children and len(branch.leaves) <= MAX_LEAVES
        yield screen.printable(f"{rest}{'└─' if last else '├─'} {_leaf(leaf)}")
    if len(branch.leaves) > MAX_LEAVES:
        yield f"{rest}{'├─' if children else '└─'} and {len(branch.leaves) - MAX_LEAVES} more (--json lists them)"
    for place, child in enumerate(children):
        last = place + 1 == len(children)
        yield from _branch(
            child, every, f"{rest}{'└─' if last else '├─'} ", f"{rest}{'   ' if last else '│  '}", above | {process.pid}
        )


def _leaf(leaf: Leaf) -> str:
    daemon = " (daemon)" if leaf.daemon else ""
    at = f" at {leaf.at}" if leaf.at and leaf.what == "thread" else f" ({leaf.at})" if leaf.at else ""
    return f"{leaf.what} {leaf.name}{daemon}: {leaf.does}{at}"
