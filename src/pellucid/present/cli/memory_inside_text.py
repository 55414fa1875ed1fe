"""The screen of `pellucid memory PID --inside-tracemalloc S`: says first that code ran in the process."""

import sys

from pellucid.present.cli import plain, screen

_LINES = 12


def show(pid: int, seconds: float, *, as_json: bool) -> None:
    """Run it and print. Raises LookErrors."""
    from pellucid.observe.inside import tracemalloc

    print(f"running tracemalloc inside of pid {pid} for {seconds:g} s", file=sys.stderr)
    report = tracemalloc(pid, seconds)
    if as_json:
        plain.emit(report)
        return
    from pellucid.diagnose.sizes import size

    since = "since the program started it" if report.already_on else f"within {report.seconds:g} s"
    screen.say(
        f"code of ours ran in pid {pid}: tracemalloc, {'left on' if report.already_on else 'off again now'}", bold=True
    )
    screen.say(
        f"{size(report.traced_bytes)} were allocated {since} and are still held (at most {size(report.peak_bytes)});"
        f" tracemalloc itself took {size(report.own_bytes)}"
    )
    rows = [(f"{one.file}:{one.line}", size(one.bytes), f"{one.blocks:,}") for one in report.lines[:_LINES]]
    screen.table(("LINE", "STILL HELD", "BLOCKS"), rows, right=frozenset({1, 2}))
