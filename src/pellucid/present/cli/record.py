"""`pellucid record PID` and `record --all`: keep what is seen of processes, to be looked at again with `replay`."""

import click

from pellucid.present.cli import launch, options


@click.command("record", cls=launch.WithCommand)
@click.argument("targets", metavar="PID", nargs=-1, shell_complete=options.pids)
@options.as_json
@click.option("--all", "every", is_flag=True, help="All processes that run Python or a JVM, also those to come.")
@click.option(
    "--for",
    "--duration",
    "-d",
    "duration",
    metavar="T",
    help="Stop after so long: 90, 90s, 5m, 2h, 1d; else when all have ended, or at Ctrl-C.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="The recording; one that is there goes on.  [default: one of its own in ~/.local/share/pellucid/recordings]",
)
@click.option(
    "--rate",
    "-r",
    type=click.FloatRange(1, 100),
    default=10.0,
    show_default=True,
    metavar="HZ",
    help="Stacks a second.",
)
@click.option(
    "--size",
    metavar="SIZE",
    default="256M",
    show_default=True,
    help="How large FILE may become (1M to 1T); then the oldest makes room.",
)
@click.option(
    "--children/--no-children", default=True, help="Also its children, and those that they start.  [default: yes]"
)
@click.option(
    "--syscalls",
    is_flag=True,
    help="Count system calls by name, by BPF: each call of any process here takes some 0.1 µs longer meanwhile.",
)
@click.option("--force", is_flag=True, help="Begin FILE anew.")
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    as_json: bool,
    every: bool,
    duration: str | None,
    output: str | None,
    rate: float,
    size: str,
    children: bool,
    syscalls: bool,
    force: bool,
) -> int:
    """Record processes PID and their children, or those of the command CMD: stacks, memory, descriptors, sockets, waits, collections, what is
    wrong and since when.

    Everything is read from outside: nothing runs in the processes and nothing stops them. What it costs is measured and kept within half a
    percent of a core for each process. Ctrl-C ends it; what was recorded two seconds before a kill or a loss of power can be read. With CMD the
    exit status is that of CMD, and with --json its standard output goes to standard error.

    `pellucid replay FILE` tells what is in it, `pellucid replay FILE why --at 12:03` what was wrong then.
    """
    from pellucid.present.cli.record_text import run

    launched = launch.launched(ctx)
    if (every, bool(targets), bool(launched)).count(True) != 1 or launched == ():
        raise click.UsageError("Name what to record: one PID or more, or -- and a command, or --all.")
    return run(
        targets,
        launched=launched,
        every=every,
        seconds=None if duration is None else options.seconds(duration),
        path=output,
        rate_hz=rate,
        most_bytes=options.size(size),
        children=children,
        syscalls=syscalls,
        force=force,
        as_json=as_json,
    )
