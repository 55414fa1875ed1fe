"""What the incident of a growing worker says: which objects became more and who holds them, by looks that pause it for a moment."""

import sys

from pellucid.kernel import procfs
from pellucid.serve.growing import what_grows
from tests import interpreters

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)


def test_the_holder_is_named_and_the_process_goes_on(target):
    process, _ = target(OURS, "leaks.py", "global-dict")
    told = what_grows(process.pid, 0.5)
    assert "Session +" in told
    assert "REQUESTS (dict)" in told
    assert "it was paused for" in told
    assert procfs.stat(process.pid).letter not in "Tt"


def test_a_native_leak_is_not_given_to_python(target):
    process, _ = target(OURS, "leaks.py", "malloc")
    assert "native memory" in what_grows(process.pid, 0.5)


def test_a_worker_that_ended_is_a_sentence_too(target):
    process, _ = target(OURS, "leaks.py", "malloc")
    process.kill()
    process.wait()
    assert what_grows(process.pid, 0.1).startswith("what grows could not be looked at: there is no process")
