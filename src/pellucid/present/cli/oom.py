"""`pellucid oom TEXT|FILE|PID|CGROUP`: how it died of memory, or how near it is."""

import os
import sys
import time

import click

from pellucid.model.oom import OomReport
from pellucid.present.cli import options, screen


@click.command("oom")
@click.argument("what", metavar="TEXT|FILE|PID|CGROUP|-", shell_complete=options.pids_or_files)
@options.as_json
def command(what: str, as_json: bool) -> None:
    """Decode an out-of-memory death.

    A number is a process, also one that is gone; what is the name of a file is read as a log; a path like /system.slice/app.service is
    a memory cgroup; `-` is a log on stdin; anything else is the message itself.
    """
    report = _report(what)
    if as_json:
        options.emit(report)
        return
    _show(report, what)
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _report(what: str) -> OomReport:
    from pellucid.diagnose.oom import explain
    from pellucid.observe import oom

    if what == "-":
        seen, gaps = oom.of_text(sys.stdin.read(oom.MAX_TEXT))
    elif what.isascii() and what.isdigit():
        seen, gaps = oom.of_pid(int(what))
    elif os.path.isfile(what):
        seen, gaps = oom.of_file(what)
    elif what.startswith("/") and "\n" not in what and " " not in what:
        seen, gaps = oom.of_cgroup(what)
    else:
        seen, gaps = oom.of_text(what)
    return OomReport(
        process=seen.process,
        taken_at=time.time(),
        gaps=gaps,
        findings=explain(seen),
        kills=seen.kills,
        groups=seen.groups,
    )


def _show(report: OomReport, what: str) -> None:
    """The findings, each with its evidence: the lines of a log are what a person searches for."""
    if not report.findings:
        screen.say(_nothing(report, what))
        return
    screen.findings(report.findings, evidence=True)


def _nothing(report: OomReport, what: str) -> str:
    if report.process is not None:
        return (
            f"nothing says that pid {report.process.pid} died of memory or is near it: no kill in its cgroups"
            " that the kernel counts or has logged, none of its limits is near"
        )
    if report.groups:
        return f"cgroup {report.groups[0].path} is not near its limit, and the OOM killer has ended nobody in it"
    said = "no line of this text is a known message about memory"
    return said if " " in what.strip() else f"{said}; a process is meant by its pid, a file or a cgroup by its path"
