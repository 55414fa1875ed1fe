"""The screen of `pellucid memory`: the category in words, what of the memory is known, the table, the group, the children."""

import sys
import time

from pellucid.model.cgroup import MemoryGroup
from pellucid.model.memory import ChildMemory, MemoryMap, MemoryReport, MemorySample, MemorySeen
from pellucid.present.cli import plain, screen

_CHILDREN = 5
_LEAST_KNOWN = 0.6


def show(pid: int, seconds: float | None, *, as_json: bool, evidence: bool) -> None:
    """Look, judge, print. Raises LookErrors."""
    from pellucid.observe.memory import watch

    made = report(watch(pid, seconds, progress=_progress if seconds is not None and sys.stderr.isatty() else _silent))
    if seconds is not None and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # the line of progress goes (ECMA-48, EL)
    if as_json:
        plain.emit(made)
    else:
        tell(made, evidence=evidence)


def _silent(_: MemorySample) -> None:
    """Where nobody watches."""


def _progress(sample: MemorySample) -> None:
    """One line that is written over, while a person waits."""
    private = (sample.rss_anon_bytes + sample.swap_bytes) / 1048576
    print(
        f"\r{sample.at_s:.0f} s: {private:.1f} MiB private memory (Ctrl-C ends it)", end="", file=sys.stderr, flush=True
    )


def report(seen: MemorySeen) -> MemoryReport:
    """The document behind the screen."""
    from pellucid.diagnose.memory import judge

    seen, findings = judge(seen)
    last = seen.last
    return MemoryReport(
        process=seen.process,
        taken_at=time.time(),
        gaps=seen.gaps,
        category=findings[0].rule if findings else "steady",
        known_bytes=last.known_bytes if last else 0,
        rss_anon_bytes=last.rss_anon_bytes if last else seen.samples[-1].rss_anon_bytes if seen.samples else 0,
        findings=findings,
        table=last,
        before=seen.first,
        trends=seen.trends,
        samples=seen.samples,
        groups=seen.groups,
        children=seen.children,
    )


def tell(made: MemoryReport, *, evidence: bool) -> None:
    """The screen."""
    from pellucid.diagnose import words

    process = made.process
    assert process is not None
    runtime = f" · {process.runtime}" if process.runtime else ""
    span = made.samples[-1].at_s if made.samples else 0.0
    screen.say(
        screen.printable(f"pid {process.pid} {words.command(process, 70)}{runtime} · {span:.1f} s looked"), bold=True
    )
    screen.findings(made.findings, evidence=evidence)
    if made.table is not None:
        screen.say()
        screen.say(_known(made.table, runtime=bool(process.runtime)))
        _table(made.table, made.before)
        screen.say(_beside(made), dim=True)
        slopes = _slopes(made)
        if slopes:
            screen.say(slopes)
    for line in _groups(made.groups):
        screen.say(screen.printable(line))
    for line in _children(made.children):
        screen.say(screen.printable(line))
    for line in screen.gaps(made.gaps):
        screen.say(line, dim=True)


def _known(table: MemoryMap, *, runtime: bool) -> str:
    """What the numbers of Python's objects stand for, before anything is told by them."""
    from pellucid.diagnose.sizes import size

    if not runtime:
        return f"private memory (RssAnon): {size(table.rss_anon_bytes)}"
    part = table.known_bytes / max(1, table.rss_anon_bytes)
    line = f"known as Python's objects: {size(table.known_bytes)} of {size(table.rss_anon_bytes)} private memory (RssAnon), {100 * part:.0f} %"
    return line + ("" if part >= _LEAST_KNOWN else ": a histogram of its objects would not explain it")


