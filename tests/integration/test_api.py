"""What programs import: the examples of docs/api.md as they stand there, and what importing costs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pellucid
from pellucid.model.errors import NoSuchProcess, UsageError
from tests import interpreters

PYTHON = interpreters.Interpreter("3.11", sys.executable)
DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def examples():
    """The Python of the page, one block after another: a block goes on with the names of those before."""
    return re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_page_run(tmp_path, target):
    process, _ = target(PYTHON, "states.py", "lock")
    program = "\n".join(examples()).replace("4242", str(process.pid))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr
    assert "payer waits for" in ended.stdout
    assert "of a core for each process" in ended.stdout
    assert f"there is no process with pid {2**22 + 1}" in ended.stdout
    assert {"work.html", "app.recording", "last.speedscope.json"} <= set(os.listdir(tmp_path))


def test_each_name_is_there_and_is_imported_when_it_is_asked_for():
    for name in pellucid.__all__:
        assert getattr(pellucid, name)
    program = "import sys, pellucid; print([name for name in sys.modules if name.startswith('pellucid.')])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "[]"


def test_record_is_still_a_function_after_its_parts_were_imported():
    import pellucid.recording.recorder

    assert callable(pellucid.record)


def test_what_can_not_be_asked_is_said():
    with pytest.raises(UsageError, match="this process itself"):
        pellucid.why(os.getpid())
    with pytest.raises(NoSuchProcess):
        pellucid.why(2**22 + 1)
    with pytest.raises(UsageError):
        pellucid.snapshot("no such program runs here")
