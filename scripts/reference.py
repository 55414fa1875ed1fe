"""Writes docs/reference.md and docs/pellucid.1 (man(7)) from the commands themselves:

    .venv/bin/python scripts/reference.py

A test asks that every command and option stands in both.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from pellucid import __version__
from pellucid.app import COMMANDS, ELSEWHERE
from pellucid.present.cli.help_text import COMMAND_STATUS, EXAMPLES, STATUSES
from pellucid.present.cli.lazy import group

DOCS = Path(__file__).resolve().parent.parent / "docs"


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
        "",
        COMMAND_STATUS,
    ]
    for name, command, _ in commands():
        lines += ["", f"## pellucid {name}", "", f"    {usage(name, command)}", ""]
        lines += [line for part in paragraphs(command) for line in (_text(part), "")]
        if told := options(name, command):
            lines += ["| option | |", "|---|---|"]
            lines += [f"| `{_cell(spelled)}` | {_cell(_text(says))} |" for spelled, says in told]
        if examples := EXAMPLES.get(name):
            longest = max(len(line) for line, _ in examples)
            lines += ["", "Examples:", "", *(f"    {line:<{longest}}  # {says}" for line, says in examples)]
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
        for at, part in enumerate(paragraphs(command)):
            lines += [".PP", *_roff_lines(part)] if at else _roff_lines(part)
        for spelled, says in options(name, command):
            lines += [".TP", f".B {_roff(spelled)}", *_roff_lines(says)]
        if examples := EXAMPLES.get(name):
            lines += [".PP", "Examples:"]
            for line, says in examples:
                lines += [".TP", f".B {_roff(line)}", *_roff_lines(says)]
    lines += [".SH EXIT STATUS"]
    for number, says in STATUSES:
        lines += [".TP", f".B {number}", *_roff_lines(says)]
    lines += [".PP", *_roff_lines(COMMAND_STATUS)]
    lines += [
        ".SH ENVIRONMENT",
        ".TP",
        ".B XDG_DATA_HOME",
        *_roff_lines(
            "Models, incidents, recordings and known hosts are in pellucid below it; ~/.local/share without it."
        ),
        ".TP",
        ".B PELLUCID_AGENT_TOKEN",
        "The token for",
        '.BR "pellucid agent add" ,',
        "in place of a question.",
        ".TP",
        ".B PELLUCID_PUSH_TOKEN",
        "Sent as a bearer token by",
        '.BR "pellucid profile \\-\\-push" .',
        ".TP",
        ".B NO_COLOR, FORCE_COLOR",
        "No colours; colours also where the output is no terminal.",
        ".SH SEE ALSO",
        ".BR proc (5),",
        ".BR ptrace (2),",
        ".BR process_vm_readv (2)",
    ]
    return "\n".join(lines) + "\n"


def _roff_lines(text: str) -> list[str]:
    """A paragraph as lines of less than 80 bytes, each sentence on a line of its own (mandoc -T lint)."""
    sentences = re.split(r"(?<=[a-z0-9)`][.!?:]) (?=[A-Z])", text)
    return [_roff(line) for sentence in sentences for line in textwrap.wrap(sentence, 66, break_on_hyphens=False)]


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
