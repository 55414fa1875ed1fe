"""One look at a worker from outside, made in a child of the supervisor that writes a `LookAt` as JSON into a pipe.

It is a process of its own, so that whatever a look meets (a process that vanishes, memory that does not hold still, a kernel that refuses)
can't take time or life from the supervisor, which kills it when it takes too long (`late.py`). Nothing is stopped, nothing is written to the worker.
"""

import gc
import os
import time
import traceback
from collections.abc import Callable

import msgspec

from pellucid.model import Finding, Snapshot, Thread
from pellucid.model.errors import NotUnderstood, PellucidError
from pellucid.model.incident import LookAt, Moment

_NO_CAUSE = frozenset({"idle", "unaccepted"})
"""Rules whose findings can't be what holds a worker up: connections that nobody accepts are what comes of it."""
GROW_S = 2.0
"""Between the two counts of a worker's objects."""
QUICK_S = 1.5
PAUSES = (False, False, True)
"""A busy worker's memory may change too much while it is copied. It is about to be replaced, so that it may stand still for a moment in the end."""


def look(pid: int, tid: int, moment: Moment) -> LookAt:
    """Look at `pid`; the sentence is about its thread `tid`. Never raises for what it could not see: that is `why_not`."""
    from pellucid.diagnose.engine import diagnose
    from pellucid.observe.snapshot import snapshot

    if moment == "grown":
        return _grown(pid)
    began, at = time.perf_counter(), time.time()
    try:
        seen = snapshot(pid, untimed=True)
    except PellucidError as error:
        return unseen(moment, time.perf_counter() - began, f"{error.said}; {error.remedy}")
    findings = diagnose(seen)
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


def _grown(pid: int) -> LookAt:
    """Which objects become more in the worker, and who holds them."""
    from pellucid.diagnose.growing import in_words
    from pellucid.observe.growing import Second, what_grows

    def _second(took_s: float) -> Second:
        """A busy machine, or a large heap: then the types are told without those who hold them."""
        time.sleep(max(0.0, GROW_S - took_s))
        return Second(follow=took_s < QUICK_S)

    began, at = time.perf_counter(), time.time()
    found, why_not = None, ""
    for pause in PAUSES:
        try:
            found = what_grows(pid, pause=pause, plan=_second)
            break
        except NotUnderstood as error:  # it ran on while its memory was copied, and no two pieces of the copy fit
            why_not = f"{error.said}; {error.remedy}"
        except PellucidError as error:
            why_not = f"{error.said}; {error.remedy}"
            break
    if found is None:
        return unseen("grown", time.perf_counter() - began, why_not)
    told = in_words(found)
    if found.paused_s:
        told += f" (for that it stood still for {found.paused_s * 1000:.0f} ms)"
    why_not = "; ".join(f"{gap.what}: {gap.why}" for gap in found.gaps)
    return LookAt("grown", at, time.perf_counter() - began, told, why_not=why_not)


def sentence(seen: Snapshot, findings: tuple[Finding, ...], thread: Thread | None) -> str:
    """What holds the thread up: the worst finding about it or about the whole process, else what the thread does and where."""
    for finding in findings:
        about = not finding.tids or (thread is not None and thread.tid in finding.tids)
        if about and finding.rule not in _NO_CAUSE:
            where, told = line(thread), finding.sentence.rstrip(".")
            named = not where or where in told or _place(thread) in told
            return told if named else f"{told}, at {where}"
    from pellucid.diagnose import words

    if thread is None:
        return f"pid {seen.process.pid} is {seen.process.state}; its thread in question has ended"
    where = line(thread)
    return f"thread {thread.name} {words.does(thread)}" + (f" at {where}" if where else "")


def line(thread: Thread | None) -> str:
    """`transform (preprocessing.py:41)`: the innermost frame that is neither of the standard library nor of an installed package."""
    if thread is None or not thread.frames:
        return ""
    return str(next((frame for frame in thread.frames if frame.own), thread.frames[0]))


def _place(thread: Thread | None) -> str:
    from pellucid.diagnose import words

    return words.place(thread.frames) if thread is not None else ""


def prepare() -> None:
    """Import what a look needs, so that the first one is as quick as the others; and leave it alone, so that children share its pages."""
    import pellucid.diagnose.rules
    import pellucid.observe.snapshot  # noqa: F401

    gc.collect()
    gc.freeze()  # a later collection would write to every object's header


def tell(pipe: int, pid: int, tid: int, moment: Moment) -> None:
    """Look, and write what was seen."""
    write(pipe, moment, lambda: look(pid, tid, moment))


def write(pipe: int, moment: Moment, see: Callable[[], LookAt]) -> None:
    """What is seen, as JSON."""
    began = time.perf_counter()
    try:
        seen = see()
    except Exception as error:  # noqa: BLE001  a mistake of ours must not lose the incident: it becomes a part of it
        place = traceback.extract_tb(error.__traceback__)[-1]
        why_not = f"pellucid's own look failed: {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        seen = unseen(moment, time.perf_counter() - began, why_not)
    rest = memoryview(msgspec.json.encode(seen))
    while rest:
        rest = rest[os.write(pipe, rest) :]


def unseen(moment: Moment, took_s: float, why_not: str) -> LookAt:
    """A look that saw nothing, and why."""
    return LookAt(moment, time.time() - took_s, took_s, f"it could not be looked at: {why_not}", why_not=why_not)
