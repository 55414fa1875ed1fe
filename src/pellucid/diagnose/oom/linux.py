"""What the kernel says: whom its OOM killer ended and why, which cgroup or limit is near its end.

The killer ends the process with the most memory in reach (mm/oom_kill.c, oom_badness: resident pages, swap and page tables, moved by
oom_score_adj): not the one that asked last, and not always the one that leaks. Its log says both.
"""

from collections.abc import Iterator

from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.cgroup import MemoryGroup
from pellucid.model.oom import Kill, OomSeen

MAX_TOLD = 5
FULL, NEAR = 0.95, 0.80
_BIG = 16 << 20


def was_killed(seen: OomSeen) -> Iterator[Finding]:
    """The kills that the log tells: of the pid that was asked for, else the last ones."""
    asked = [kill for kill in seen.kills if kill.pid == seen.pid] if seen.pid is not None else list(seen.kills)
    for kill in asked[-MAX_TOLD:]:
        yield Finding(
            rule="oom-killed",
            severity="critical",
            title=f"the kernel's OOM killer ended pid {kill.pid} ({kill.name}){_when(kill)}: {_what_was_full(kill)}",
            sentence=" ".join(
                part for part in (_how_big(kill), _who_else(kill), _who_asked(kill), _again(seen)) if part
            ),
            evidence=tuple(Ref(source="kernel log", said=line) for line in kill.lines),
            next=_next(kill, seen),
            confidence="certain",
        )


def _when(kill: Kill) -> str:
    return f" at {kill.at}" if kill.at and not kill.at.startswith("[") else ""


def _what_was_full(kill: Kill) -> str:
    if not kill.cgroup:
        return "the whole machine was out of memory"
    limit = f" of {size(kill.limit_bytes)}" if kill.limit_bytes is not None else ""
    return f"cgroup {kill.cgroup} had reached its limit{limit}"


def _how_big(kill: Kill) -> str:
    if kill.anon_bytes is None:
        return "The log does not say how big it was."
    held = f"It held {size(kill.anon_bytes)} of its own (anonymous) memory"
    beside = [
        f"{size(count)} {what}"
        for count, what in ((kill.file_bytes, "of mapped files"), (kill.shmem_bytes, "of shared memory"))
        if count and count > 1 << 20
    ]
    if kill.limit_bytes and not beside and kill.anon_bytes:
        held += f", {100 * kill.anon_bytes / kill.limit_bytes:.0f} % of the limit"
    return held + (f", and {' and '.join(beside)}" if beside else "") + "."


def _who_else(kill: Kill) -> str:
    """It matters when the killed one was not most of it."""
    large = [one for one in kill.others if one.resident_bytes > 32 << 20]
    if not large:
        return ""
    told = ", ".join(f"pid {one.pid} ({one.name}) {size(one.resident_bytes)}" for one in large[:3])
    return f"Also in its reach: {told}."


def _who_asked(kill: Kill) -> str:
    if kill.invoked_by and kill.invoked_by != kill.name:
        return f"The request that found no memory came from {kill.invoked_by}."
    return ""


def _again(seen: OomSeen) -> str:
    if seen.process is not None and seen.pid is not None:
        return f"Another process has pid {seen.pid} now."
    return ""


def _next(kill: Kill, seen: OomSeen) -> tuple[str, ...]:
    group = (f"pellucid oom {kill.cgroup}",) if kill.cgroup not in {"", "?"} and seen.pid is not None else ()
    return (*group, "pellucid memory PID --watch 60  (PID: its successor, or who else was in reach)")


def group_was_killed(seen: OomSeen) -> Iterator[Finding]:
    """A counter that says so, where the log has nothing of it (any more)."""
    for group in seen.groups:
        logged = any(group.path in {kill.cgroup, kill.task_cgroup} for kill in seen.kills)
        if group.kills and not logged:
            yield Finding(
                rule="oom-group-kills",
                severity="warning",
                title=f"the OOM killer has ended {times(group.kills, 'process', 'processes')} of cgroup {group.path}",
                sentence=f"Since the group was made; when, and which, its counter does not tell{_log_words(seen)}. {_limit_words(group)}{_who_is_big(seen)}",
                evidence=(Ref(source=_events(group), said=f"oom_kill {group.kills}"),),
                next=("dmesg -T | grep -i 'killed process'", f"pellucid oom {group.path}"),
                confidence="certain",
            )
            return  # a group above counts the same kills


