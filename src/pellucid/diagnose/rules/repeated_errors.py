"""The same system call fails again and again, while the process was watched: an error that may be swallowed (errno(3) has their meanings).

That it fails is a fact; whether the program handles it well can't be seen from outside. A program that waits for a file by asking for
it is healthy: so a missing file is a notice, and only where a line of the program itself asks; what is hardly ever meant so (no
permission, no space, nobody listens) is a warning, whoever asks. What is known to be harmless is left out before
(`observe.syscalls_noise`).
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Calls, Finding, Ref, RepeatedError, Snapshot

_REPEATED, _REPEATED_SERIOUS = 3, 2
_MOST = 3
_SERIOUS = {
    "EACCES": "permission denied",
    "EPERM": "not permitted",
    "EROFS": "the file system is read-only",
    "ENOSPC": "no space left",
    "EDQUOT": "the disk quota is used up",
    "EIO": "input/output error",
    "ESTALE": "stale file handle",
    "EMFILE": "too many open files in this process",
    "ENFILE": "too many open files on this machine",
    "ENOMEM": "out of memory",
    "ENOBUFS": "no buffer space",
    "ECONNREFUSED": "nobody listens there",
    "EHOSTUNREACH": "no route to the host",
    "ENETUNREACH": "the network is unreachable",
    "EADDRINUSE": "the address is in use",
    "EADDRNOTAVAIL": "no address or port is free",
}
_OTHERS = {
    "ENOENT": "no such file or directory",
    "ENOTDIR": "not a directory",
    "EISDIR": "is a directory",
    "EEXIST": "it exists already",
    "ESRCH": "no such process",
    "EBADF": "no such descriptor",
    "ETIMEDOUT": "timed out",
    "ECONNRESET": "the other end has reset the connection",
    "EPIPE": "nobody reads the other end",
    "ENOTCONN": "not connected",
    "ENAMETOOLONG": "the name is too long",
    "EXDEV": "on another file system",
    "ENOTEMPTY": "the directory is not empty",
    "EINVAL": "an argument that makes no sense",
}
_MEANT = frozenset({"EINTR"})
"""Interrupted by a signal: what a program with timers or children lives with."""


def fails_again_and_again(seen: Snapshot) -> Iterator[Finding]:
    calls = seen.over_time.calls if seen.over_time else None
    if calls is None:
        return
    groups: dict[tuple[object, ...], list[RepeatedError]] = {}
    for one in calls.repeated:
        if one.error in _SERIOUS or (one.line is not None and one.line.own and one.error not in _MEANT):
            groups.setdefault((one.error, one.line or one.path or one.what), []).append(one)
    repeated = [group for group in groups.values() if _count(group) >= _enough(group[0])]
    repeated.sort(key=lambda group: (group[0].error not in _SERIOUS, -_count(group)))
    for group in repeated[:_MOST]:
        yield _finding(seen, calls, group, more=len(repeated) - _MOST if group is repeated[:_MOST][-1] else 0)


def _count(group: list[RepeatedError]) -> int:
    """Of its most frequent call: a line that asks for a file by stat and then by open fails twice each time."""
    return sum(one.count for one in group if one.name == group[0].name)


def _enough(one: RepeatedError) -> int:
    return _REPEATED_SERIOUS if one.error in _SERIOUS else _REPEATED


def _finding(seen: Snapshot, calls: Calls, group: list[RepeatedError], more: int) -> Finding:
    first, count = group[0], _count(group)
    pid = seen.process.pid
    who = f"pid {pid}" if first.pid == pid else f"pid {first.pid} ({first.program}), a child of pid {pid},"
    meaning = _SERIOUS.get(first.error) or _OTHERS.get(first.error)
    error = f"{first.error} ({meaning})" if meaning else first.error
    on = f" on {_things(group)}" if _things(group) else ""
    where = f" at {words.place(first.stack)}" if first.stack else ""
    return Finding(
        rule="repeated-errors",
        severity="warning" if first.error in _SERIOUS else "notice",
        title=f"{first.name} fails with {first.error} again and again" + (f"{where}" if where else ""),
        sentence=f"{who} called {first.name}{on} and got {error} {count} times in {calls.seconds:.1f} s{where}; "
        + (
            f"{' and '.join(first.holders)} {'have' if len(first.holders) > 1 else 'has'} it."
            if first.holders
            else "whether the program tells anybody can't be seen from outside."
        )
        + (f" {more} more kinds of failed calls are in --failed." if more > 0 else ""),
        evidence=tuple(
            Ref(
                source=f"system calls of pid {one.pid}, by {calls.backend}",
                said=f"{one.call} = {one.error}, {one.count} times",
            )
            for one in group[:3]
        )
        + ((Ref(source="stack at the end of the call", said=words.path(first.stack)),) if first.stack else ()),
        next=(f"pellucid syscalls {pid} --failed -d 10",),
        confidence="certain" if first.certain else "likely",  # perf reads the path after the call
    )


def _things(group: list[RepeatedError]) -> str:
    """`/srv/a.csv`, `/srv/a.csv and 3 other paths`, `fd 5`; "" where the call names nothing."""
    names = list(dict.fromkeys(one.path or one.what for one in group if one.path or one.what))
    if not names:
        return ""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
