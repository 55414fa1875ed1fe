"""`pellucid stacks PID`: all threads, equal stacks together, each with what its thread waits for."""

import click

from pellucid.present.cli import options, screen


@click.command("stacks")
@options.target
@options.as_json
@click.option(
    "--all", "-a", "every", is_flag=True, help="Also the threads that run no Python, and every frame of the library."
)
@click.option(
    "--tasks",
    is_flag=True,
    help="The asyncio tasks instead, each with its chain of awaits and what it waits for; of a JVM its virtual threads.",
)
def command(target: str, as_json: bool, every: bool, tasks: bool) -> None:
    """Print the Python stacks of all threads of process PID, innermost call first, equal ones grouped.

    Read from outside: nothing runs in the process and nothing stops it. A stack that did not hold still is marked (moving).
    """
    if tasks:
        _tasks(options.resolve(target), as_json=as_json)
        return
    from pellucid.present.cli.stack_text import show

    show(target, as_json=as_json, every=every)


def _tasks(pid: int, *, as_json: bool) -> None:
    from pellucid.observe.identity import info_runtime

    if info_runtime(pid) == "JVM":
        from pellucid.observe.virtual_threads import tasks
    else:
        from pellucid.observe.tasks import tasks

    report = tasks(pid)
    if as_json:
        options.emit(report)
        return
    from pellucid.present.cli.task_text import lines

    for line in lines(report):
        screen.say(line)
