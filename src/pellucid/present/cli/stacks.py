"""`pellucid stacks PID`: all threads, equal stacks together, each with what its thread waits for."""

import click

from pellucid.present.cli import options, screen


@click.command("stacks")
@options.target
@options.as_json
@click.option(
    "--all", "-a", "every", is_flag=True, help="Also the threads that run no Python, and every frame of the library."
)
def command(target: str, as_json: bool, every: bool) -> None:
    """Print the Python stacks of all threads of process PID, innermost call first, equal ones grouped.

    Read from outside: nothing runs in the process and nothing stops it. A stack that did not hold still is marked (moving).
    """
    from pellucid.observe.stacks import stacks

    report = stacks(options.resolve(target))
    if as_json:
        options.emit(report)
        return
    from pellucid.present.cli.stack_text import lines

    for line in lines(report, every=every):
        screen.say(line)
