"""The memory of Python objects grows: a heap leak, when it goes on.

The objects are known by the heads of CPython's pools, by what stands in large blocks of malloc, and by NumPy's arrays
(`observe/memory_map.py`). Growth of which most is theirs is held by references: who holds them is a question for the heap.
"""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import SHARE, certainty, evidence, grows, growth, imported, long, share, speed
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.memory import MemorySeen


def heap_grows(seen: MemorySeen) -> Iterator[Finding]:
    private, python = seen.trend("private"), seen.trend("python")
    if private is None or python is None or not grows(private) or not grows(python) or share(seen, "python") < SHARE:
        return
    if imported(seen):
        return  # `steady` says so
    pid = seen.process.pid
    open_end, too_short = certainty(seen)
    yield Finding(
        rule="heap-leak",
        severity="warning",
        title=f"heap leak{open_end}: its Python objects grow by {speed(python)}",
        sentence=f"Private memory grew by {size(int(growth(seen, 'private')))} in {long(seen.span_s)}, and {min(100, 100 * share(seen, 'python')):.0f} % of"
        f" that are Python objects{_which(seen)}.{_collections(seen)}{too_short}",
        evidence=(
            evidence(private, "RssAnon and VmSwap", pid),
            evidence(python, "pools, large objects and arrays", pid),
            *_coverage(seen),
        ),
        next=(
            f"pellucid heap {pid} --every 10",
            *(() if seen.span_s >= 60 else (f"pellucid memory {pid} --watch 60",)),
        ),
        confidence="possible" if open_end else "likely",
    )


def _which(seen: MemorySeen) -> str:
    if seen.first is None or seen.last is None:
        return ""
    parts = (
        ("python-small", "small objects"),
        ("python-large", "large objects, lists and dicts"),
        ("arrays", "NumPy arrays"),
    )
    gained = [(seen.last.part(kind) - seen.first.part(kind), words) for kind, words in parts]
    told = [f"{words} +{size(more)}" for more, words in sorted(gained, reverse=True) if more >= 1 << 20]
    return f" ({', '.join(told)})" if told else ""


def _collections(seen: MemorySeen) -> str:
    first, last = seen.samples[0].collections, seen.samples[-1].collections
    if not first or not last:
        return ""
    full = last[-1] - first[-1]
    if full > 0:
        return f" What grew survived {full} full collection{'' if full == 1 else 's'}."
    return " No full collection ran meanwhile: part of it may be cycles that wait for one."


def _coverage(seen: MemorySeen) -> tuple[Ref, ...]:
    if seen.last is None:
        return ()
    known, whole = seen.last.known_bytes, seen.last.rss_anon_bytes
    return (Ref(source=f"coverage of pid {seen.process.pid}", said=f"{size(known)} known of {size(whole)} RssAnon"),)
