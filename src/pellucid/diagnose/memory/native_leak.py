"""Memory grows that no Python object is known for: blocks of malloc that C code took, or mappings of its own.

What can be said of it from outside is where it lies and, of malloc's blocks, their sizes: a leak makes the same block again and again, so
that one size stands out.
"""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import (
    LEAST_COUNT,
    SHARE,
    certainty,
    evidence,
    grows,
    growth,
    imported,
    long,
    share,
    speed,
)
from pellucid.diagnose.sizes import size
from pellucid.model import Finding
from pellucid.model.memory import MemorySeen, SizeClass, Trend

_JVM = "java"


def native_memory_grows(seen: MemorySeen) -> Iterator[Finding]:
    private = seen.trend("private")
    if private is None or not grows(private) or seen.first is None or seen.last is None:
        return
    if grows(seen.trend("descriptors"), LEAST_COUNT) or grows(seen.trend("threads"), LEAST_COUNT):
        return  # their buffers and stacks are malloc's: `counts` names the cause
    if imported(seen):
        return  # `steady` says so
    native, whole = seen.trend("native"), growth(seen, "private")
    elsewhere = seen.last.part("other") - seen.first.part("other")
    in_malloc = native is not None and grows(native) and share(seen, "native") >= SHARE
    if not in_malloc and elsewhere < SHARE * whole:
        return
    pid = seen.process.pid
    if not seen.process.runtime and (not in_malloc or _unread(seen)):
        yield _of_another_heap(seen, private)
        return
    open_end, too_short = certainty(seen)
    python = (
        f", the Python objects by {size(max(0, seen.last.known_bytes - seen.first.known_bytes))}"
        if seen.process.runtime
        else ""
    )
    where = _blocks(seen) if in_malloc else _mappings(seen, elsewhere)
    line = native if in_malloc and native is not None else private
    yield Finding(
        rule="native-leak",
        severity="warning",
        title=f"native leak{open_end}: memory {'that Python does not know of ' if python else ''}grows by {speed(line)}",
        sentence=f"Private memory grew by {size(int(whole))} in {long(seen.span_s)}{python}. {where}{too_short}",
        evidence=(
            evidence(private, "RssAnon and VmSwap", pid),
            evidence(line, "blocks of malloc not known to Python", pid),
        ),
        next=_next(seen),
        confidence="possible" if open_end else "likely",
    )


def _unread(seen: MemorySeen) -> bool:
    """A Python is there that can't be read: its objects are among what is not known."""
    return any(gap.what == "Python's objects" for gap in seen.gaps)


def _of_another_heap(seen: MemorySeen, private: Trend) -> Finding:
    """A runtime takes its heap as it needs it: only what is left after collections says whether something leaks, and that it alone knows."""
    pid = seen.process.pid
    jvm = seen.process.name == _JVM
    whose = "the memory of its JVM" if jvm else "its private memory"
    return Finding(
        rule="growing",
        severity="notice",
        title=f"{whose} grows by {speed(private)}",
        sentence="Most of it is in the JVM's own mappings, the heap above all. Whether that leaks, only what full collections leave behind says."
        if jvm
        else "Most of it is where a runtime that can't be read here may keep its objects (V8, Go, Ruby, another Python): whether that leaks,"
        " only that runtime can say.",
        evidence=(evidence(private, "RssAnon and VmSwap", pid),),
        next=(f"pellucid gc {pid} --watch -d 60",) if jvm else (f"pellucid memory {pid} --watch 60",),
        confidence="certain",
    )


def _blocks(seen: MemorySeen) -> str:
    """The size of block that became more."""
    assert seen.first is not None
    assert seen.last is not None
    before = {one.size: one.count for one in seen.first.sizes}
    gained = [SizeClass(one.size, one.count - before.get(one.size, 0)) for one in seen.last.sizes]
    best = max(gained, key=lambda one: one.bytes, default=None)
    if best is None or best.count <= 0 or best.bytes < 1 << 18:
        return "The blocks are of many sizes."
    inside = best.size - 8  # what malloc gives for a request of that size, at most (malloc/malloc.c, request2size)
    return f"Blocks of malloc of up to {inside} bytes became {best.count:,} more, {size(best.bytes)}: C code that asks for such a block and does not free it."


def _mappings(seen: MemorySeen, elsewhere: int) -> str:
    detail = next((part.detail for part in seen.last.parts if part.kind == "other"), "") if seen.last else ""
    return f"{size(elsewhere)} of it are in mappings that are not malloc's" + (f" ({detail})." if detail else ".")


def _next(seen: MemorySeen) -> tuple[str, ...]:
    pid = seen.process.pid
    tools = ("memray attach --native " + str(pid),) if seen.process.runtime else ()
    return (*tools, f"pellucid memory {pid} --watch 60")
