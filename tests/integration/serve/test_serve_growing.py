"""What the incident of a growing worker says: which objects became more and who holds them, and that of a native leak it does not."""

import sys

from pellucid.kernel import procfs
from pellucid.serve import look
from tests import interpreters

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)


def grown(process):
    return look.look(process.pid, process.pid, "grown").sentence


def test_the_holder_is_named_and_the_process_goes_on(target, monkeypatch):
    monkeypatch.setattr(look, "PAUSES", (True,))
    monkeypatch.setattr(look, "QUICK_S", 60.0)
    process, _ = target(OURS, "leaks.py", "global-dict")
    told = grown(process)
    assert "Session +" in told
    assert "REQUESTS (dict)" in told
    assert "it stood still for" in told
    assert procfs.stat(process.pid).letter not in "Tt"


def test_a_native_leak_is_not_given_to_python(target):
    process, _ = target(OURS, "leaks.py", "malloc")
    assert "native memory" in grown(process)


def test_a_worker_that_ended_is_a_sentence_too(target):
    process, _ = target(OURS, "leaks.py", "malloc")
    process.kill()
    process.wait()
    assert grown(process).startswith("it could not be looked at: ")
