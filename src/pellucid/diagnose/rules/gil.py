"""Threads wait for the global interpreter lock, and one thread has it.

A waiter wakes every 5 ms to ask for it (Python/ceval_gil.c, take_gil), so it never holds still between two looks: the claim is
that it was seen waiting for the GIL at both.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence, name
from pellucid.model import Finding, Ref, Snapshot, Thread


def waits_for_the_gil(seen: Snapshot) -> Iterator[Finding]:
    waiters = [thread for thread in seen.threads if _waits(thread) and _waits(seen.before(thread.tid))]
    if not waiters:
        return
    holder = next((thread for thread in seen.threads if thread.holds_gil), None)
    names = ", ".join(name(thread) for thread in waiters[:3]) + (", ..." if len(waiters) > 3 else "")
    held = f" {name(holder)} holds it{at(holder)}." if holder is not None else ""
    keeps = (
        holder is not None and (holder.cpu_share or 0) < 0.2 and holder.wait is not None and holder.wait.kind != "gil"
    )
    if keeps and holder is not None:
        held += f" It does not run: it {words.does(holder)}, so C code keeps the GIL while it waits."
    yield Finding(
        rule="gil",
        severity="critical" if keeps else "notice",
        title=f"{len(waiters)} thread{'s' if len(waiters) > 1 else ''} {'wait' if len(waiters) > 1 else 'waits'} for the GIL",
        sentence=f"{names} {'were' if len(waiters) > 1 else 'was'} waiting for the interpreter's lock at both looks.{held}",
        evidence=(
            *evidence(seen, waiters[0]),
            *((Ref(source=f"GIL of pid {seen.process.pid}", said=f"held by {holder.name}"),) if holder else ()),
        ),
        next=(f"pellucid stacks {seen.process.pid}",),
        confidence="certain",
        tids=tuple(thread.tid for thread in waiters),
    )


def _waits(thread: Thread | None) -> bool:
    return thread is not None and thread.wait is not None and thread.wait.kind == "gil"
