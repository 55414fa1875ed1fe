"""`pellucid ps [PATTERN]`: processes with their state in words."""

import click

from pellucid.model import Process
from pellucid.model.report import PsReport
from pellucid.present.cli import options, screen


@click.command("ps")
@click.argument("pattern", metavar="[PATTERN]", required=False)
@options.as_json
@click.option(
    "--tree",
    is_flag=True,
    help="Below one another, with the threads and tasks of each Python process. PATTERN may be a pid.",
)
def command(pattern: str | None, as_json: bool, tree: bool) -> None:
    """List processes, or those that match PATTERN, with their state in words."""
    if tree:
        _tree(pattern, as_json=as_json)
        return
    from pellucid.diagnose.words import duration
    from pellucid.observe.identity import ps

    report: PsReport = ps(pattern)
    if as_json:
        options.emit(report)
        return
    rows = [
        (
            str(row.process.pid),
            row.process.user,
            row.process.runtime or "",
            duration(max(0.0, report.taken_at - row.process.started_at)),
            f"{row.cpu_s:.1f} s",
            f"{row.rss_bytes / 1048576:.0f} M",
            row.state,
            _spelled(row.process),
        )
        for row in report.processes
    ]
    screen.table(
        ("PID", "USER", "RUNTIME", "UP", "CPU", "RSS", "STATE", "COMMAND"), rows, right=frozenset({0, 3, 4, 5})
    )
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _spelled(process: Process) -> str:
    """Its command line; before it the name that it has given itself, which a pattern finds too (`pellucid-w0`)."""
    line = " ".join(process.command)
    if not line:
        return f"[{process.name}]"
    return (line if process.name in line else f"{process.name}: {line}")[:100]


def _tree(pattern: str | None, *, as_json: bool) -> None:
    from pellucid.observe.tree import tree

    report = tree(pattern)
    if as_json:
        options.emit(report)
        return
    from pellucid.present.cli.tree_text import lines

    for line in lines(report):
        screen.say(line)
