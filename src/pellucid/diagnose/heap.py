"""The heap in sentences: who holds what, how it is held, whether it grows, and how sure that is.

One look can tell who holds most, and never whether it grows. Two can tell that it grew, and not that it will go on: a cache that fills up
looks the same as a leak. Only a third look, one interval later, tells them apart: what grew in both, and no slower in the second, is called
a leak, and even that as likely.
"""

from collections.abc import Iterator
from typing import Protocol

from msgspec.structs import replace

from pellucid.diagnose.heap_holders import known, weak
from pellucid.diagnose.sizes import size
from pellucid.diagnose.words import duration
from pellucid.model import Gap, Process
from pellucid.model.heap import (
    ENOUGH,
    Census,
    HeapDiffReport,
    HeapReport,
    Hold,
    Note,
    Seen,
    Suspect,
    TypeGrowth,
)

MANY = 1000
"""Objects below one holder from which on they are worth a sentence."""

LARGE_SHARE = 0.1
"""The part of the heap that a single object has to be, to be told of."""

_WASTE_SHARE = 0.02
_EXPLAINED = 0.6  # of what came
_LEAST_BYTES = 1 << 20
_IMPORTED = frozenset(
    {"function", "type", "code", "module", "getset_descriptor", "wrapper_descriptor", "method_descriptor"}
)
_MODULE_STEPS = frozenset({"module", "class", "function"})


class Looked(Protocol):
    """What was observed: see `observe.heap_look.HeapSeen`."""

    @property
    def process(self) -> Process | None: ...
    @property
    def census(self) -> Census: ...
    @property
    def suspects(self) -> tuple[Suspect, ...]: ...
    @property
    def notes(self) -> tuple[Note, ...]: ...
    @property
    def steps(self) -> dict[str, float]: ...
    @property
    def edges(self) -> int: ...


class Compared(Protocol):
    """Several looks: see `observe.heap_series.Series`."""

    @property
    def process(self) -> Process | None: ...
    @property
    def censuses(self) -> tuple[Census, ...]: ...
    @property
    def types(self) -> tuple[TypeGrowth, ...]: ...
    @property
    def suspects(self) -> tuple[Suspect, ...]: ...
    @property
    def gaps(self) -> tuple[Gap, ...]: ...


def report(looked: Looked) -> HeapReport:
    """The document of `pellucid heap --json`."""
    census = looked.census
    told = tuple(replace(one, sentence=holds(one)) for one in looked.suspects if _worth(one))
    notes = tuple(replace(note, sentence=noted(note, census)) for note in looked.notes if _notable(note, census))
    return HeapReport(
        process=looked.process,
        taken_at=census.taken_at,
        gaps=census.gaps,
        types=census.types,
        total_bytes=census.total_bytes,
        coverage=census.coverage,
        suspects=told,
        notes=notes,
        census=census,
        edges=looked.edges,
        steps=looked.steps,
    )


def counted(process: Process | None, census: Census) -> HeapReport:
    """The same where types were counted and nothing else."""
    return HeapReport(
        process=process,
        taken_at=census.taken_at,
        gaps=census.gaps,
        types=census.types,
        total_bytes=census.total_bytes,
        coverage=census.coverage,
        suspects=(),
        notes=(),
        census=census,
        edges=0,
        steps={"counted in pieces": census.seconds},
    )


def compare(compared: Compared) -> HeapDiffReport:
    """The document of `pellucid heap diff --json` and `heap PID --every --json`."""
    first, last = compared.censuses[0], compared.censuses[-1]
    several = len(compared.censuses) > 2
    told = [one for one in compared.suspects if _grows(one) and (one.steady or not several)]
    told.sort(key=weak)  # who holds the objects comes before who only refers to them
    return HeapDiffReport(
        process=compared.process,
        taken_at=last.taken_at,
        gaps=compared.gaps,
        types=compared.types,
        total_bytes=last.total_bytes,
        grown_bytes=last.total_bytes + last.attribute_bytes - first.total_bytes - first.attribute_bytes,
        grown_private_bytes=last.anonymous_bytes - first.anonymous_bytes,
        coverage=last.coverage,
        span_s=last.taken_at - first.taken_at,
        looks=tuple(
            Seen(one.taken_at, one.total_bytes + one.attribute_bytes, one.objects, one.paused_s)
            for one in compared.censuses
        ),
        suspects=tuple(replace(one, sentence=grows(one, several=several)) for one in told),
    )