def _who_is_big(seen: OomSeen) -> str:
    """Of the group as it is now."""
    large = [one for one in seen.members if one.resident_bytes >= _BIG]
    if not large:
        return ""
    told = ", ".join(f"pid {one.pid} ({one.name}) {size(one.resident_bytes)}" for one in large[:3])
    return f" Largest in it now: {told}."


def _log_words(seen: OomSeen) -> str:
    return (
        ", and the kernel's log reaches not so far back" if seen.log_read else ", and the kernel's log may not be read"
    )


def group_is_full(seen: OomSeen) -> Iterator[Finding]:
    """A group at its limit whose memory can't be taken back: the next page may be the end."""
    for group in seen.groups:
        fill = group.fill
        if fill is None or fill < NEAR or group.limit_bytes is None:
            continue
        pinned = (group.anon_bytes or 0) + (group.shmem_bytes or 0) + (group.kernel_bytes or 0)
        tight = pinned >= FULL * group.limit_bytes and not group.swap_bytes
        cache = group.file_bytes or 0
        yield Finding(
            rule="oom-group-full",
            severity="critical" if tight else "warning" if pinned >= NEAR * group.limit_bytes else "info",
            title=f"cgroup {group.path} uses {100 * fill:.0f} % of its {size(group.limit_bytes)}"
            + (", and hardly anything of it can be taken back" if tight else ""),
            sentence=f"{size(group.anon_bytes or 0)} are anonymous memory, {size(cache)} page cache (which the kernel takes back when"
            f" it needs it), {size(group.shmem_bytes or 0)} shared memory; the limit was reached {times(group.hits, 'time', 'times')}.{_who_is_big(seen)}",
            evidence=(
                Ref(source=group.folder, said=f"{group.current_bytes} of {group.limit_bytes} bytes"),
                Ref(source=_events(group), said=f"reached {group.hits}, oom {group.ooms}, oom_kill {group.kills}"),
            ),
            next=(f"pellucid memory {seen.pid or 'PID'} --watch 60",),
            confidence="certain",
        )
        return


def is_near_its_own_limit(seen: OomSeen) -> Iterator[Finding]:
    """RLIMIT_AS and RLIMIT_DATA (getrlimit(2)): malloc and mmap fail at once, and Python raises MemoryError."""
    used = {"Max address space": seen.virtual_bytes, "Max data size": seen.data_bytes}
    for limit in seen.limits:
        have = used.get(limit.name)
        if limit.soft is None or have is None or have < NEAR * limit.soft:
            continue
        left = max(0, limit.soft - have)
        yield Finding(
            rule="oom-rlimit",
            severity="warning",
            title=f"pid {seen.pid} has {size(left)} left of its own limit ({limit.name.lower()}, {size(limit.soft)})",
            sentence="A request for more than that fails at once: MemoryError, `can't start new thread`, or ENOMEM of fork and mmap."
            " This limit counts what is reserved, also where it was never touched.",
            evidence=(
                Ref(source=f"/proc/{seen.pid}/limits", said=f"{limit.name} {limit.soft}"),
                Ref(source=f"/proc/{seen.pid}/status", said=f"in use {have} bytes"),
            ),
            next=(f"prlimit --pid {seen.pid} --as --data",),
            confidence="certain",
        )


def may_be_first(seen: OomSeen) -> Iterator[Finding]:
    """What the killer would choose, where somebody has moved the choice."""
    if seen.process is None or not seen.oom_score_adj:
        return
    adj = seen.oom_score_adj
    words = (
        "is never chosen by the OOM killer"
        if adj == -1000
        else "is spared longer than its size says"
        if adj < 0
        else "is chosen earlier than its size says"
    )
    yield Finding(
        rule="oom-score",
        severity="info",
        title=f"pid {seen.pid} {words} (oom_score_adj {adj})",
        sentence=f"Its score is {seen.oom_score} now; the killer takes the highest in reach.",
        evidence=(Ref(source=f"/proc/{seen.pid}/oom_score_adj", said=str(adj)),),
        next=(),
        confidence="certain",
    )


def _events(group: MemoryGroup) -> str:
    return group.folder + ("/memory.events" if group.version == 2 else "/memory.oom_control")


def _limit_words(group: MemoryGroup) -> str:
    if group.limit_bytes is None:
        return "The group itself has no limit: one above it, or the machine, was full."
    return f"Its limit is {size(group.limit_bytes)}, of which {size(group.current_bytes)} are used now."


def times(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
