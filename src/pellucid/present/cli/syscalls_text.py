"""The text of `pellucid syscalls`: a part for each question, worst or largest first, and at the end what could not be seen."""

from collections.abc import Iterator

from msgspec import Struct

from pellucid.diagnose.words import duration
from pellucid.model import Frame
from pellucid.model.syscalls import CallSummary, FailedCall, FileUse, NetUse, SlowCall, SyscallsReport, UnfinishedCall
from pellucid.observe.syscalls_places import PLACES
from pellucid.present.cli import screen

_FEW, _MANY = 10, 40
_STACK = 4
_LONG_S = 0.1


class Parts(Struct, frozen=True):
    """Which questions were asked."""

    summary: bool = False
    failed: bool = False
    slow: bool = False
    written: bool = False
    read: bool = False
    net: bool = False
    every: bool = False

    @property
    def none(self) -> bool:
        return not (self.summary or self.failed or self.slow or self.written or self.read or self.net)


class Line(Struct, frozen=True):
    text: str
    bold: bool = False
    dim: bool = False


def lines(report: SyscallsReport, parts: Parts) -> Iterator[Line]:
    """The whole screen."""
    yield Line(screen.printable(_head(report)), bold=True)
    most = 1 << 30 if parts.every else _FEW if parts.none else _MANY
    if parts.summary or parts.none:
        yield from _summary(report, most)
    if parts.failed or parts.none:
        yield from _failed(report.events, most, every=parts.every)
    if parts.slow:
        yield from _slow(report, most)
    if parts.written:
        yield from _files(report.files, most, written=True)
    if parts.read:
        yield from _files(report.files, most, written=False)
    if parts.net:
        yield from _network(report.network, most)
    yield from _end(report)


def _head(report: SyscallsReport) -> str:
    process = report.process
    assert process is not None
    calls = sum(call.calls for call in report.summary)
    errors = sum(call.errors for call in report.summary)
    command = " ".join(process.command) or process.name
    others = len(report.processes) - 1
    children = f" and {others} other process{'' if others == 1 else 'es'}" if others > 0 else ""
    status = "" if report.exit_status is None else f" · exit status {report.exit_status}"
    return (
        f"pid {process.pid} {command[:70]}{children} · {report.seconds:.1f} s · {calls} calls, {errors} failed{status}"
    )


def _summary(report: SyscallsReport, most: int) -> Iterator[Line]:
    if not report.summary:
        yield Line("")
        yield Line("no system call was made")
        yield from _in_calls(report)
        return
    shown = report.summary[:most]
    rows = [_row(call, report.summary) for call in shown]
    yield Line("")
    yield from _table(("CALL", "CALLS", "FAILED", "TIME", "LONGEST", "SHARE"), rows, {1, 2, 3, 4, 5}, shown)
    if len(report.summary) > most:
        rest = report.summary[most:]
        yield Line(f"and {len(rest)} more calls, {sum(call.calls for call in rest)} times (--summary --all)", dim=True)
    yield from _in_calls(report)


def _row(call: CallSummary, summary: tuple[CallSummary, ...]) -> tuple[str, ...]:
    """The share is of the time of all calls that do not wait."""
    working = sum(each.total_s for each in summary if not each.waits)
    share = "waits" if call.waits else f"{100 * call.total_s / working:.0f} %" if working else ""
    return (call.name, str(call.calls), str(call.errors or ""), time(call.total_s), time(call.max_s), share)


