"""Children that have ended and that nobody has collected: zombies (wait(2), NOTES). Each keeps its pid and its entry in the table.

One or two that a program collects late cost nothing and are told as information. The two looks are a tenth of a second apart, so
a parent that collects when it is told (SIGCHLD) has done so in between.
"""

from collections.abc import Iterator

from pellucid.model import Finding, Ref, Snapshot

_SOME, _MANY = 10, 100


def leaves_children_uncollected(seen: Snapshot) -> Iterator[Finding]:
    count = seen.resources.zombie_count
    if not count or seen.process.state in {"stopped", "traced"}:
        return
    pid = seen.process.pid
    shown = ", ".join(f"{one.pid} ({one.name})" for one in seen.resources.zombies[:3])
    plural = count > 1
    yield Finding(
        rule="zombies",
        severity="warning" if count >= _MANY else "notice" if count >= _SOME else "info",
        title=f"{count} {'children have' if plural else 'child has'} ended and {'were' if plural else 'was'} not collected",
        sentence=f"pid {pid} has not called wait(2) for {shown}{', ...' if count > 3 else ''}, which {'are zombies' if plural else 'is a zombie'} until it does, "
        f"or until it ends itself.",
        evidence=tuple(
            Ref(source=f"/proc/{one.pid}/stat", said=f"state Z at both looks, parent {pid}")
            for one in seen.resources.zombies[:3]
        )
        or (Ref(source=f"/proc/{pid}/task/*/children", said=f"{count} in state Z at both looks"),),
        next=(f"pellucid stacks {pid}",),
        confidence="certain",
    )
