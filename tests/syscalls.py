"""Looks at system calls, made here, for the tests: by every way that this machine and user permit."""

import contextlib
import os
import time

import pytest

from pellucid.observe.syscalls import Asked, attached, launched


def _loads():
    from pellucid.kernel import bpf

    try:
        bpf.Map(bpf.ARRAY, 4, 8, 1).close()
    except OSError:
        return False
    return True


needs_bpf = pytest.mark.skipif(not _loads(), reason="needs CAP_BPF and CAP_PERFMON: run the tests as root")
each_way = pytest.mark.parametrize("way", [pytest.param("bpf", marks=needs_bpf), "ptrace", "seccomp"])


def until(true, seconds=60):
    """Wait for what a test can't go on without."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def held(pid, word="bpf"):
    """What of BPF a process holds: maps and programs; `bpf_link` or `raw_tracepoint` once they are attached."""
    found = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # our own list has one of its own in it
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return [link for link in found if word in link]


def launch(*command, stdout=None, **asked):
    """The report on a command, whose standard output is thrown away unless a descriptor is given."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        return launched(tuple(map(str, command)), Asked(**asked), stdout=null if stdout is None else stdout)
    finally:
        os.close(null)


def attach(pid, **asked):
    return attached(pid, Asked(**asked))


def failed(report, path):
    """The events for a path, or one that ends so."""
    return [event for event in report.events if event.path and event.path.endswith(path)]


def lines(event):
    """`look:24 <module>:40`: functions and lines, innermost first."""
    return [f"{frame.function}:{frame.line}" for frame in event.stack]
