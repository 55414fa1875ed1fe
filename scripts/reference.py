"""Writes docs/reference.md and docs/pellucid.1 (man(7)) from the commands themselves:

    .venv/bin/python scripts/reference.py

A test asks that every command and option stands in both.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from pellucid import __version__
from pellucid.app import COMMANDS, ELSEWHERE
from pellucid.present.cli.lazy import group

DOCS = Path(__file__).resolve().parent.parent / "docs"
STATUSES = (
    ("0", "It is done; findings are no failure."),
    ("1", "There are findings of that severity (only with --fail-on)."),
    ("2", "What was asked can't be done as asked."),
    ("3", "There is no such process, or it ended during the look."),
    ("4", "Not permitted; the message names the check of the kernel that says no."),
    ("5", "The runtime or its version is not understood."),
    ("6", "A part could be seen."),
    ("7", "The agent of another machine could not be reached, or is not the one that is known."),
    ("130", "Interrupted."),
)


def commands() -> Iterator[tuple[str, click.Command, str]]:
    """(name, command, its line in the list) of all, those of groups below them."""
    root = group(COMMANDS, ELSEWHERE)
    context = click.Context(root, info_name="pellucid")
    for name, (_, line) in COMMANDS.items():
        found = root.get_command(context, name)
        assert found is not None
        yield name, found, line
        if isinstance(found, click.Group):
            for below, one in sorted(found.commands.items()):
                yield f"{name} {below}", one, ""


def usage(name: str, command: click.Command) -> str:
    """`pellucid why [OPTIONS] PID`."""
    context = click.Context(command, info_name=f"pellucid {name}")
    return " ".join((f"pellucid {name}", *command.collect_usage_pieces(context)))


def paragraphs(command: click.Command) -> list[str]:
    """Of its help, each one line."""
    told = inspect.cleandoc(command.help or "").replace("\b\n", "")
    return [" ".join(part.split()) for part in told.split("\n\n") if part.strip()]


def options(name: str, command: click.Command) -> list[tuple[str, str]]:
    """(spelled, what it does)."""
    context = click.Context(command, info_name=f"pellucid {name}")
    found = [one.get_help_record(context) for one in command.get_params(context) if isinstance(one, click.Option)]
    return [(spelled, " ".join(says.split())) for spelled, says in filter(None, found) if "--help" not in spelled]


def markdown() -> str:
    lines = [
        "# Reference",
        "",
        "Made from the commands (`scripts/reference.py`). What to ask when: [guide.md](guide.md).",
        "",
        "| command | |",
        "|---|---|",
        *(f"| [`{name}`](#pellucid-{name}) | {_cell(line)} |" for name, (_, line) in COMMANDS.items()),
        "",
        "| exit status | |",
        "|---|---|",
        *(f"| {number} | {says} |" for number, says in STATUSES),
    ]
    for name, command, _ in commands():
        lines += ["", f"## pellucid {name}", "", f"    {usage(name, command)}", ""]
        lines += [line for part in paragraphs(command) for line in (_text(part), "")]
        if told := options(name, command):
            lines += ["| option | |", "|---|---|"]
            lines += [f"| `{_cell(spelled)}` | {_cell(_text(says))} |" for spelled, says in told]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str) -> str:
    """`<` outside of code would be HTML."""
    return "".join(
        part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(re.split(r"(`[^`]*`)", text))
    )


def manual() -> str:
    lines = [
        f'.TH PELLUCID 1 "" "pellucid {__version__}" "User Commands"',
        ".SH NAME",
        "pellucid \\- see inside a running process from outside, and read in plain words what is wrong with it",
        ".SH SYNOPSIS",
        ".B pellucid",
        "COMMAND [OPTIONS] [PID]",
        ".SH DESCRIPTION",
        "Begin with",
        '.BR "pellucid why" " PID."',
        "PID may be a pattern that matches one process.",
        ".SH COMMANDS",
    ]
    for name, command, _ in commands():
        lines += [f".SS {_roff(usage(name, command))}"]
        for part in paragraphs(command):
            lines += [".PP", _roff(part)]
        for spelled, says in options(name, command):
            lines += [".TP", f".B {_roff(spelled)}", _roff(says)]
    lines += [".SH EXIT STATUS"]
    for number, says in STATUSES:
        lines += [".TP", f".B {number}", _roff(says)]
    lines += [
        ".SH ENVIRONMENT",
        ".TP",
        ".B XDG_DATA_HOME",
        _roff("Models, incidents, recordings and known hosts are in pellucid below it; ~/.local/share without it."),
        ".TP",
        ".B NO_COLOR, FORCE_COLOR",
        "No colours; colours also where the output is no terminal.",
        ".SH SEE ALSO",
        ".BR proc (5),",
        ".BR ptrace (2),",
        ".BR process_vm_readv (2)",
    ]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Text for roff: backslashes and dashes as they are, no line that begins like a request."""
    told = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{told}" if told[:1] in ".'" else told


def main() -> None:
    for path, content in ((DOCS / "reference.md", markdown()), (DOCS / "pellucid.1", manual())):
        path.write_text(content)
        print(f"written: {path}")


if __name__ == "__main__":
    main()
