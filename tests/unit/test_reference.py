"""docs/reference.md and docs/pellucid.1 name every command and every option that there is (scripts/reference.py writes them)."""

import importlib
from pathlib import Path

import click
import pytest

from pellucid.app import COMMANDS

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