def _table(table: MemoryMap, before: MemoryMap | None) -> None:
    from pellucid.diagnose.sizes import size

    earlier = {part.kind: part.resident_bytes for part in before.parts} if before is not None else {}
    rows = []
    for part in table.parts:
        change = part.resident_bytes - earlier.get(part.kind, 0)
        moved = "" if before is None or abs(change) < 1 << 16 else f"{'+' if change > 0 else '-'}{size(abs(change))}"
        share = f"{100 * part.resident_bytes / max(1, table.rss_anon_bytes):.0f} %" if part.anonymous else ""
        count = f"{part.count:,}" if part.count else ""
        rows.append((part.what, size(part.resident_bytes), share, moved, count, part.detail))
    screen.table(("WHERE", "IN MEMORY", "SHARE", "CHANGE", "COUNT", ""), rows, right=frozenset({1, 2, 3, 4}))


def _beside(made: MemoryReport) -> str:
    """What is not in the table, and what the look has cost."""
    from pellucid.diagnose.sizes import size

    last = made.samples[-1]
    assert made.table is not None
    parts = [f"in swap {size(last.swap_bytes)}"] if last.swap_bytes else []
    own = made.table.pss_anon_bytes
    if own is not None and made.table.rss_anon_bytes - own > max(1 << 20, made.table.rss_anon_bytes // 10):
        parts.append(
            f"of the private memory {size(made.table.rss_anon_bytes - own)} are charged to others, which share it since a fork; to look at it leaves it shared"
        )
    parts.append(f"{last.threads} thread{'' if last.threads == 1 else 's'}")
    if last.descriptors is not None:
        parts.append(f"{last.descriptors} descriptors")
    if last.mappings is not None:
        parts.append(f"{last.mappings} mappings")
    parts.append(f"{len(made.samples)} samples, the table took {1000 * made.table.cost_s:.0f} ms")
    return " · ".join(parts)


def _slopes(made: MemoryReport) -> str:
    """The lines that were fitted, with their errors, after a look that was long enough to have some."""
    from pellucid.diagnose.memory.growth import speed

    wanted = {
        "private": "private",
        "python": "Python objects",
        "native": "native",
        "free": "free in the allocators",
        "files": "mapped files",
        "shared": "shared",
        "descriptors": "descriptors",
        "threads": "threads",
    }
    told = [
        f"{words} {speed(line)}{' (levelled off)' if line.levelled and line.grown >= 1 << 20 else ''}"
        for name, words in wanted.items()
        if (line := next((one for one in made.trends if one.name == name), None)) is not None
        and (name == "private" or abs(line.per_s) > 2 * line.error_per_s > 0)
    ]
    return f"slopes: {' · '.join(told)}" if told else ""


def _groups(groups: tuple[MemoryGroup, ...]) -> list[str]:
    """Its own group, and that above it with the least room."""
    from pellucid.diagnose.sizes import size

    limited = [group for group in groups if group.limit_bytes is not None]
    told = dict.fromkeys(
        [*groups[:1], *sorted(limited, key=lambda one: (one.limit_bytes or 0) - one.current_bytes)[:1]]
    )
    lines = []
    for group in told:
        limit = f" of {size(group.limit_bytes)}" if group.limit_bytes is not None else ", no limit"
        cache = f", {size(group.file_bytes)} of it page cache" if group.file_bytes else ""
        kills = f", {group.kills} killed in it" if group.kills else ""
        lines.append(f"cgroup {group.path} (v{group.version}): {size(group.current_bytes)}{limit}{cache}{kills}")
    return lines


def _children(children: tuple[ChildMemory, ...]) -> list[str]:
    from pellucid.diagnose.sizes import size

    if not children:
        return []
    shares = [child.pss_bytes for child in children if child.pss_bytes is not None]
    total = (
        f": {size(sum(shares))} together, shared pages counted in parts (Pss)" if len(shares) == len(children) else ""
    )
    lines = [f"{len(children)} descendant{'' if len(children) == 1 else 's'}{total}"]
    for child in children[:_CHILDREN]:
        own = f", {size(child.pss_bytes)} in its share" if child.pss_bytes is not None else ""
        lines.append(
            f"  pid {child.pid} {child.name}: {size(child.rss_bytes)} resident, {size(child.rss_anon_bytes)} of it private{own}"
        )
    if len(children) > _CHILDREN:
        lines.append(f"  and {len(children) - _CHILDREN} more (--json lists them)")
    return lines