def _table(
    head: tuple[str, ...], rows: list[tuple[str, ...]], right: set[int], calls: tuple[CallSummary, ...]
) -> Iterator[Line]:
    """The rows, each with the Python lines that account for it below."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width) for column, (cell, width) in enumerate(cells)
        ).rstrip()

    yield Line(line(head), bold=True)
    for row, call in zip(rows, calls, strict=True):
        yield Line(line(row))
        for share in call.lines[:3]:
            inner = f" by {_at(share.inner)}" if share.inner else ""
            times = f"{share.calls} calls" if share.calls != 1 else "1 call"
            failed = f", {share.errors} failed" if share.errors else ""
            yield Line(
                screen.printable(f"    {_at(share.frame)}{inner}: {times}{failed}, {time(share.total_s)}"), dim=True
            )


def _in_calls(report: SyscallsReport) -> Iterator[Line]:
    """Who is in a call at the end."""
    calls = [call for call in report.unfinished if call.since_s >= _LONG_S]
    if calls:
        yield Line(screen.printable(_unfinished(calls)), dim=True)


def _unfinished(calls: list[UnfinishedCall]) -> str:
    shown = ", ".join(f"{call.name} of thread {call.tid} since {duration(call.since_s)}" for call in calls[:3])
    more = f" and {len(calls) - 3} more" if len(calls) > 3 else ""
    return f"still in a call at the end: {shown}{more}"


def _failed(events: tuple[FailedCall, ...], most: int, *, every: bool) -> Iterator[Line]:
    trouble = [event for event in events if every or not event.noise]
    folded = [event for event in events if event.noise and not every]
    yield Line("")
    if not trouble:
        yield Line("no call failed" if not folded else "no call failed in a way that matters", bold=True)
    else:
        yield Line("failed", bold=True)
    for event in trouble[:most]:
        yield from _event(event)
    if len(trouble) > most:
        rest = trouble[most:]
        yield Line(f"and {len(rest)} more kinds, {sum(event.count for event in rest)} calls (--failed --all)", dim=True)
    if folded:
        yield Line(screen.printable(_folded(folded)), dim=True)


def _event(event: FailedCall) -> Iterator[Line]:
    what = event.path if event.path is not None else event.what
    subject = what or event.call.partition("(")[2].rstrip(")")
    who = f" in {event.processes} processes" if event.processes > 1 else ""
    times = f"{event.count} x  " if event.count > 1 else ""
    noise = f"  ({event.noise})" if event.noise else ""
    noise += "  (probably)" if event.path is not None and not event.path_certain else ""
    yield Line(screen.printable(f"  {times}{event.name} {subject} = {event.error}{noise}{who}"))
    at = stack(event.stack) if event.stack else f"no Python line ({event.program})"
    yield Line(screen.printable(f"      {at}"), dim=True)


def _folded(events: list[FailedCall]) -> str:
    """`not shown: 212 import search, 14 locale, ... (--all shows them)`."""
    counts: dict[str, int] = {}
    for event in events:
        counts[event.noise] = counts.get(event.noise, 0) + event.count
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"harmless and not shown: {told} (--all shows them)"


def _slow(report: SyscallsReport, most: int) -> Iterator[Line]:
    yield Line("")
    working = [call for call in report.slow if not call.waits]
    waiting = [call for call in report.slow if call.waits]
    limit = f"{report.slow_ms:g} ms"
    for calls, title in ((working, f"slow: {limit} or more"), (waiting, f"waited {limit} or more")):
        groups: dict[tuple[str, str, Frame | None], list[SlowCall]] = {}
        for call in calls:
            groups.setdefault((call.name, call.path or call.what, call.line), []).append(call)
        if not groups:
            continue
        yield Line(title, bold=True)
        ordered = sorted(groups.values(), key=lambda group: -max(call.duration_s for call in group))
        for group in ordered[:most]:
            yield from _slow_group(group)
        if len(ordered) > most:
            yield Line(f"and {len(ordered) - most} more kinds (--all)", dim=True)
    if not report.slow:
        yield Line(f"no call took {limit}")


def _slow_group(group: list[SlowCall]) -> Iterator[Line]:
    longest = max(group, key=lambda call: call.duration_s)
    subject = longest.path or longest.what or longest.call.partition("(")[2].rstrip(")")
    total = sum(call.duration_s for call in group)
    times = f"{len(group)} x, {time(total)} in all, longest " if len(group) > 1 else ""
    failed = f" = {longest.error}" if longest.error else ""
    yield Line(screen.printable(f"  {times}{time(longest.duration_s)}  {longest.name} {subject}{failed}"))
    at = stack(longest.stack) if longest.stack else f"no Python line ({longest.program})"
    yield Line(screen.printable(f"      {at}"), dim=True)


def _files(files: tuple[FileUse, ...], most: int, *, written: bool) -> Iterator[Line]:
    """By place; inside of it the largest, and directories with many files as one line."""
    chosen = [use for use in files if _is_written(use)] if written else [use for use in files if _is_read(use)]
    yield Line("")
    title = "written" if written else "read"
    if not chosen:
        yield Line(f"nothing was {title}")
        return
    total = size(sum(_bytes(use, written=written) for use in chosen))
    yield Line(f"{title}: {len(chosen)} {'path' if len(chosen) == 1 else 'paths'}, {total}", bold=True)
    by_place: dict[str, list[FileUse]] = {}
    for use in chosen:
        by_place.setdefault("directory" if use.kind == "directory" else use.place, []).append(use)
    for place in sorted(by_place, key=PLACES.index):
        uses = by_place[place]
        amount = size(sum(_bytes(use, written=written) for use in uses))
        yield Line(f"  {place}: {len(uses)} {'path' if len(uses) == 1 else 'paths'}, {amount}{_changes(uses, written)}")
        for text in _shown(uses, most, written=written):
            yield Line(screen.printable(f"    {text}"), dim=True)


def _is_written(use: FileUse) -> bool:
    return bool(use.change or use.writes) and use.place not in ("device", "kernel")


def _is_read(use: FileUse) -> bool:
    return use.kind != "directory" and bool(use.reads or use.mapped_bytes or use.executed) and use.place != "device"


def _bytes(use: FileUse, *, written: bool) -> int:
    return use.written_bytes if written else use.read_bytes


def _changes(uses: list[FileUse], written: bool) -> str:
    if not written:
        return ""
    counts: dict[str, int] = {}
    for use in uses:
        counts[use.change or "written"] = counts.get(use.change or "written", 0) + 1
    return (
        " (" + ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: -item[1])) + ")"
    )


def _shown(uses: list[FileUse], most: int, *, written: bool) -> Iterator[str]:
    """The largest by themselves, the rest by directory."""
    ordered = sorted(uses, key=lambda use: -_bytes(use, written=written))
    alone = ordered if len(ordered) <= most else ordered[: most // 2]
    for use in alone:
        yield _use(use, written=written)
    rest = ordered[len(alone) :]
    by_directory: dict[str, list[FileUse]] = {}
    for use in rest:
        by_directory.setdefault(_above(use.path), []).append(use)
    groups = sorted(by_directory.items(), key=lambda item: -len(item[1]))
    for directory, group in groups[: most // 2]:
        yield f"{directory}/ … {len(group)} more, {size(sum(_bytes(use, written=written) for use in group))}"
    if len(groups) > most // 2:
        left = sum(len(group) for _, group in groups[most // 2 :])
        yield f"and {left} more in {len(groups) - most // 2} other directories (--all)"


def _use(use: FileUse, *, written: bool) -> str:
    amount = size(_bytes(use, written=written))
    word = f"{use.change}, " if written and use.change else ""
    origin = f", was {_from(use)}" if written and use.renamed_from else ""
    mapped = f", {size(use.mapped_bytes)} mapped" if not written and use.mapped_bytes else ""
    ran = f", executed {use.executed} x" if not written and use.executed else ""
    line = f"  {_at(use.line)}" if use.line and (use.line.own or use.line.packaged) else ""
    return f"{use.path}  {word}{amount}{origin}{mapped}{ran}{line}"


def _from(use: FileUse) -> str:
    """The name that it had, without the directory where that is the same."""
    old = use.renamed_from or ""
    folder, _, name = old.rpartition("/")
    return name if folder == use.path.rpartition("/")[0] else old


def _above(path: str) -> str:
    """The directory that files of a large tree are told under: at most six parts deep."""
    return "/".join(path.split("/")[:-1][:7])


def _network(uses: tuple[NetUse, ...], most: int) -> Iterator[Line]:
    yield Line("")
    if not uses:
        yield Line("nothing was connected to")
        return
    yield Line("network", bold=True)
    for use in uses[:most]:
        failed = "".join(f", {count} x {error}" for error, count in use.errors.items())
        moved = f", {size(use.sent_bytes)} sent, {size(use.received_bytes)} received"
        count = f" {use.count} x" if use.count > 1 else ""
        yield Line(screen.printable(f"  {use.role} {use.protocol} {use.address}{count}{failed}{moved}"))
        if use.line is not None:
            yield Line(screen.printable(f"      {_at(use.line)}"), dim=True)
    if len(uses) > most:
        yield Line(f"and {len(uses) - most} more addresses (--all)", dim=True)


def _end(report: SyscallsReport) -> Iterator[Line]:
    yield Line("")
    loss = "nothing was lost" if not report.lost else f"{report.lost} things were lost (see below)"
    cost = f"{report.own_cpu_s:.2f} s of CPU for pellucid itself"
    yield Line(f"seen by {report.backend}: {loss}; {cost}", dim=True)
    if report.stops:
        yield Line(
            f"it stopped threads {report.stops} times, for {time(report.stopped_s)} in all and the switches to and fro",
            dim=True,
        )
    if report.unseen:
        yield Line(screen.printable(f"it can't see: {'; '.join(report.unseen)}"), dim=True)
    for line in screen.gaps(report.gaps):
        yield Line(line, dim=True)


def stack(frames: tuple[Frame, ...]) -> str:
    """`open_table (table.py:8) ← main (app.py:20)`: the innermost frame, and then the program's own."""
    own = [frame for frame in frames[1:] if frame.own]
    library = not frames[0].own and own and own[0] is not frames[1]
    told = [_at(frames[0]), *(["…"] if library else []), *(_at(frame) for frame in own[: _STACK - 1])]
    if not own:
        told += [_at(frame) for frame in frames[1:_STACK]]
    return " ← ".join(told)


def _at(frame: Frame) -> str:
    return str(frame)


def time(seconds: float) -> str:
    """`12.3 s`, `4.56 ms`, `789 µs`."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def size(count: int) -> str:
    """`812 B`, `1.3 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{count} B" if amount == count else f"{amount:.1f} {unit}"
