"""gevent greenlets that are switched out: by name, with their line, what they wait for, and two that wait for each other."""

import contextlib
import subprocess
import sys

import pytest

from tests.conftest import TARGETS
from tests.waiting import look


def _with_gevent():
    from tests import interpreters

    for python in interpreters.find():
        if python.minor >= 11:
            asked = subprocess.run([python.path, "-c", "import gevent"], capture_output=True, check=False, timeout=60)
            if not asked.returncode:
                return python.path
    with contextlib.suppress(ImportError):
        import gevent  # noqa: F401  the tests' own environment may have it

        return sys.executable
    return None


def test_greenlets_with_their_locks():
    python = _with_gevent()
    if python is None:
        pytest.skip("no interpreter here has gevent: pip install gevent")
    with subprocess.Popen([python, str(TARGETS / "greenlets.py")], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            found = look(process.pid)
        finally:
            process.kill()
    seen = {one.thread: one for one in found.waits if one.what == "greenlet"}
    assert {"first", "second", "patient", "sleeper"} <= seen.keys()
    assert seen["first"].object == "two (global of greenlets.py)"
    assert seen["first"].holders[0].name == "second"
    assert seen["first"].at == "greenlets.py:12 in first"
    assert seen["patient"].kind == "gevent.Event"
    assert seen["sleeper"].kind == "sleep"
    (finding,) = found.findings
    assert (finding.rule, finding.confidence) == ("deadlock", "likely")
    assert set(found.cycles[0].threads) == {"first", "second"}
