"""Another process holds the write lock of an SQLite database, and a thread here sleeps and tries again.

SQLite does not wait in the kernel: it asks for its byte-range locks without waiting, and with a busy timeout sleeps 1 to 100 ms and asks
again (src/main.c, sqliteDefaultBusyCallback; src/os_unix.c, SQLite 3.46). So there is a thread that sleeps shortly at one place at both
looks, and a lock that one other process held at both. That the sleep is SQLite's is not in any field: likely, not certain.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence
from pellucid.model import Finding, Ref, Snapshot, SqliteLock, Thread

_SHORT_S = 0.2
_WHAT = {
    "reserved": "has begun to write",
    "pending": "waits for readers to end, to write",
    "exclusive": "is writing",
    "wal-write": "is writing",
}


def waits_for_sqlite(seen: Snapshot) -> Iterator[Finding]:
    for lock in seen.resources.sqlite:
        thread = next((thread for thread in seen.threads if _tries_again(seen, thread)), None)
        if thread is not None:
            yield _finding(seen, lock, thread)


def _finding(seen: Snapshot, lock: SqliteLock, thread: Thread) -> Finding:
    who = words.called(lock.holder)
    return Finding(
        rule="sqlite-lock",
        severity="warning",
        title=f"{thread.name} waits for the SQLite database {lock.path}, which {who} has locked",
        sentence=f"{thread.name} sleeps and tries again{at(thread)}; {who} held the {lock.what} lock of {lock.path} (fd {lock.fd} here) at both looks: it "
        f"{_WHAT.get(lock.what, 'has it locked')}, and nobody else can until it commits.",
        evidence=(
            Ref(source="/proc/locks", said=f"pid {lock.holder.pid}: {lock.what} lock on {lock.path}"),
            *evidence(seen, thread),
        ),
        next=(f"pellucid why {lock.holder.pid}",),
        confidence="likely",
        tids=(thread.tid,),
    )


def _tries_again(seen: Snapshot, thread: Thread) -> bool:
    """In a short sleep now, at the same line at both looks, and not in one long sleep since."""
    first = seen.before(thread.tid)
    if first is None or thread.wait is None or thread.wait.kind != "sleep" or not thread.frames:
        return False
    short = thread.wait.left_s is None or thread.wait.left_s <= _SHORT_S
    return short and not seen.steady(thread) and words.place(first.frames) == words.place(thread.frames)
