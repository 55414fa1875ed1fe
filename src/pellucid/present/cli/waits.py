"""`pellucid waits PID...`: every waiting thread with what it waits for and who holds it; first of all, who can never go on."""

import sys

import click

from pellucid.present.cli import options, screen


@click.command("waits")
@click.argument("targets", metavar="PID...", nargs=-1, required=True)
@options.as_json
@click.option("--dot", is_flag=True, help="Print the graph for Graphviz.")
@click.option(
    "--children/--no-children", default=True, help="Whether the child processes are looked at too.  [default: yes]"
)
@click.option(
    "--span", type=click.FloatRange(0.02, 60), default=0.06, show_default=True, help="Seconds between the two looks."
)
def command(targets: tuple[str, ...], as_json: bool, dot: bool, children: bool, span: float) -> None:
    """Say who waits for whom in the processes PID..., their children, and those that the waits lead to.

    Locks by the name that the code gives them, queues with their sizes, pools, pipes, joins, children; who holds each or could end the
    wait, since when, and whether it ever can. Nothing is stopped, and nothing runs in the processes.
    """
    from pellucid.diagnose.waits import report
    from pellucid.observe.wait_graph import family

    pids = tuple(dict.fromkeys(options.resolve(target) for target in targets))
    found = report(family(pids, children=children, span_s=span))
    if as_json:
        options.emit(found)
        return
    if dot:
        from pellucid.export.dot import encode

        sys.stdout.buffer.write(encode(found.graph))
        sys.stdout.buffer.flush()
        return
    from pellucid.present.cli.waits_text import lines

    for line in lines(found):
        screen.say(line.text, bold=line.bold, dim=line.dim, colour=line.colour)