def _worth(suspect: Suspect) -> bool:
    """Worth a sentence in a single look: many objects of one kind, and not what a program is made of."""
    return suspect.held_count >= MANY and suspect.held_type not in _IMPORTED and not _of_module(suspect)


def _of_module(suspect: Suspect) -> bool:
    """It is the namespace of a module or of a class: it grows when something is imported."""
    return bool(suspect.holder) and suspect.holder[-1].how in _MODULE_STEPS


def _grows(suspect: Suspect) -> bool:
    """Not by an import, not within a bound that somebody set."""
    return (
        (suspect.grown_count or 0) > 0
        and suspect.held_type not in _IMPORTED
        and not _of_module(suspect)
        and suspect.limit is None
    )


def way(holder: tuple[Hold, ...], holder_type: str) -> str:
    """`class Registry → _cache (dict)`, `module shop → sessions (list)`, `lru_cache of load`, `closure of make.<locals>.f: seen (list)`."""
    if not holder:
        return f"a {holder_type} that only C code or a running call holds" if holder_type else "nothing that has a name"
    steps = [word for number, hold in enumerate(holder) for word in _step(hold, last=number == len(holder) - 1)]
    if len(steps) > 6:
        steps = [*steps[:3], "…", *steps[-2:]]
    return " → ".join(steps)


def _step(hold: Hold, *, last: bool) -> Iterator[str]:
    kind = f" ({hold.type})" if hold.type and hold.type != "type" else ""
    match hold.how:
        case "module":
            yield f"module {hold.name}"
        case "class" | "function":
            yield f"{hold.how} {hold.name}"
        case "lru_cache":
            yield f"lru_cache of {hold.name}" if hold.name else "an lru_cache"
        case "closure":
            yield f"closure of {hold.where}: {hold.name}{kind}"
        case "default":
            yield f"default argument of {hold.where}{kind}"
        case "local":
            yield f"local {hold.name} of {hold.where}{kind}"
        case "key":
            yield (f"[{hold.name}]" if hold.name else f"[a {hold.where or 'key'}]") + kind
        case "item":
            yield (f"[{hold.name}]" if hold.name else "an item") + kind
        case "outside":
            yield f"a {hold.type} that only C code or a running call holds"
        case _:
            if hold.name:
                yield f"{hold.name}{kind}"
            elif last or hold.type not in ("dict", "tuple", "cell"):
                yield hold.type


def holds(suspect: Suspect) -> str:
    """`class Registry → _cache (dict) → 50,000 Session retains 94 % (33 MB), keys are str; a class attribute: one for all instances`"""
    return f"{_head(suspect)}{_tail(suspect)}"


def grows(suspect: Suspect, *, several: bool) -> str:
    """The same with its growth, and whether that is enough to call it a leak."""
    rate = f" ({suspect.per_s:+,.0f}/s)" if suspect.per_s is not None and abs(suspect.per_s) >= 1 else ""
    grown = f", {suspect.grown_count or 0:+,}{rate} and {_signed(suspect.grown_bytes or 0)}"
    if weak(suspect):
        sure = ""
    elif several:
        sure = "; it grew in each interval: likely a leak" if suspect.steady else ""
    else:
        sure = "; two looks can't tell a leak from a cache that fills up"
    return f"{_head(suspect)}{grown}{_tail(suspect)}{sure}"


def _head(suspect: Suspect) -> str:
    held = f"{suspect.held_count:,} {suspect.held_type}"
    return f"{way(suspect.holder, suspect.holder_type)} → {held} retains {suspect.share:.0%} ({size(suspect.retained_bytes)})"


