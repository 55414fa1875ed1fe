"""Another process traces it (ptrace(2)) and lets it run: each call that is watched costs it a stop of 10 µs or more."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Finding, Ref, Snapshot


def is_being_traced(seen: Snapshot) -> Iterator[Finding]:
    tracer = seen.resources.tracer
    if tracer is None or seen.process.state == "traced":  # that it is held by its tracer is another finding
        return
    pid = seen.process.pid
    yield Finding(
        rule="tracer",
        severity="notice",
        title=f"pid {pid} is traced by {words.called(tracer)}",
        sentence=f"{words.called(tracer)} traces it by ptrace(2): it runs on, but may be stopped at each of its system calls, which makes it "
        f"slower; no second tracer or debugger can attach meanwhile.",
        evidence=(Ref(source=f"/proc/{pid}/status", said=f"TracerPid {tracer.pid}"),),
        next=(f"pellucid info {tracer.pid}",),
        confidence="certain",
    )
