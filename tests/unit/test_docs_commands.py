"""Each command line in the documents names a command that is there, with options that it has."""

import importlib
import re
from pathlib import Path

import click
import pytest

from pellucid.app import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINE = re.compile(r"\bpellucid ([a-z]+)\b([^`\n|;&#·]*)")
OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z0-9-]*)")
GENERAL = {"--host", "--help", "--json", "--version"}


def options_of(command):
    """With those of what stands below it (`models import`)."""
    own = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*map(options_of, below))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_are_there(document):
    wrong = []
    for name, rest in LINE.findall(document.read_text()):
        if name not in COMMANDS:
            continue  # prose: "pellucid reads", "pellucid is"
        module, _, attribute = COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        ours = rest.partition(" -- ")[0]
        wrong += [f"{name} {found}" for found in OPTION.findall(ours) if found not in options_of(command) | GENERAL]
    assert not wrong
