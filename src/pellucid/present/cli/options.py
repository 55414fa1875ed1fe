"""Options that every command spells the same way."""

import click

from pellucid.present.cli.plain import emit, resolve

__all__ = ["as_json", "emit", "resolve", "target"]

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
target = click.argument("target", metavar="PID")
