"""A thread waits in flock(2) or fcntl(2) F_SETLKW for a file that another open descriptor has locked."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence, harm, waiting
from pellucid.model import Finding, Snapshot


def waits_for_a_file_lock(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, lambda thread: thread.wait is not None and thread.wait.kind == "file-lock"):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        file = wait.watched[0].what if wait.watched else "a file"
        yield Finding(
            rule="file-lock",
            severity=harm(wait.since_s),
            title=f"{group.who} waits for a lock on {file}",
            sentence=f"{group.who} {group.has} waited{asleep} in {wait.call} for a lock on {file}{at(thread)}; another open descriptor has it.",
            evidence=evidence(seen, thread),
            next=("cat /proc/locks",),
            confidence="certain",
            tids=group.tids,
        )
