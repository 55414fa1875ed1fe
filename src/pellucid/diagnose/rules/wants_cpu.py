"""A thread was ready to run all the time between the looks, and had a CPU for less than a quarter of it.

State R means running or on the queue of a CPU (proc_pid_stat(5)); that the number of its voluntary context switches stayed the same
proves that it did not sleep in between. So it is neither idle nor stuck: others have the CPUs.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import Group, at
from pellucid.diagnose.rules.on_cpu import BUSY
from pellucid.model import Finding, Ref, Snapshot, Thread


def wants_a_cpu(seen: Snapshot) -> Iterator[Finding]:
    starved = tuple(thread for thread in seen.threads if _wants(seen, thread))
    if not starved:
        return
    group = Group(starved)
    first = max(starved, key=lambda thread: thread.cpu_share or 0.0)
    several, none = len(starved) > 1, not first.cpu_share
    span = words.duration(seen.span_s)
    had = "none" if none else f"one for {'at most ' if several else ''}{_share(first)} of it"
    yield Finding(
        rule="wants-cpu",
        severity="notice",
        title=f"{group.who} {'want' if several else 'wants'} a CPU and {'get' if several else 'gets'} {'none' if none else 'little'}",
        sentence=f"{group.who} {'were' if several else 'was'} ready to run for all of the {span} between the looks and had {had}{at(first)}: others run on "
        f"the CPUs of this machine that it may use, or its cgroup has had its share of them (cpu.max).",
        evidence=tuple(
            Ref(
                source=f"/proc/{seen.process.pid}/task/{thread.tid}/stat",
                said=f"{thread.name}: state R at both looks, no sleep between them, {_share(thread)} of {span} on a CPU",
            )
            for thread in starved[:3]
        ),
        next=("pellucid ps", f"pellucid stacks {seen.process.pid}"),
        confidence="certain",
        tids=group.tids,
    )


def _wants(seen: Snapshot, thread: Thread) -> bool:
    before = seen.before(thread.tid)
    return (
        before is not None
        and before.state == thread.state == "running"
        and before.task.switches is not None
        and before.task.switches == thread.task.switches
        and thread.cpu_share is not None
        and thread.cpu_share < BUSY
    )


def _share(thread: Thread) -> str:
    share = 100 * (thread.cpu_share or 0.0)
    return f"{share:.0f} %" if share >= 1 or not share else "less than 1 %"
