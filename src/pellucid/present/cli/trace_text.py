"""The text of `pellucid profile --trace` and `--lines`: what tracing cost first, since it decides what the numbers below are worth."""

import os
from collections.abc import Iterator
from functools import cache

from pellucid.model.profile import Profile
from pellucid.model.trace import Trace, TracedFunction
from pellucid.present.cli import screen
from pellucid.present.cli.profile_text import Line

_TOP, _MISLEADING = 20, 6
_SOURCE = 72
_LARGEST = 4 << 20  # bytes of a source file
_BUSY = 1.25
_SHOWN = 0.0005  # what is printed as 0.1 %


def lines(profile: Profile, trace: Trace) -> Iterator[Line]:
    """The whole screen."""
    head = f"{profile.command[:70]} · {profile.duration_ns / 1e9:.2f} s · {trace.engine}"
    yield Line(screen.printable(head), bold=True)
    yield Line(_cost(trace), dim=True)
    yield Line("")
    if not trace.calls:
        yield Line("nothing was traced: it ended before its first line ran, or none of these functions was called")
    elif trace.lines:
        yield from _lines(trace)
    else:
        yield from _functions(trace)
    for text in screen.gaps(profile.gaps):
        yield Line(text, dim=True)


def _cost(trace: Trace) -> str:
    if trace.line_ns or trace.lines:
        return (
            f"cost: traced, these functions took {_least(trace)}{trace.inflation:.2f} times as long: {trace.calls:,} lines, "
            f"{trace.line_ns} ns each by measurement"
        )
    return (
        f"cost: traced, it took {_least(trace)}{trace.inflation:.2f} times as long: {trace.calls:,} calls, by measurement {trace.call_ns} ns each "
        f"({trace.builtin_ns} ns of a function in C)"
    )


def _least(trace: Trace) -> str:
    return "at least " if trace.busy > _BUSY else ""


def _functions(trace: Trace) -> Iterator[Line]:
    yield Line("   OWN  TRACED AS        CALLS    OWN TIME  FUNCTION", bold=True)
    shown = [one for one in trace.functions if max(one.share, one.true_share) >= _SHOWN][:_TOP]
    for one in shown:
        mark = "!" if one.distorted else " "
        yield Line(
            f"{100 * one.true_share:5.1f} % {100 * one.share:8.1f} % {mark} {one.calls:12,}  {_time(one.true_ns):>10}  "
            + screen.printable(_called(one))
        )
    if len(trace.functions) > len(shown):
        yield Line(f"{len(trace.functions) - len(shown)} more (-o FILE keeps all)", dim=True)
    misleading = sorted(
        (one for one in trace.functions if one.distorted), key=lambda one: -abs(one.share - one.true_share)
    )
    if not misleading:
        return
    yield Line("")
    yield Line("! tracing changed the share of these: OWN is without what it added, TRACED AS with it", bold=True)
    for one in misleading[:_MISLEADING]:
        yield Line(screen.printable(_misleads(one)))
    if len(misleading) > _MISLEADING:
        yield Line(f"and {len(misleading) - _MISLEADING} more", dim=True)


def _misleads(one: TracedFunction) -> str:
    """`small (prog.py:2) looks larger than it is: 10.6 % traced, 4.0 % without; it is called 300,000 times`."""
    shares = f"{100 * one.share:.1f} % traced, {100 * one.true_share:.1f} % without"
    if one.share < one.true_share:
        return f"{_called(one)} looks smaller than it is: {shares}"
    why = f"is called {one.calls:,} times" if one.calls >= one.made else f"makes {one.made:,} calls"
    return f"{_called(one)} looks larger than it is: {shares}; it {why}"


def _lines(trace: Trace) -> Iterator[Line]:
    for function in trace.functions:
        at = f"{function.file}:{function.line}"
        share = f"{100 * function.true_share:.1f} % of the timed lines"
        yield Line(screen.printable(f"{function.qualname} ({at})  {_time(function.true_ns)}, {share}"), bold=True)
        yield Line("   LINE          HITS     OWN TIME    OWN  TRACED AS", bold=True)
        for line in trace.lines:
            if (line.qualname, line.file) != (function.qualname, function.file):
                continue
            mark = "!" if line.distorted else " "
            text = _source(line.file)
            source = text[line.line - 1].rstrip()[:_SOURCE] if 0 < line.line <= len(text) else ""
            yield Line(
                f"{line.line:7} {line.hits:13,} {_time(line.true_ns):>12} {100 * line.true_share:5.1f} % {100 * line.share:7.1f} % {mark} "
                + screen.printable(source.expandtabs(4))
            )
        yield Line("")
    if any(line.distorted for line in trace.lines):
        yield Line("! tracing changed the share of this line: OWN is without what it added, TRACED AS with it")


@cache
def _source(path: str) -> list[str]:
    """The lines of a Python file; none of anything else that a profile, which may come from anybody, calls by that name."""
    try:
        if not path.endswith(".py") or not os.path.isfile(path) or os.path.getsize(path) > _LARGEST:
            return []
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _called(one: TracedFunction) -> str:
    return f"{one.qualname} ({one.file.rpartition('/')[2]}:{one.line})" if one.file else one.qualname


def _time(nanoseconds: int) -> str:
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    return f"{nanoseconds / 1e6:.2f} ms" if nanoseconds >= 1_000_000 else f"{nanoseconds / 1e3:.1f} µs"
