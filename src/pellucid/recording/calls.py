"""Counts of system calls for a recording, where they are asked for and may be had."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from pellucid.kernel import bpf, bpf_access
from pellucid.kernel.bpf_counts import Counts
from pellucid.kernel.syscalls import name
from pellucid.model import Gap
from pellucid.model.recording import CallCounts
from pellucid.recording.looks import Looked
from pellucid.recording.subject import Subject

EVERY_S = 10.0
_WHAT = "system calls by name"


class Calls:
    """What is counted; `why_not` where nothing can be."""

    def __init__(self) -> None:
        self._counts: Counts | None = None
        self.why_not: Gap | None = None
        self._next_at = time.monotonic() + EVERY_S
        if os.uname().machine != "x86_64":
            self.why_not = Gap(_WHAT, "the program that counts is written for x86-64 only")
            return
        try:
            self._counts = Counts()
        except OSError as error:
            self.why_not = Gap(_WHAT, bpf_access.why_not(error), "sudo pellucid record --syscalls ...")
        except bpf.Refused as error:
            self.why_not = Gap(_WHAT, str(error))

    def begin(self, subject: Subject) -> None:
        """From now on those of this process; or the gap that there are none."""
        if self._counts is not None:
            with suppress(OSError):  # more processes than it has room for
                self._counts.follow(subject.pid)
                return
        subject.gaps[self.why_not or Gap(_WHAT, "there were too many processes at a time")] = None

    def due(self) -> bool:
        """It is time to write them down."""
        return self._counts is not None and time.monotonic() >= self._next_at

    def counted(self, subjects: Iterable[Subject]) -> Iterable[Looked]:
        """What has been counted of them since they are recorded."""
        if self._counts is None:
            return
        self._next_at = time.monotonic() + EVERY_S
        found, now = self._counts.counted(), time.time()
        for subject in subjects:
            calls = found.get(subject.pid)
            if calls:
                at = now if subject.death is None else subject.last_at  # nothing is kept of it that is later
                by_name = {name(number): times for number, times in sorted(calls.items())}
                yield Looked(subject, "calls", at, CallCounts(by_name))

    def end(self, subject: Subject) -> None:
        if self._counts is not None:
            self._counts.forget(subject.pid)

    def close(self) -> None:
        if self._counts is not None:
            self._counts.close()
