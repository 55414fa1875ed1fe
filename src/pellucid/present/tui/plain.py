"""The terminal view as text without a cursor: one block of lines a look, for small containers, logs and screen readers. No line is drawn."""

from collections.abc import Iterator

from pellucid.present.view.columns import line as text
from pellucid.present.view.deep import Deep
from pellucid.present.view.groups import Shown
from pellucid.present.view.top import Top, cells, columns, said

_ROWS = 20
_FRAMES = 6


def listed(seen: Top, *, hosts: bool, width: int, most: int = _ROWS) -> Iterator[str]:
    """The lines of one look at everything: the findings, numbered, then the first processes of the list."""
    yield seen.head()
    for number, need in enumerate(seen.needs, 1):
        yield f"{number}. {said(need)}"
        yield f"   {need.sentence}"
        yield f"   {need.command}"
    if not seen.needs:
        yield "Nobody needs you, of the Python processes that were looked at."
    for line in seen.not_seen:
        yield f"not seen: {line}"
    shape = columns(width, hosts=hosts)
    yield text([column.head for column in shape], shape)
    for one in seen.lines[:most]:
        yield text(cells(one, width, hosts=hosts), shape)
    if len(seen.lines) > most:
        yield f"and {len(seen.lines) - most} more"


def looked(deep: Deep, name: str) -> Iterator[str]:
    """The lines of one look at one process: findings, groups of equal stacks, what was not seen."""
    yield f"pellucid top  pid {deep.pid} {name}  {deep.runtime}"
    if deep.failed is not None:
        yield f"can't {deep.failed.tried}: {deep.failed.said}"
        yield f"try: {deep.failed.remedy}"
        return
    for number, finding in enumerate(deep.findings, 1):
        yield f"{number}. {finding.severity}: {finding.title}"
        yield f"   {finding.sentence}"
    for group in deep.groups:
        yield grouped(group)
        for frame in group.frames[:_FRAMES]:
            yield f"      {frame.where} {frame.who}"
        if len(group.frames) > _FRAMES:
            yield f"      and {len(group.frames) - _FRAMES} more frames"
    if deep.others:
        yield f"{len(deep.others)} threads that run no Python"
    for gap in deep.not_seen:
        yield f"not seen: {gap.what}: {gap.why}"


def grouped(group: Shown) -> str:
    """`x2 predict-0, predict-1: waits for Lock ..., for 41 s`."""
    marks = f"{' (has the GIL)' if group.gil else ''}{' (moving)' if group.moving else ''}"
    return f"x{len(group.tids)} {group.who}: {group.does}{marks}"
