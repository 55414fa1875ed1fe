"""One look at a worker from outside: `python -m pellucid.serve.look PID TID MOMENT` prints a `LookAt` as JSON.

A process of its own, so that whatever a look meets (a process that vanishes, memory that does not hold still, a kernel that refuses)
can't take time or life from the supervisor, which kills it when it takes too long. Nothing is stopped, nothing is written to the worker.
"""

import sys
import time
from typing import Literal, cast

import msgspec

from pellucid.model import Finding, Snapshot, Thread
from pellucid.model.errors import PellucidError
from pellucid.model.incident import LookAt

_IDLE = "idle"


def look(pid: int, tid: int, moment: Literal["half", "deadline"]) -> LookAt:
    """Look at `pid`; the sentence is about its thread `tid`. Never raises for what it could not see: that is `why_not`."""
    from pellucid.diagnose.engine import diagnose
    from pellucid.observe.snapshot import snapshot

    began, at = time.perf_counter(), time.time()
    try:
        seen = snapshot(pid)
        findings = diagnose(seen)
    except PellucidError as error:
        why_not = f"{error.said}; {error.remedy}"
        return LookAt(moment, at, time.perf_counter() - began, f"it could not be looked at: {why_not}", why_not=why_not)
    thread = next((thread for thread in seen.threads if thread.tid == tid), None)
    return LookAt(
        moment=moment,
        at=at,
        took_s=time.perf_counter() - began,
        sentence=sentence(seen, findings, thread),
        line=line(thread),
        snapshot=seen,
        findings=findings,
        why_not="; ".join(f"{gap.what}: {gap.why}" for gap in seen.gaps) if thread is None or not thread.frames else "",
    )


def sentence(seen: Snapshot, findings: tuple[Finding, ...], thread: Thread | None) -> str:
    """What holds the thread up: the worst finding about it or about the whole process, else what the thread does and where."""
    for finding in findings:
        about = not finding.tids or (thread is not None and thread.tid in finding.tids)
        if about and finding.rule != _IDLE:
            where = line(thread)
            told = f"{finding.title}: {finding.sentence}" if not finding.tids else finding.sentence
            return told.rstrip(".") + (
                f", at {where}" if where and where not in told and _place(thread) not in told else ""
            )
    from pellucid.diagnose import words

    if thread is None:
        return f"pid {seen.process.pid} is {seen.process.state}; its thread in question has ended"
    where = line(thread)
    return f"thread {thread.name} {words.does(thread)}" + (f" at {where}" if where else "")


def line(thread: Thread | None) -> str:
    """`transform (preprocessing.py:41)`: the innermost frame that is neither of the standard library nor of an installed package."""
    from pellucid.diagnose import words

    if thread is None or not thread.frames:
        return ""
    return str(next((frame for frame in thread.frames if words.own(frame)), thread.frames[0]))


def _place(thread: Thread | None) -> str:
    from pellucid.diagnose import words

    return words.place(thread.frames) if thread is not None else ""


def main(arguments: list[str]) -> int:
    pid, tid, moment = int(arguments[0]), int(arguments[1]), cast("Literal['half', 'deadline']", arguments[2])
    sys.stdout.buffer.write(msgspec.json.encode(look(pid, tid, moment)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
