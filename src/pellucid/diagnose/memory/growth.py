"""Lines through the samples, and when a line is called growth."""

from collections.abc import Callable

from pellucid.diagnose.sizes import size
from pellucid.diagnose.trend import fit
from pellucid.diagnose.words import duration
from pellucid.model import Ref
from pellucid.model.memory import MemorySample, MemorySeen, Trend

LEAST_BYTES = 1 << 20
LEAST_SHARE = 0.005
LEAST_COUNT = 8
"""Descriptors, threads or mappings."""
LONG_S = 10.0
"""From so long a look on, growth that goes on is called likely a leak."""
SHARE = 0.6
"""So much of the growth of private memory has to be of one kind to name it."""

LEAST_MODULES = 5
MODULE_BYTES = 1 << 19
"""More than a module costs on the average, with the libraries that it brings (measured on pandas and scikit-learn: some 100 kB)."""

_NUMBERS: dict[str, Callable[[MemorySample], int | None]] = {
    "private": lambda sample: sample.rss_anon_bytes + sample.swap_bytes,
    "python": lambda sample: sample.known_bytes,
    "native": lambda sample: sample.native_bytes,
    "free": lambda sample: sample.free_bytes,
    "arrays": lambda sample: sample.array_bytes,
    "files": lambda sample: sample.rss_file_bytes,
    "shared": lambda sample: sample.rss_shmem_bytes,
    "swap": lambda sample: sample.swap_bytes,
    "virtual": lambda sample: sample.virtual_bytes,
    "threads": lambda sample: sample.threads,
    "descriptors": lambda sample: sample.descriptors,
    "mappings": lambda sample: sample.mappings,
}
COUNTS = frozenset({"threads", "descriptors", "mappings"})


def lines(seen: MemorySeen) -> tuple[Trend, ...]:
    """One for each number that was read three times or more."""
    found = []
    for name, of in _NUMBERS.items():
        points = [(sample.at_s, float(value)) for sample in seen.samples if (value := of(sample)) is not None]
        line = fit(name, points)
        if line is not None:
            found.append(line)
    return tuple(found)


def grows(line: Trend | None, least: float = LEAST_BYTES) -> bool:
    """It rises by more than a little, more than its error allows for, and goes on to the end of the look."""
    if line is None or line.levelled or line.grown < max(least, LEAST_SHARE * line.first):
        return False
    return line.per_s > 3 * line.error_per_s


def share(seen: MemorySeen, name: str) -> float:
    """Which part of the growth of private memory the number `name` has; by what was gained from the first to the last table."""
    whole = growth(seen, "private")
    own = seen.trend(name)
    return own.grown / whole if own is not None and whole > 0 else 0.0


def growth(seen: MemorySeen, name: str) -> float:
    """What was gained between the first and the last table, for shares that compare the same moments."""
    if name != "private" or seen.first is None or seen.last is None:
        line = seen.trend(name)
        return line.grown if line is not None else 0.0
    return float(seen.last.rss_anon_bytes - seen.first.rss_anon_bytes)


def speed(line: Trend) -> str:
    """`7.3 ± 0.2 MiB a second`"""
    rate, error = line.per_s, line.error_per_s
    if line.name in COUNTS:
        return _spelled(rate, error)
    if rate < 1 << 12:
        return f"{rate * 3600 / 1048576:.2f} ± {error * 3600 / 1048576:.2f} MiB an hour"
    if rate < 1 << 16:
        return f"{rate * 60 / 1048576:.2f} ± {error * 60 / 1048576:.2f} MiB a minute"
    return f"{rate / 1048576:.1f} ± {error / 1048576:.1f} MiB a second"


def _spelled(rate: float, error: float) -> str:
    """In the unit that makes it at least one, if there is one."""
    for unit, seconds in (("second", 1), ("minute", 60), ("hour", 3600)):
        if rate * seconds >= 0.95 or unit == "hour":
            break
    return f"{rate * seconds:.1f} ± {error * seconds:.1f} {'an' if unit == 'hour' else 'a'} {unit}"


def long(seconds: float) -> str:
    """`12.3 s`, `2 h 5 min`."""
    return f"{seconds:.1f} s" if seconds < 600 else duration(seconds)


def evidence(line: Trend, what: str, pid: int) -> Ref:
    """The line in numbers."""
    told = (
        (f"{line.first:.0f} → {line.last:.0f}")
        if line.name in COUNTS
        else f"{size(int(line.first))} → {size(int(line.last))}"
    )
    return Ref(
        source=f"{what} of pid {pid}",
        said=f"{told} in {long(line.span_s)}, {line.samples} samples, slope {speed(line)}",
    )


def certainty(seen: MemorySeen) -> tuple[str, str]:
    """(what stands before the category, what a short look leaves open)"""
    if seen.span_s >= LONG_S:
        return "", ""
    return ", if it goes on", f" {seen.span_s:.0f} s are too short to tell a leak from a warm-up."


def imported(seen: MemorySeen) -> int:
    """How many modules were imported while it was looked at, where that explains the growth; else 0. An import ends, and is no leak."""
    told = [sample.modules for sample in seen.samples if sample.modules is not None]
    more = told[-1] - told[0] if told else 0
    return more if more >= LEAST_MODULES and growth(seen, "private") <= more * MODULE_BYTES else 0
