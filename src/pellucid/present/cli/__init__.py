"""The command line: a lazy group, so that `pellucid --version` imports no command and a command imports only what it needs.

The table of commands is `pellucid.app.COMMANDS`: name → (module:object, one line of help). A command's module is imported when it is run or
asked for its own help, never for the list of commands.
"""

import gc
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from pellucid import __version__

Table = Mapping[str, tuple[str, str]]


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def __init__(self, table: Table, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        gc.freeze()  # what was imported stays, and need not be searched for cycles again
        gc.enable()
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest names where there is no such command."""
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, self.table, n=2)
            hint = (
                f" Did you mean {' or '.join(repr(word) for word in near)}?"
                if near
                else " `pellucid --help` lists them."
            )
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


def group(table: Table) -> LazyGroup:
    """The command `pellucid` itself."""
    lazy = LazyGroup(
        table,
        name="pellucid",
        help="See inside a running process from outside, and read in plain words what is wrong with it.\n\n"
        "Begin with `pellucid why PID`. PID may be a pattern that matches one process.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        no_args_is_help=True,
    )
    return click.version_option(__version__, prog_name="pellucid", message="%(prog)s %(version)s")(lazy)


def run(table: Table) -> int:
    """Run the command line of this process and return its exit status."""
    try:
        group(table).main(prog_name="pellucid", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader of our output has left (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:  # noqa: BLE001  anything that is not an error of ours is raised again
        return _told(error)
    return 0


def _told(error: Exception) -> int:
    """The three lines of an error of ours, or its JSON; anything else is a bug and is raised again."""
    from pellucid.model.errors import PellucidError

    if not isinstance(error, PellucidError):
        raise error
    if "--json" in sys.argv[1:]:
        from pellucid.export.json import encode_error

        sys.stdout.buffer.write(encode_error(error))
        sys.stdout.flush()
    else:
        from pellucid.present.cli.screen import printable

        click.echo(f"pellucid: can't {printable(error.tried)}", err=True)
        said, *more = error.said.splitlines()
        click.echo(f"  why: {printable(said)}", err=True)
        for line in more:  # a list of candidates
            click.echo(f"       {printable(line)}", err=True)
        click.echo(f"  try: {printable(error.remedy)}", err=True)
    return error.exit_status
