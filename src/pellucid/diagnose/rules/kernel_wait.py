"""A thread is in uninterruptible sleep (state D), or waits for a device, a signal or a file: a disk, a network mount, a driver, a person."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, evidence, harm, waiting
from pellucid.model import Finding, Ref, Snapshot, Thread


def waits_in_the_kernel(seen: Snapshot) -> Iterator[Finding]:
    for group in waiting(seen, _in_the_kernel):
        thread = group.longest
        wait = thread.wait
        assert wait is not None
        asleep = f" for {words.duration(wait.since_s)}" if wait.since_s is not None else ""
        wchan = (
            (Ref(source=f"/proc/{seen.process.pid}/task/{thread.tid}/wchan", said=thread.task.wchan),)
            if thread.task.wchan
            else ()
        )
        stuck = wait.kind == "disk"
        yield Finding(
            rule="disk" if stuck else wait.kind,
            severity=harm(wait.since_s),
            title=f"{group.who} {words.waits(wait)}",
            sentence=f"{group.who} {words.waits(wait)}{asleep}{at(thread)}."
            + (
                f" The kernel waits in {thread.task.wchan}; no signal but SIGKILL reaches it there, and often not even that."
                if stuck and thread.task.wchan
                else ""
            ),
            evidence=(*evidence(seen, thread), *wchan),
            next=(f"pellucid files {seen.process.pid}",),
            confidence="certain",
            tids=group.tids,
        )


def _in_the_kernel(thread: Thread) -> bool:
    return (
        thread.wait is not None
        and thread.wait.kind in {"disk", "file", "signal"}
        and bool(thread.python or thread.wait.kind == "disk")
    )
