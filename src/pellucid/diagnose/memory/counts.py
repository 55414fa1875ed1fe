"""Descriptors, threads or mappings become more: memory is only a side effect, and another limit is met first."""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import LEAST_COUNT, certainty, evidence, grows, long, speed
from pellucid.diagnose.sizes import size
from pellucid.model import Finding
from pellucid.model.memory import MemorySeen

_WORDS = {
    "descriptors": ("descriptor leak", "open descriptors", "ulimit -n"),
    "threads": ("thread leak", "threads", "the pids limit of its cgroup and ulimit -u"),
    "mappings": ("mapping leak", "mappings", "vm.max_map_count"),
}


def leaks_descriptors_threads_or_mappings(seen: MemorySeen) -> Iterator[Finding]:
    pid = seen.process.pid
    threads = grows(seen.trend("threads"), LEAST_COUNT)
    for name, (category, words, limit) in _WORDS.items():
        line = seen.trend(name)
        if line is None or not grows(line, LEAST_COUNT):
            continue
        if name == "mappings" and (threads or grows(seen.trend("private")) or seen.last is None):
            continue  # a stack has two mappings, and a heap that grows has more and more
        open_end, too_short = certainty(seen)
        yield Finding(
            rule=category.replace(" ", "-"),
            severity="warning",
            title=f"{category}{open_end}: {line.last:.0f} {words}, {line.grown:.0f} more in {long(line.span_s)}",
            sentence=f"They grow by {speed(line)}; the limit that will be met is {limit}. Memory grows only with them{_stacks(seen, name)}.{too_short}",
            evidence=(evidence(line, words, pid),),
            next=_next(pid, name),
            confidence="possible" if open_end else "likely",
        )


def _stacks(seen: MemorySeen, name: str) -> str:
    stacks = seen.last.part("stacks") if seen.last and name == "threads" else 0
    return f" ({size(stacks)} of stacks were touched)" if stacks else ""


def _next(pid: int, name: str) -> tuple[str, ...]:
    return {
        "descriptors": (f"pellucid files --leaks {pid}",),
        "threads": (f"pellucid stacks {pid}",),
        "mappings": (f"pellucid syscalls {pid} -d 5",),
    }[name]
