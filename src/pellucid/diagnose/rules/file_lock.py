"""A thread waits in flock(2) or fcntl(2) F_SETLKW for a file that another open descriptor has locked; who has it, and what it does.

The holder is named by /proc/locks and confirmed by its own fdinfo (`kernel.filelocks`); a lock of flock(2) may be held by this very
process, through another descriptor: then nobody else can release it.
"""

from collections.abc import Iterator

from pellucid.diagnose import peers, words
from pellucid.diagnose.groups import Group, at, evidence, harm, waiting
from pellucid.model import FileLock, Finding, Peer, Ref, Snapshot


def waits_for_a_file_lock(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, lambda thread: thread.wait is not None and thread.wait.kind == "file-lock"):
        yield _finding(seen, group)


def _finding(seen: Snapshot, group: Group) -> Finding:
    thread = group.longest
    wait = thread.wait
    assert wait is not None
    asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
    file = wait.watched[0].what if wait.watched else "a file"
    fd = wait.watched[0].fd if wait.watched else None
    locks = next((one.locks for one in seen.resources.locks if one.fd == fd), ())
    pids = tuple(dict.fromkeys(pid for lock in locks for pid in lock.holders))
    others = [peer for peer in seen.peers if peer.process.pid in pids]
    held = _held(seen, locks, pids, others)
    stopped = bool(others) and all(peer.process.state in {"stopped", "traced"} for peer in others)
    return Finding(
        rule="file-lock",
        severity="critical" if stopped else harm(wait.since_s),
        title=f"{group.who} waits for a lock on {file}" + (f", held by {_short(seen, pids)}" if pids else ""),
        sentence=f"{group.who} {group.has} waited{asleep} in {wait.call} for a lock on {file}{at(thread)}; {held}",
        evidence=(
            *evidence(seen, thread),
            *(Ref(source="/proc/locks", said=_line(lock)) for lock in locks[:2]),
            *(ref for peer in others[:1] for ref in peers.evidence(peer)),
        ),
        next=tuple(f"pellucid why {pid}" for pid in pids[:2] if pid != seen.process.pid)
        or (f"pellucid files {seen.process.pid}",),
        confidence="certain",
        tids=group.tids,
    )


def _held(seen: Snapshot, locks: tuple[FileLock, ...], pids: tuple[int, ...], others: list[Peer]) -> str:
    if not locks or not pids:
        return "another open descriptor has it."
    if pids == (seen.process.pid,):
        return f"pid {seen.process.pid} itself holds it through another descriptor, so no other process can release it."
    told = " ".join(f"{peers.state(peer)}." for peer in others[:2])
    kind = locks[0].kind
    return f"{_short(seen, pids)} {'has' if len(pids) == 1 else 'have'} it locked ({kind}, {locks[0].mode}). {told}".rstrip()


def _short(seen: Snapshot, pids: tuple[int, ...]) -> str:
    names = ["itself" if pid == seen.process.pid else f"pid {pid}" for pid in pids[:3]]
    return " and ".join(names) + (" and others" if len(pids) > 3 else "")


def _line(lock: FileLock) -> str:
    end = "end" if lock.end is None else lock.end
    return f"{lock.kind} {lock.mode} lock, bytes {lock.start} to {end}, pid {', '.join(map(str, lock.holders))}"
