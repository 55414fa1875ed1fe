"""The command line by click: a lazy group, whose commands are imported when they are called and not for the list of them."""

import importlib
from typing import TYPE_CHECKING, Any

import click

from pellucid import __version__
from pellucid.present import cli
from pellucid.present.cli import Table, help_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def by_click(table: Table, hosted: frozenset[str] = frozenset()) -> int:
    """Run the command line of this process by `table` and return its exit status. Errors of ours pass through."""
    try:
        status = group(table, hosted).main(prog_name="pellucid", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    return status if isinstance(status, int) else 0


_HOST = click.Option(["--host"], metavar="NAME", expose_value=False, help="On the machine NAME, by its agent.")
"""For the help: a command line that has it never comes here (`pellucid.app.elsewhere`)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def __init__(self, table: Table, hosted: frozenset[str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.table = table
        self._hosted = hosted

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        cli.collect_rarely()
        assert isinstance(found, click.Command)
        if cmd_name in self._hosted and all(one.name != _HOST.name for one in found.params):
            found.params.append(_HOST)
        found.epilog = found.epilog or help_text.epilog(cmd_name)
        _name_values(found)
        if isinstance(found, click.Group):
            for below in found.commands.values():
                _name_values(below)
                below.short_help = below.short_help or _first_sentence(
                    below.help or ""
                )  # click cuts it off where there is none
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """As click's, without importing every command for its line of help."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text) for name, (_, text) in self.table.items() if name.startswith(incomplete)
        ]
        return found if found or not incomplete.startswith("-") else super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        headings = dict(help_text.SECTIONS)
        parts: list[tuple[str, list[tuple[str, str]]]] = []
        for name, (_, text) in self.table.items():
            if name in headings or not parts:
                parts.append((headings.get(name, "Commands"), []))
            parts[-1][1].append((name, text))
        longest = max(map(len, self.table))
        for heading, rows in parts:
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(longest), text) for name, text in rows])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Exit status"):
            formatter.write_dl(list(help_text.STATUSES))
        with formatter.indentation():
            formatter.write_paragraph()
            formatter.write_text(help_text.COMMAND_STATUS)

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


def _name_values(command: click.Command) -> None:
    """`--port N`, `--span SECONDS` in the help, where click would say INTEGER RANGE: each float without a name of its own is a time."""
    for one in command.params:
        if isinstance(one, click.Option) and one.metavar is None and not one.is_flag:
            if isinstance(one.type, click.types.IntParamType):
                one.metavar = "N"
            elif isinstance(one.type, click.types.FloatParamType):
                one.metavar = "SECONDS"


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).partition(". ")[0].removesuffix(".") + "."


def group(table: Table, hosted: frozenset[str] = frozenset()) -> LazyGroup:
    """The command `pellucid` itself."""
    lazy = LazyGroup(
        table,
        hosted,
        name="pellucid",
        help="See inside a running process from outside, and read in plain words what is wrong with it.\n\n"
        "Begin with `pellucid why PID`. PID may be a pattern that matches one process.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        no_args_is_help=True,
    )
    return click.version_option(__version__, prog_name="pellucid", message="%(prog)s %(version)s")(lazy)
