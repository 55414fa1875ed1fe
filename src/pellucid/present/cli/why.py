"""`pellucid why PID`: the verdict."""

import click

from pellucid.model import SEVERITIES
from pellucid.present.cli import options


@click.command("why")
@options.target
@options.as_json
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default=None,
    help="Exit with 1 when there is a finding of this severity or worse.",
)
@click.option(
    "--span", type=click.FloatRange(0.02, 60), default=0.1, show_default=True, help="Seconds between the two looks."
)
@click.option("--quick", "-q", is_flag=True, help="Leave out the longer looks, which watch it for two seconds.")
@click.option("--evidence", "-e", is_flag=True, help="Print what each sentence rests on, past the twelve lines.")
def command(target: str, as_json: bool, fail_on: str | None, span: float, quick: bool, evidence: bool) -> int:
    """Say what is wrong with process PID: what waits, since when, at which line, for whom, and what to do.

    It looks at the process twice, from outside, and then watches it for two seconds, unless all of it has been asleep for long. Nothing
    runs in the process, and nothing stops it. Ctrl-C ends the watch and prints the verdict. PID may be a pattern that matches one process.
    """
    from pellucid.present.cli.why_text import show

    return show(target, as_json=as_json, fail_on=fail_on, span_s=span, quick=quick, evidence=evidence)
