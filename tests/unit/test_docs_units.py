"""The systemd units in the documents are what systemd understands, and start a program that is there."""

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

DOCUMENTS = Path(__file__).parents[2] / "docs"
UNIT = re.compile(r"^    (?:# \S+\.service\n    )?\[Unit\]\n(?:(?:    .*)?\n)+", re.MULTILINE)
UNITS = [(path.name, text) for path in sorted(DOCUMENTS.glob("*.md")) for text in UNIT.findall(path.read_text())]


def test_there_are_some():
    assert {name for name, _ in UNITS} >= {"agent.md", "record.md"}


@pytest.mark.parametrize(("name", "text"), UNITS)
def test_a_unit_is_understood(name, text, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    unit = tmp_path / "pellucid-of-the-docs.service"
    program = shutil.which("true")  # where pellucid is installed is the reader's own
    unit.write_text(textwrap.dedent(text).replace("/usr/local/bin/pellucid", program))
    verified = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", unit], capture_output=True, text=True, timeout=120, check=False
    )
    wrong = [line for line in verified.stderr.splitlines() if unit.stem in line]
    assert not wrong, name
