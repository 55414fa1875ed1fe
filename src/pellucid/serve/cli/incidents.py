"""`pellucid incidents [list|show ID]`: what happened to the workers of the model server, and why."""

import click

from pellucid.serve.cli import output


@click.group("incidents", invoke_without_command=True)
@output.as_json
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List what happened to the workers of the model server, newest first."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list(as_json)


@command.command("list")
@output.as_json
@click.pass_context
def listing(context: click.Context, as_json: bool) -> None:
    """List what happened to the workers of the model server, newest first."""
    _list(as_json or context.obj)


@command.command("show")
@click.argument("name", metavar="ID")
@output.as_json
@click.pass_context
def show(context: click.Context, name: str, as_json: bool) -> None:
    """Tell all about one incident: the request, both looks with their stacks, and how it ended."""
    import time

    from pellucid.serve.incidents import Incidents, lines
    from pellucid.serve.report import IncidentReport

    incident = Incidents().load(name)
    if as_json or context.obj:
        output.emit(IncidentReport(process=None, taken_at=time.time(), gaps=(), incident=incident))
        return
    for line in lines(incident):
        click.echo(output.inert(line))


def _list(as_json: bool) -> None:
    import time

    from pellucid.serve.incidents import KEPT, Incidents
    from pellucid.serve.report import IncidentsReport

    store = Incidents()
    rows, gaps = store.newest(KEPT)
    if as_json:
        output.emit(IncidentsReport(process=None, taken_at=time.time(), gaps=gaps, incidents=rows))
        return
    if not rows:
        click.echo(f"no incidents in {store.root}")
    for row in rows:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.at))
        click.echo(output.inert(f"{row.id}  {at}  {row.model} version {row.version}, {row.outcome}"))
        click.echo(output.inert(f"  {row.sentence}: {row.cause}"))
    for gap in gaps:
        click.echo(output.inert(f"not seen: {gap.what}: {gap.why}"), err=True)
