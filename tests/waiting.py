"""Targets that wait: one state under every interpreter at once, each in a process group of its own that is ended when the test is over."""

import contextlib
import os
import signal
import subprocess
import time

from pellucid.diagnose.waits import report
from pellucid.observe.wait_graph import family
from tests import interpreters
from tests.conftest import TARGETS

LIMIT_S = 45.0
"""For a target to be in its state: a busy machine takes its time."""


def program_of(state):
    """waiting.py, or waiting_processes.py for a state of several processes."""
    programs = ("waiting.py", "waiting_processes.py")
    return next(name for name in programs if f"\ndef {state}(" in (TARGETS / name).read_text())


@contextlib.contextmanager
def started(*arguments, program="", versions=interpreters.EXPECTED):
    """{version: pid} of `program ARGUMENTS` under each of `versions` that is here, once each has printed "ready".

    Without a program it is the one that has the state which the first argument names.
    """
    program = program or program_of(arguments[0])
    processes = {}
    try:
        for python in interpreters.find():
            if python.version in versions:
                processes[python.version] = subprocess.Popen(
                    [python.path, str(TARGETS / program), *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
        for version, process in processes.items():
            assert process.stdout.readline().strip() == "ready", f"{arguments} under {version} has ended"
        yield {version: process.pid for version, process in processes.items()}
    finally:
        for process in processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()


def look(pid):
    return report(family((pid,)))


def look_until(pid, good, within_s=LIMIT_S):
    """The first look of which `good` holds; else the last one, after so many seconds."""
    limit = time.monotonic() + within_s
    found = look(pid)
    while not good(found) and time.monotonic() < limit:
        time.sleep(0.2)
        found = look(pid)
    return found


def look_until_right(pid, check):
    """Looks until `check` no longer fails, with an AssertionError, KeyError or ValueError: it raises what it raised last.

    A target on a busy machine gets on slowly. What must never be said, whatever it has reached, is not for `check` to tell.
    """
    limit = time.monotonic() + LIMIT_S
    while True:
        found = look(pid)
        try:
            check(found)
        except (AssertionError, KeyError, ValueError):
            if time.monotonic() > limit:
                raise
            time.sleep(0.2)
        else:
            return found


def rows(found):
    """Waits by the name of the thread, those of the main threads of children by `PID`."""
    return {one.thread if one.thread != "MainThread" else one.process or "MainThread": one for one in found.waits}
