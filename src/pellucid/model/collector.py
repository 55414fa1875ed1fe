"""What a garbage collector has: generations made of spaces, and how often each of its collectors ran. Sizes are bytes."""

from msgspec import Struct


class Space(Struct, frozen=True):
    """One part of a generation: eden, a survivor space, the old space. `limit`: what it may grow to, None where it is not known."""

    name: str
    used: int
    capacity: int
    limit: int | None = None


class Generation(Struct, frozen=True):
    """`name`: young, old, permanent (until JDK 7); heap where there is only one. `used` and `capacity` are the sums over `spaces`; `limit` is what the whole may grow to (with G1 that is all of the heap)."""

    name: str
    used: int
    capacity: int
    spaces: tuple[Space, ...]
    limit: int | None = None


class Collections(Struct, frozen=True):
    """How often a collector ran since the start, and how many seconds that took. `kind`: young, full, or concurrent (its pauses)."""

    name: str
    count: int
    time_s: float
    kind: str = "young"


class Metaspace(Struct, frozen=True):
    """Where classes live, outside of the heap. `class_used` is the compressed class space, a part of it with a limit of its own."""

    used: int
    capacity: int
    limit: int | None = None
    class_used: int = 0
    class_capacity: int = 0
    class_limit: int | None = None


class Safepoints(Struct, frozen=True):
    """How often all threads were stopped, for how long together, and how long it took until they had stopped (seconds)."""

    count: int
    time_s: float
    reaching_s: float


class Collector(Struct, frozen=True, kw_only=True):
    """The collector of one JVM at one moment of its life, `at_s` seconds after its start.

    `cause`: why it collects now, "" when it does not. `heap_limit`: -Xmx. What a space uses is told as of the last collection, as the JVM
    itself counts it.
    """

    name: str
    at_s: float
    generations: tuple[Generation, ...]
    collections: tuple[Collections, ...]
    metaspace: Metaspace | None = None
    safepoints: Safepoints | None = None
    cause: str = ""
    last_cause: str = ""
    heap_limit: int | None = None
    threads: int | None = None
    classes: int | None = None
    classes_unloaded: int | None = None
    heap_used: int | None = None
    """Of the whole heap at this moment, where the JVM was asked for it."""

    def generation(self, name: str) -> Generation | None:
        return next((one for one in self.generations if one.name == name), None)

    @property
    def old(self) -> Generation | None:
        """The old generation; the whole heap where the collector does not divide it."""
        return self.generation("old") or self.generation("heap")

    @property
    def used(self) -> int:
        return sum(one.used for one in self.generations)

    @property
    def time_s(self) -> float:
        """Seconds in collections since the start, all collectors together."""
        return sum(one.time_s for one in self.collections)

    def count(self, kind: str) -> int:
        return sum(one.count for one in self.collections if one.kind == kind)


class JvmWatched(Struct, frozen=True):
    """A JVM watched for `seconds`: its counters at first and at last, and (seconds since its start, bytes) that collections of the whole heap left.

    `log`: the path of its own log, where it writes one that can be read: then `points` are of all its life, else of the window.
    """

    seconds: float
    first: Collector
    last: Collector
    points: tuple[tuple[float, float], ...]
    points_of: str = "full collections"
    log: str = ""
    humongous: int = 0
    """Collections that an allocation of half a region or more has caused, by the log, or by the counters of the window."""

    @property
    def share(self) -> float:
        span = self.last.at_s - self.first.at_s
        return (self.last.time_s - self.first.time_s) / span if span > 0 else 0.0
