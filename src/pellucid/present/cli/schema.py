"""`pellucid schema [COMMAND]`: the JSON schema of what a command prints with --json."""

import sys

import click


@click.command("schema", context_settings={"ignore_unknown_options": True})  # `schema stacks --tasks`
@click.argument("words", metavar="[COMMAND]", nargs=-1)
def command(words: tuple[str, ...]) -> None:
    """Print the JSON schema of what COMMAND --json prints; without COMMAND, list the commands that have one."""
    from pellucid.export.json import REPORTS, schema
    from pellucid.model.errors import UsageError

    name = " ".join(words)
    if not name:
        click.echo("\n".join(REPORTS))
        return
    if name not in REPORTS:
        raise UsageError(
            tried=f"print the schema of {name!r}",
            said="that command has none",
            remedy="pellucid schema  (lists those that have one)",
        )
    sys.stdout.buffer.write(schema(name))
