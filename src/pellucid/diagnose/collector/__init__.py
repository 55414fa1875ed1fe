"""What the record of Python's collector says, in sentences: pure functions from `GcSeen` to findings."""

from collections.abc import Iterator

from pellucid.diagnose.oom.linux import times
from pellucid.diagnose.trend import fit
from pellucid.model import CONFIDENCES, SEVERITIES, Finding, Ref
from pellucid.model.gc import Collections, Collector, GcSeen

BUSY, VERY_BUSY = 0.10, 0.30
MANY_FROZEN = 5_000
"""3.12 freezes some hundred objects itself at start."""
_FLOORS = 3
LONG_S = 10.0
"""Before, growth may as well be a warm-up."""


def explain(seen: GcSeen) -> tuple[Finding, ...]:
    """Worst first."""
    rules = (takes_time, is_disabled, left_garbage, floor_rises, has_frozen)
    found = [finding for rule in rules for finding in rule(seen)]
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), CONFIDENCES.index(one.confidence))))


def within(seen: GcSeen) -> tuple[Collections, ...]:
    """What the main interpreter's collector did between the two records."""
    return tuple(
        Collections(
            name=after.name,
            count=after.collections - before.collections,
            time_s=after.time_s - before.time_s if after.time_s is not None and before.time_s is not None else None,
            collected=after.collected - before.collected,
        )
        for before, after in zip(seen.first[0].generations, seen.last[0].generations, strict=True)
    )


def takes_time(seen: GcSeen) -> Iterator[Finding]:
    """A good part of the time is spent in collections."""
    if seen.share - 2 * seen.share_error < BUSY / 2 or seen.share < BUSY:
        return
    done = within(seen)
    full = done[-1]
    survivors = seen.last[0].long_lived or seen.last[0].heap_objects or 0
    freed = sum(one.collected for one in done)
    why = (
        f" {times(full.count, 'full collection', 'full collections')} walked all of some {survivors:,} objects each time."
        if full.count and survivors
        else ""
    )
    yield Finding(
        rule="gc-time",
        severity="warning" if seen.share >= VERY_BUSY else "notice",
        title=f"the garbage collector runs for {100 * seen.share:.0f} % of the time",
        sentence=f"{', '.join(f'{one.count} of {one.name}' for one in done)} in {seen.seconds:.1f} s, which freed {freed:,} objects.{why}"
        " Only one thread runs meanwhile: all others wait. gc.freeze() after the start takes what stays out of the search, a higher"
        " threshold (gc.set_threshold) makes it rarer; fewer cycles make it needless.",
        evidence=(
            Ref(source=f"collector of pid {seen.pid}", said=f"{seen.share_by}, ± {100 * seen.share_error:.1f} %"),
        ),
        next=(f"pellucid gc {seen.pid} --watch 30", f"pellucid stacks {seen.pid}"),
        confidence="certain" if seen.share_error < seen.share / 3 else "likely",
    )


def is_disabled(seen: GcSeen) -> Iterator[Finding]:
    """gc.disable(), or a threshold of 0: cycles are never freed unless the program collects itself."""
    for one in seen.last:
        off = not one.enabled or one.generations[0].threshold == 0
        if not off or any(done.count for done in within(seen)):
            continue
        how = "gc.disable()" if not one.enabled else "gc.set_threshold(0)"
        waiting = max(0, one.generations[0].count)
        yield Finding(
            rule="gc-disabled",
            severity="notice",
            title=f"automatic garbage collection is off ({how}){_of(one, seen)}",
            sentence=f"Objects in reference cycles stay for ever unless the program calls gc.collect(); {waiting:,} tracked objects came"
            " since the last collection. Some programs want this (a batch job, a server that forks); memory that grows then"
            " need not be a leak of references.",
            evidence=(
                Ref(
                    source=f"collector of pid {seen.pid}",
                    said=f"enabled {one.enabled}, threshold {one.generations[0].threshold}",
                ),
            ),
            next=(f"pellucid memory {seen.pid} --watch 60",),
            confidence="certain",
        )


def left_garbage(seen: GcSeen) -> Iterator[Finding]:
    """gc.garbage is not empty."""
    for one in seen.last:
        if not one.garbage:
            continue
        kept = "SAVEALL" in one.debug
        yield Finding(
            rule="gc-garbage",
            severity="notice" if kept else "warning",
            title=f"{one.garbage:,} objects lie in gc.garbage{_of(one, seen)}",
            sentence="gc.DEBUG_SAVEALL is set: everything that would be freed is kept there, so memory grows until it is unset."
            if kept
            else "They were found unreachable and could not be freed (a C type whose tp_clear does not break its cycles), or the program"
            " put them there. They stay for ever.",
            evidence=(
                Ref(
                    source=f"collector of pid {seen.pid}",
                    said=f"len(gc.garbage) {one.garbage}, uncollectable {sum(each.uncollectable for each in one.generations)}, debug {'|'.join(one.debug) or 0}",
                ),
            ),
            next=(f"pellucid heap {seen.pid}",),
            confidence="certain",
        )


def floor_rises(seen: GcSeen) -> Iterator[Finding]:
    """What survives full collections grows from one to the next: the sign of a leak of references."""
    floors: dict[int, tuple[float, int]] = {}
    for sample in seen.samples:
        if sample.long_lived is not None:
            floors[sample.collections[-1]] = (sample.at_s, sample.long_lived)
    points = [floors[number] for number in sorted(floors)][1:]  # the first is from before the look
    if len(points) < _FLOORS:
        return
    line = fit("survivors", [(at, float(count)) for at, count in points])
    if line is None or line.levelled or line.per_s <= 3 * line.error_per_s or line.grown < 0.02 * line.first:
        return
    yield Finding(
        rule="gc-floor",
        severity="warning",
        title=f"more objects survive each full collection: {line.per_s:,.0f} a second",
        sentence=f"After {len(points)} full collections in {line.span_s:.1f} s the survivors went from {line.first:,.0f} to"
        f" {line.last:,.0f} (± {line.error_per_s:,.0f} a second): what is reachable grows. A leak, or a warm-up that is not over.",
        evidence=(Ref(source=f"collector of pid {seen.pid}", said="long_lived_total after each full collection"),),
        next=(f"pellucid memory {seen.pid} --watch 60", f"pellucid heap {seen.pid} --every 10"),
        confidence="likely" if line.span_s >= LONG_S else "possible",
    )


def has_frozen(seen: GcSeen) -> Iterator[Finding]:
    """gc.freeze() was called."""
    for one in seen.first:
        if one.frozen >= MANY_FROZEN:
            more = "" if one.frozen_all else "more than "
            yield Finding(
                rule="gc-frozen",
                severity="info",
                title=f"{more}{one.frozen:,} objects are frozen (gc.freeze){_of(one, seen)}",
                sentence="They are left out of every collection: cheaper, and after a fork their pages stay shared. Cycles among them"
                " are never freed.",
                evidence=(
                    Ref(source=f"collector of pid {seen.pid}", said=f"permanent generation: {more}{one.frozen}"),
                ),
                next=(),
                confidence="certain",
            )


def _of(one: Collector, seen: GcSeen) -> str:
    return f" in interpreter {one.interpreter}" if len(seen.last) > 1 else ""
