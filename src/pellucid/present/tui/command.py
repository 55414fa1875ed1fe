"""`pellucid top`: the live terminal view."""

import click


@click.command("top")
@click.argument("target", metavar="[PID|PATTERN]", required=False)
@click.option(
    "--plain",
    is_flag=True,
    help="Text without a cursor, a block each time: for small containers, logs and screen readers.",
)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.5, 3600),
    default=2.0,
    show_default=True,
    help="Between two looks.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after so many looks (with --plain).")
@click.option(
    "--sort", type=click.Choice(["trouble", "cpu", "memory", "pid", "name"]), default="trouble", show_default=True
)
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Also the processes of the machine NAME, by its agent. May be repeated.",
)
def command(
    target: str | None, plain: bool, interval: float, count: int | None, sort: str, hosts: tuple[str, ...]
) -> int:
    """Show all processes, those that need you first, renewed every two seconds; or, of process PID, what each of its threads does.

    Keys: enter opens a process, esc goes back, / filters, s sorts, p pauses, c copies the command that shows the same, ? lists the keys, q quits.
    Nothing here stops a process; a look that costs something begins when you ask for it.
    """
    from importlib.util import find_spec
    from typing import cast

    from pellucid.model.errors import UsageError
    from pellucid.present.tui.source import Live
    from pellucid.present.view.top import Sort

    pid = _resolved(target)
    pattern = target if target and pid is None else ""
    source = Live(hosts)
    if plain or count:
        from pellucid.present.tui import printing

        return printing.run(source, pid, pattern or "", cast("Sort", sort), interval, count)
    if find_spec("textual") is None:
        raise UsageError(
            tried="draw the terminal view",
            said="textual is not installed",
            remedy="pip install 'pellucid[ui]', or without it: pellucid top --plain",
        )
    import os
    import sys

    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UsageError(tried="draw the terminal view", said="this is no terminal", remedy="pellucid top --plain")
    if os.environ.get("TERM") == "dumb":
        said = "it can't move its cursor (TERM=dumb)"
        raise UsageError(tried="draw the terminal view", said=said, remedy="pellucid top --plain")
    if "utf" not in sys.stdout.encoding.lower():
        said = f"its lines can't be written in {sys.stdout.encoding}, which the locale asks for"
        raise UsageError(
            tried="draw the terminal view", said=said, remedy="LC_ALL=C.UTF-8 pellucid top, or pellucid top --plain"
        )
    from pellucid.kernel.own_malloc import hoard_nothing
    from pellucid.present.tui.app import TopApp

    hoard_nothing()
    return TopApp(source, pid=pid, pattern=pattern or "", sort=cast("Sort", sort), interval=interval).run() or 0


def _resolved(target: str | None) -> int | None:
    """A number is a process, which must be there; anything else is what the list is filtered by."""
    if target is None or not (target.isascii() and target.isdigit()):
        return None
    from pellucid.kernel import procfs

    return procfs.process(int(target)).pid
