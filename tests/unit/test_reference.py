"""docs/reference.md and docs/pellucid.1 name every command and every option that there is (scripts/reference.py writes them)."""

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pellucid.app import COMMANDS
from pellucid.present.cli.help_text import EXAMPLES, SECTIONS, STATUSES
from pellucid.present.cli.lazy import group

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = {name: (DOCS / name).read_text() for name in ("reference.md", "pellucid.1")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_stands_in_the_reference(name):
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    below = found.commands.values() if isinstance(found, click.Group) else ()
    spelled = [
        one.opts[-1]
        for command in (found, *below)
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
    ]
    assert f"## pellucid {name}\n" in PAGES["reference.md"]
    assert f".SS pellucid {name}".replace("-", "\\-") in PAGES["pellucid.1"]
    missing = [
        one for one in spelled if one not in PAGES["reference.md"] or one.replace("-", "\\-") not in PAGES["pellucid.1"]
    ]
    assert not missing, "python scripts/reference.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_and_the_reference_have_the_examples(name):
    told = CliRunner().invoke(group(COMMANDS), [name, "--help"], terminal_width=80).output
    assert all(len(line) <= 80 for line in told.splitlines())
    for line, says in EXAMPLES.get(name, ()):
        assert line in told
        assert says in told
        assert line in PAGES["reference.md"]
        assert line.replace("\\", "\\e").replace("-", "\\-").replace("`", "") in PAGES["pellucid.1"]


def test_the_list_of_commands_is_in_parts_and_has_the_exit_statuses():
    told = CliRunner().invoke(group(COMMANDS), ["--help"], terminal_width=80).output
    lines = told.splitlines()
    at = [lines.index(f"{heading}:") for _, heading in SECTIONS]
    assert at == sorted(at)
    assert [lines[place + 1].split()[0] for place in at] == [first for first, _ in SECTIONS]
    assert all(f"  {name} " in told for name in COMMANDS)
    assert all(f"  {number} " in told and says.split()[0] in told for number, says in STATUSES)
