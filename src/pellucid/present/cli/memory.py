"""`pellucid memory PID`: which kind of memory trouble it is, and where the bytes are."""

import click

from pellucid.present.cli import options


@click.command("memory")
@options.target
@options.as_json
@click.option(
    "-d",
    "--watch",
    "seconds",
    metavar="S",
    type=click.FloatRange(0.2, 7 * 86400),
    help="Look for S seconds (else 1, or 3 where it grows); Ctrl-C ends it and prints what was seen.",
)
@click.option("--evidence", "-e", is_flag=True, help="Print what each sentence rests on.")
@click.option(
    "--inside-tracemalloc",
    "inside",
    metavar="S",
    type=click.FloatRange(0.1, 3600),
    help="RUNS CODE IN THE PROCESS (CPython 3.14 or newer): tracemalloc for S seconds, and which lines allocated.",
)
def command(target: str, as_json: bool, seconds: float | None, evidence: bool, inside: float | None) -> None:
    """Say which kind of memory trouble process PID has, if any, and where its bytes are.

    Heap leak, native leak, fragmentation, a limit, time lost by memory, page cache or shared memory, or a leak of descriptors, threads or
    mappings. Everything is read from outside; nothing runs in the process and nothing stops it, unless --inside-tracemalloc is given.
    """
    if inside is not None:
        if seconds is not None:
            raise click.UsageError("--watch looks from outside, --inside-tracemalloc from inside: ask one.")
        from pellucid.present.cli.memory_inside_text import show as show_inside

        show_inside(options.resolve(target), inside, as_json=as_json)
        return
    from pellucid.present.cli.memory_text import show

    show(options.resolve(target), seconds, as_json=as_json, evidence=evidence)
