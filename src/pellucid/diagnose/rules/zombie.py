"""The process has ended, and its parent has not collected it (proc_pid_stat(5), state Z): a zombie can't be helped, its parent can."""

from collections.abc import Iterator

from pellucid.model import Finding, Ref, Snapshot


def is_a_zombie(seen: Snapshot) -> Iterator[Finding]:
    process = seen.process
    if process.state != "zombie":
        return
    yield Finding(
        rule="zombie",
        severity="warning",
        title=f"pid {process.pid} ({process.name}) is a zombie",
        sentence=f"It has ended and waits for its parent, pid {process.ppid}, to collect it by wait(2). It uses no memory and can't be "
        f"killed; it goes when its parent collects it or ends.",
        evidence=(Ref(source=f"/proc/{process.pid}/stat", said=f"state Z, parent {process.ppid}"),),
        next=(f"pellucid why {process.ppid}",),
        confidence="certain",
    )
