"""The deep mode: code runs in the process, only when asked for, only where that Python can, and is gone afterwards."""

import json
import subprocess
import sys

import pytest

from pellucid.model.errors import LookError, NotUnderstood
from pellucid.observe import inside
from tests import interpreters
from tests.conftest import TARGETS

ABLE = ("3.14", "3.15")


@pytest.mark.parametrize("python", interpreters.each(ABLE))
def test_the_line_that_allocates(target, python):
    process, _ = target(python, "leaks.py", "class-attribute")
    line = [sys.executable, "-m", "pellucid", "memory", str(process.pid), "--inside-tracemalloc", "1"]
    told = subprocess.run([*line, "--json"], capture_output=True, text=True, check=True)
    assert "running tracemalloc inside of pid" in told.stderr
    report = json.loads(told.stdout)
    assert report["ran_code"] is True
    source = (TARGETS / "leaks.py").read_text().splitlines()
    lines = {source[one["line"] - 1].strip() for one in report["lines"] if one["file"].endswith("leaks.py")}
    assert 'Registry._cache[f"session-{number}"] = Session(number)' in lines or "self.visited = [number]" in lines
    assert not report["already_on"]
    text = subprocess.run([line[0], *line[1:-1], "0.3"], capture_output=True, text=True, check=True).stdout
    assert text.startswith(f"code of ours ran in pid {process.pid}")
    assert process.poll() is None


def test_an_older_python_is_refused_and_nothing_runs_in_it(target):
    process, _ = target(interpreters.get("3.13"), "leaks.py", "closure")
    with pytest.raises(NotUnderstood, match=r"only 3\.14 and later"):
        inside.tracemalloc(process.pid, 0.2)


def test_a_process_that_is_stuck_in_a_call_does_not_run_it(target, monkeypatch):
    monkeypatch.setattr(inside, "START_S", 0.5)
    python = interpreters.get("3.14")
    process = subprocess.Popen(
        [python.path, "-c", "import ctypes; print('ready', flush=True); ctypes.CDLL(None).sleep(60)"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(LookError, match="main thread is in C code"):
            inside.tracemalloc(process.pid, 0.2)
        assert process.poll() is None
        process.kill()
