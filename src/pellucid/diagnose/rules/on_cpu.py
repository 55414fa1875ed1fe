"""A thread runs: its CPU time grew by a quarter or more of the time between the looks. The samples taken between them say where."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, name
from pellucid.model import Finding, Ref, Snapshot, Thread

BUSY = 0.25
"""Of the time between the looks."""


def runs_on_cpu(seen: Snapshot) -> Iterator[Finding]:
    busy = sorted(
        (thread for thread in seen.threads if (thread.cpu_share or 0.0) >= BUSY),
        key=lambda thread: -(thread.cpu_share or 0.0),
    )
    for thread in busy[:3]:
        share = round(100 * min(thread.cpu_share or 0.0, 1.0))
        yield Finding(
            rule="on-cpu",
            severity="notice",
            title=f"{name(thread)} runs on a CPU ({share} %)",
            sentence=f"{name(thread)} used {share} % of a CPU in the {words.duration(seen.span_s)} between the looks{at(thread)}.{_where(thread)}",
            evidence=(
                Ref(
                    source=f"/proc/{seen.process.pid}/task/{thread.tid}/schedstat",
                    said=f"{share} % of {words.duration(seen.span_s)} on a CPU",
                ),
                *((Ref(source=f"stack of {thread.name}", said=words.path(thread.frames)),) if thread.frames else ()),
            ),
            next=(f"pellucid stacks {seen.process.pid}",),
            confidence="certain",
            tids=(thread.tid,),
        )
    if len(busy) > 3:
        yield Finding(
            rule="on-cpu",
            severity="notice",
            title=f"{len(busy) - 3} more threads run on CPUs",
            sentence=f"{', '.join(name(thread) for thread in busy[3:8])}{' and others' if len(busy) > 8 else ''} run too.",
            evidence=(
                Ref(
                    source=f"/proc/{seen.process.pid}/task/*/schedstat",
                    said=f"{len(busy)} threads above {round(100 * BUSY)} %",
                ),
            ),
            next=(f"pellucid stacks {seen.process.pid}",),
            confidence="certain",
            tids=tuple(thread.tid for thread in busy[3:]),
        )


def _where(thread: Thread) -> str:
    if not thread.seen or not thread.samples:
        return ""
    top = thread.seen[0]
    return f" In {top.times} of {thread.samples} samples it was in {top.frame}."