def _tail(suspect: Suspect) -> str:
    keys = f", keys are {suspect.keys}" if suspect.keys else ""
    named = known(suspect)
    if named is None:
        return keys
    what, remedy = named
    return f"{keys}; {what}" + (f": {remedy}" if remedy else "")


def _signed(number: int) -> str:
    return f"{'+' if number >= 0 else '−'}{size(abs(number))}"


def _notable(note: Note, census: Census) -> bool:
    total = max(census.total_bytes, 1)
    if note.kind == "large":
        return note.bytes >= LARGE_SHARE * total and note.bytes >= _LEAST_BYTES
    if note.kind == "type":
        return True
    if note.kind in ("uncollectable", "outside"):
        return note.count > 0
    return note.bytes >= _WASTE_SHARE * total and note.bytes >= _LEAST_BYTES


def noted(note: Note, census: Census) -> str:
    """What else was seen, as a sentence."""
    share = f"{note.bytes / max(census.total_bytes, 1):.0%}"
    match note.kind:
        case "large":
            held = way(note.holder, note.type)
            return f"one {note.type} has {size(note.bytes)}, {share} of all: {held}"
        case "type":
            if not note.count:
                return f"there is no object of a type {note.type}"
            return f"{note.count:,} {note.type} {note.detail}: {way(note.holder, note.type)} (they retain {size(note.bytes)})"
        case "equal-strings":
            return f"{note.count:,} strings are there more than once, {size(note.bytes)} too many; {note.detail}: sys.intern() keeps one"
        case "empty":
            return f"{note.count:,} {note.type} objects are empty ({note.detail}), {size(note.bytes)}"
        case "unreachable":
            return f"{note.count:,} objects ({size(note.bytes)}, mostly {note.type}) are cycles that wait for the collector: pellucid gc tells how often it runs"
        case "uncollectable":
            lie = "1 object lies" if note.count == 1 else f"{note.count:,} objects lie"
            return f"{lie} in gc.garbage ({note.type}, ...): what the collector could not free, or was told to keep"
        case "outside":
            return (
                f"{note.count:,} {note.type} {note.detail} have more references than the heap has to them ({size(note.bytes)}): an extension "
                "module that forgets to drop its own is possible"
            )
    return note.detail


def coverage(census: Census) -> str:
    """First of all: how much of the memory of the process the histogram explains."""
    known_bytes = census.total_bytes + census.attribute_bytes
    if not census.anonymous_bytes:
        return f"{census.objects:,} objects, {size(known_bytes)}"
    told = f"{census.objects:,} objects, {size(known_bytes)}: {census.coverage:.0%} of its private memory ({size(census.anonymous_bytes)} RssAnon)"
    if census.coverage < ENOUGH:
        told += f"; the other {1 - census.coverage:.0%} are in no Python object, so that this is not the whole answer: pellucid memory tells where they are"
    return told


def span(report_: HeapDiffReport) -> str:
    """`in 41 s from 88 MB to 121 MB (+33 MB)`."""
    first, last = report_.looks[0], report_.looks[-1]
    return (
        f"in {duration(report_.span_s)} from {size(first.total_bytes)} in {first.objects:,} objects to {size(last.total_bytes)} in "
        f"{last.objects:,} ({_signed(report_.grown_bytes)})"
    )


def elsewhere(report_: HeapDiffReport) -> str:
    """Where memory grew that no Python object has: what to ask then. "" where the objects explain it."""
    grown, python = report_.grown_private_bytes, report_.grown_bytes
    if grown < _LEAST_BYTES or python >= _EXPLAINED * grown:
        return ""
    pid = report_.process.pid if report_.process else "PID"
    return (
        f"its private memory grew by {size(grown)} meanwhile, and Python objects are only {size(max(python, 0))} of that: "
        f"pellucid memory {pid} --watch 60 tells where the rest is"
    )
