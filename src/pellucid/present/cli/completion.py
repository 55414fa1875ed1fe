"""`pellucid completion SHELL`: what a shell needs to complete pellucid's words; and the processes that stand for PID."""

import click

_HOW = {
    "bash": 'eval "$(pellucid completion bash)"     in ~/.bashrc',
    "zsh": 'eval "$(pellucid completion zsh)"      in ~/.zshrc',
    "fish": "pellucid completion fish > ~/.config/fish/completions/pellucid.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
def command(shell: str) -> None:
    """Print the lines that make SHELL complete commands, options and the pids of Python and JVM processes."""
    from click.shell_completion import get_completion_class

    from pellucid.model.errors import UsageError

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    try:
        lines = found(root, {}, "pellucid", "_PELLUCID_COMPLETE").source()
    except RuntimeError as error:  # click asks the bash on PATH for its version
        said = str(error).rstrip(".")
        raise UsageError(
            tried=f"complete for {shell}", said=said, remedy="a bash of version 4.4 or newer on PATH"
        ) from None
    # click's lines for fish (8.1 to 8.5) cut a description off at its first comma
    click.echo(lines.replace('string split ","', 'string split -m 1 ","'))


def processes(incomplete: str) -> list[tuple[str, str]]:
    """(pid, command) of the Python and JVM processes whose pid begins with `incomplete`, the newest first; of others there are too many."""
    from pellucid.diagnose.words import command as spelled
    from pellucid.observe.identity import ps
    from pellucid.present.cli.screen import printable

    rows = [
        row.process for row in ps().processes if row.process.runtime and str(row.process.pid).startswith(incomplete)
    ]
    rows.sort(key=lambda process: -process.started_at)
    return [(str(process.pid), printable(spelled(process, 60))) for process in rows]
