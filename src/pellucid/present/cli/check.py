"""`pellucid check`: what can be seen on this machine by this user, and which check says no."""

import time

import click

from pellucid.model.report import CheckReport
from pellucid.present.cli import options, screen


@click.command("check")
@options.as_json
def command(as_json: bool) -> None:
    """Tell what pellucid can see on this machine as this user, and what to do where it can't."""
    from pellucid.kernel.access import checks

    report = CheckReport(process=None, taken_at=time.time(), gaps=(), checks=checks())
    if as_json:
        options.emit(report)
        return
    for check in report.checks:
        screen.say(
            screen.printable(f"{'yes' if check.ok else 'NO '}  {check.name}: {check.detail}"),
            colour=None if check.ok else "yellow",
        )
        if check.remedy and not check.ok:
            screen.say(screen.printable(f"     try: {screen.as_run(check.remedy)}"))
