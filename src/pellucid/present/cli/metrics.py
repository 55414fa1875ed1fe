"""`pellucid metrics`: Python and JVM processes, and who of them needs somebody, as numbers for Prometheus."""

import click

PORT = 9709


@click.command("metrics")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. On any other address others can read the numbers.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--once", is_flag=True, help="Print the numbers of one look instead, for a collector of text files.")
def command(listen: str, port: int, once: bool) -> None:
    """Answer GET /metrics: CPU, memory and threads of each Python and JVM process, and what was found wrong with it.

    Findings come from a slow walk over all Python processes, for 0.4 % of one CPU, from outside. Labels are the pid and the name of the
    process; command lines and environments are not told.
    """
    from pellucid.present.cli import metrics_server

    if once:
        click.echo(metrics_server.once(), nl=False)
    else:
        metrics_server.serve(listen, port)
