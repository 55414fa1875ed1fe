"""What programs import: the examples of docs/api.md as they stand there, and what importing costs."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
    assert "still there after 3 s:\nMainThread" in ended.stdout
    assert f"there is no process with pid {2**22 + 1}" in ended.stdout
    assert {"work.html", "app.recording", "last.speedscope.json"} <= set(os.listdir(tmp_path))


def test_each_name_is_there_and_is_imported_when_it_is_asked_for():
    for name in pellucid.__all__:
        assert getattr(pellucid, name)
    program = "import sys, pellucid; print([name for name in sys.modules if name.startswith('pellucid.')])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "[]"


def test_looks_from_threads_and_from_a_forked_child_are_the_same(target):
    process, _ = target(PYTHON, "states.py", "lock")

    def look(_=None):
        return [each.title for each in pellucid.why(process.pid, watch=0).findings if "payer" in each.title]

    alone = look()
    assert alone == ["payer waits for Lock held"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, range(4))) == [alone] * 4
    program = (
        "import os, pellucid\n"
        f"look = lambda: [each.title for each in pellucid.why({process.pid}, watch=0).findings if 'payer' in each.title]\n"
        "before = look()\n"
        "child = os.fork()\n"
        "if not child: os._exit(look() != before or not before)\n"
        "assert os.waitpid(child, 0)[1] == 0, 'the child saw something else'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], timeout=60, check=True)


def test_a_consumer_is_checked_by_the_types_that_come_along(tmp_path):
    """As an installed package is: by py.typed, and not by the settings of this project."""
    consumer = tmp_path / "consumer.py"
    consumer.write_text("\n".join(examples()).replace("__main__", "consumer") + CONSUMER)
    line = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        os.devnull,
        "--cache-dir",
        str(tmp_path),
        str(consumer),
    ]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path)
    told = [line for line in ended.stdout.splitlines() if "error" in line]
    assert [line.partition(": ")[2] for line in told[:-1]] == [
        'error: Argument 1 to "why" has incompatible type "float"; expected "int | str"  [arg-type]',
        'error: "Finding" has no attribute "nothing"  [attr-defined]',
    ], ended.stdout


CONSUMER = """
pellucid.why(1.5)
pellucid.why(1).findings[0].nothing
typed: tuple[pellucid.Finding, ...] = pellucid.why(1).findings
also: pellucid.Snapshot = pellucid.snapshot("name")
"""


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
