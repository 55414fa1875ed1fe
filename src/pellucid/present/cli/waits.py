"""`pellucid waits PID...`: every waiting thread with what it waits for and who holds it; first of all, who can never go on."""

import click

from pellucid.present.cli import options


@click.command("waits")
@click.argument("targets", metavar="PID...", nargs=-1, required=True, shell_complete=options.pids)
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
    from pellucid.present.cli.waits_text import show

    show(*targets, as_json=as_json, dot=dot, children=children, span_s=span)
