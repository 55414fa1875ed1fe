"""`pellucid gc PID|LOG`: what a garbage collector does, by its counters or by its log."""

import click

from pellucid.present.cli import options


@click.command("gc")
@click.argument("target", metavar="PID|LOG", shell_complete=options.pids_or_files)
@options.as_json
@click.option("--watch", "-w", is_flag=True, help="Go on: a line each interval, and a verdict at the end.")
@click.option(
    "--duration",
    "-d",
    "seconds",
    type=click.FloatRange(0.1),
    help="Watch for so long (else: until Ctrl-C, or until the process ends).",
)
@click.option(
    "--interval", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between the lines."
)
@click.option("--ask", is_flag=True, help="Also ask the JVM for the use of this moment: a thread of it answers.")
@click.option(
    "--html", "page", type=click.Path(dir_okay=False), metavar="FILE", help="Of a log: write a page with drawings."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(
    target: str,
    as_json: bool,
    watch: bool,
    seconds: float | None,
    interval: float,
    ask: bool,
    page: str | None,
    force: bool,
) -> int:
    """Say how full the generations of process PID are, how often they were collected and what that took; or what a LOG of a JVM tells.

    The counters are read from outside; nothing is asked of the process, except with --ask. Of Python, also which share of the time collections
    take: by a look of one second, of -d SECONDS, or with --watch until Ctrl-C.
    """
    from pellucid.present.cli.gc_text import show

    return show(
        target, as_json=as_json, watch=watch, seconds=seconds, interval_s=interval, ask=ask, page=page, force=force
    )
