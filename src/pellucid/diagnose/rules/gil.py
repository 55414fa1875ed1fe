"""Threads wait for the global interpreter lock, and one thread has it.

A waiter wakes every 5 ms to ask for it (Python/ceval_gil.c, take_gil), and threads that compete take turns, so no thread holds still
between two looks: the claim rests on the samples taken between them.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence, name
from pellucid.model import Finding, Ref, Snapshot, Thread


def waits_for_the_gil(seen: Snapshot) -> Iterator[Finding]:
    waiters = [thread for thread in seen.threads if thread.gil_waits or _waits(thread)]
    if not waiters or not _contended(seen):
        return
    holder = next((thread for thread in seen.threads if thread.holds_gil), None) or _usual_holder(seen)
    names = ", ".join(name(thread) for thread in waiters[:3]) + (", ..." if len(waiters) > 3 else "")
    held = f" {name(holder)} {_holds(seen, holder)}{at(holder)}." if holder is not None else ""
    keeps = holder is not None and _keeps(seen, holder)
    if keeps and holder is not None:
        held += f" It does not run: it {words.does(holder)}, so C code keeps the GIL while it waits."
    yield Finding(
        rule="gil",
        severity="critical" if keeps else "notice",
        title=f"{len(waiters)} thread{'s' if len(waiters) > 1 else ''} {'wait' if len(waiters) > 1 else 'waits'} for the GIL",
        sentence=f"{names} waited for the interpreter's lock{_share(seen)}.{held}",
        evidence=(
            *evidence(seen, waiters[0]),
            *((Ref(source=f"GIL of pid {seen.process.pid}", said=f"held by {holder.name}"),) if holder else ()),
        ),
        next=(f"pellucid stacks {seen.process.pid}",),
        confidence="certain",
        tids=tuple(thread.tid for thread in waiters),
    )


def _contended(seen: Snapshot) -> bool:
    """In at least half of the samples, or at both looks where no samples were taken, some thread waited for the GIL."""
    if seen.gil_contended:
        return 2 * seen.gil_contended >= seen.samples
    return any(_waits(thread) for thread in seen.threads) and any(_waits(thread) for thread in seen.earlier)


def _share(seen: Snapshot) -> str:
    if seen.gil_contended:
        return f": in {seen.gil_contended} of {seen.samples} samples some thread did"
    return " at both looks"


def _usual_holder(seen: Snapshot) -> Thread | None:
    """Who had the GIL in most of the samples: at the moment of the look itself it may be passing from hand to hand."""
    most = max(seen.threads, key=lambda thread: thread.gil_holds)
    return most if most.gil_holds else None


def _holds(seen: Snapshot, holder: Thread) -> str:
    return "holds it" if holder.holds_gil else f"held it in {holder.gil_holds} of {seen.samples} samples"


def _keeps(seen: Snapshot, holder: Thread) -> bool:
    """It held the GIL at both looks and slept in between, in a call that is no request for the GIL."""
    first = seen.before(holder.tid)
    asleep = holder.wait is not None and holder.wait.kind != "gil" and seen.steady(holder)
    return asleep and first is not None and first.holds_gil is True


def _waits(thread: Thread | None) -> bool:
    return thread is not None and thread.wait is not None and thread.wait.kind == "gil"
