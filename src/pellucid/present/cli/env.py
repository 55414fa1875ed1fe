"""`pellucid env PID`: the environment, as started and as it is now."""

import click

from pellucid.present.cli import options, screen


@click.command("env")
@options.target
@options.as_json
@click.option("--show-secrets", is_flag=True, help="Print values that look like passwords, tokens or keys.")
@click.option("--changed", is_flag=True, help="Only the variables that differ between start and now.")
def command(target: str, as_json: bool, show_secrets: bool, changed: bool) -> None:
    """Print the environment of process PID as it is now; what changed since its start is marked (+ added, - removed, ~ changed)."""
    from pellucid.observe.environment import environment

    report = environment(options.resolve(target), show_secrets=show_secrets)
    if as_json:
        options.emit(report)
        return
    hidden = 0
    for variable in report.variables:
        mark = (
            " "
            if variable.now == variable.start
            else "+"
            if variable.start is None
            else "-"
            if variable.now is None
            else "~"
        )
        if changed and mark == " " and not variable.differs:
            continue
        hidden += variable.redacted
        value = variable.now if variable.now is not None else variable.start
        was = f"   (at start: {variable.start})" if mark == "~" else ""
        python = (
            f"   (os.environ: {'not there' if variable.python is None else variable.python})"
            if variable.differs
            else ""
        )
        screen.say(screen.printable(f"{mark} {variable.name}={value or ''}{was}{python}"))
    if hidden:
        values = "1 value is" if hidden == 1 else f"{hidden} values are"
        screen.say(f"{values} hidden (--show-secrets prints them)", dim=True)
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)
