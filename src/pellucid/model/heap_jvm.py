"""The heap of a JVM: the same keys as that of Python, and what only a dump or the JVM itself tells."""

from msgspec import Struct, field

from pellucid.model.heap import Hold, Suspect, TypeCount, TypeGrowth
from pellucid.model.report import Report


class HeldType(Struct, frozen=True):
    """Objects of one type that hang on a holder; `bytes` with what only they hold."""

    type: str
    count: int
    bytes: int


class JavaSuspect(Suspect, frozen=True, kw_only=True):
    """A holder in a heap of Java. `held` are the types that hang on it; of a map `key_types` and `value_types`.

    Of `sampled` keys of one class so many (`alike`) are equal to another one in every field, and yet are keys of their own.
    """

    root: str = ""
    held: tuple[HeldType, ...] = ()
    key_types: tuple[HeldType, ...] = ()
    value_types: tuple[HeldType, ...] = ()
    alike: int = 0
    sampled: int = 0
    old_names: bool = False


class JavaHeapReport(Report, frozen=True, kw_only=True):
    """`heap PID` of a JVM (`asked`: the histogram is the JVM's own answer) and `heap FILE.hprof`.

    `coverage`: the part of the dump that could be read. `reachable_bytes`: what the roots reach, None where that is not known (a
    histogram); `collected`: the JVM made a full collection first. `layout`: how big objects are taken to be, and `took_s` of each step.
    """

    types: tuple[TypeCount, ...]
    total_bytes: int
    objects: int
    coverage: float
    suspects: tuple[JavaSuspect, ...] = ()
    reachable_bytes: int | None = None
    asked: bool = False
    collected: bool = False
    layout: str = ""
    file: str = ""
    took_s: dict[str, float] = field(default_factory=dict)


class FieldValue(Struct, frozen=True):
    """`value` of a number in words; of an object its type and id; the text of a String only where values were asked for."""

    name: str
    type: str
    value: str
    declared_in: str


class JavaObject(Struct, frozen=True, kw_only=True):
    """One object of a dump. `fields` of an instance or the static ones of a class; of an array the first elements."""

    id: str
    type: str
    bytes: int
    retained_bytes: int
    fields: tuple[FieldValue, ...]
    way: tuple[Hold, ...] = ()
    root: str = ""
    holders: tuple[str, ...] = ()


class JavaObjectsReport(Report, frozen=True, kw_only=True):
    """`heap FILE.hprof --type NAME` and `--object ID`. `count` and `total_bytes` are of all that match, `objects` those that retain most."""

    count: int
    total_bytes: int
    objects: tuple[JavaObject, ...]
    file: str


class JavaHeapDiffReport(Report, frozen=True, kw_only=True):
    """`heap diff A.hprof B.hprof`."""

    types: tuple[TypeGrowth, ...]
    total_bytes: int
    grown_bytes: int
    span_s: float
    files: tuple[str, str]
