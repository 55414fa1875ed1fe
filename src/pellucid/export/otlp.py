"""OpenTelemetry's spans, metrics and log records, as a receiver of OTLP/HTTP takes them in one POST.

(github.com/open-telemetry/opentelemetry-proto, 1.x: trace/v1, metrics/v1, logs/v1 and collector/*/v1; the numbers of fields stand at their use.)
Spans are made for each request of a server under load, so what is equal in many of them (`attributes`, `named`) is encoded once and handed in
as bytes. Times are nanoseconds since the epoch; ids are bytes, 16 of a trace and 8 of a span.
"""

import struct
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from pellucid.export.prometheus import Family, Sample
from pellucid.export.protobuf import content, double, fixed32, fixed64, integer, signed64, text

Value = str | bool | int | float
Attributes = Iterable[tuple[str, Value]]

INTERNAL, SERVER = 1, 2  # Span.SpanKind
_ERROR = 2  # Status.StatusCode
_CUMULATIVE = 2  # AggregationTemporality
_REMOTE: Final = {False: 0x100, True: 0x300}
"""SpanFlags: whether the parent is in another process, and that this is known."""
_TIMES = struct.Struct("<BQBQ")
_SEVERITIES: Final = {"info": 9, "warning": 13, "error": 17}  # SeverityNumber
_UNITS: Final = {"_seconds": "s", "_bytes": "By"}
SCHEMA = "https://opentelemetry.io/schemas/1.26.0"
"""Whose names the attributes have; those of HTTP are stable since 1.23."""


def posted(resource: bytes, scope: bytes, items: Iterable[bytes]) -> bytes:
    """The body of one POST: all spans, or metrics, or log records. The three requests have the same shape."""
    of_scope = content(1, scope) + b"".join([content(2, item) for item in items])
    return content(1, content(1, resource) + content(2, of_scope) + text(3, SCHEMA))


def resource(told: Attributes) -> bytes:
    """Who tells all this."""
    return attributes(1, told)


def scope(name: str, version: str) -> bytes:
    """What in it does (InstrumentationScope)."""
    return text(1, name) + text(2, version)


def attributes(field: int, told: Attributes) -> bytes:
    """As that field of a message (9 of a span, 6 of a log record, 7 of a number, 9 of a histogram's point)."""
    return b"".join([content(field, text(1, key) + content(2, _value(value))) for key, value in told])


def _value(value: Value) -> bytes:
    """AnyValue; an empty text is one too."""
    if isinstance(value, str):
        return content(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return integer(2, value)
    return integer(3, value) if isinstance(value, int) else double(4, value)


def named(name: str, kind: int) -> bytes:
    """What spans of one name have in common."""
    return text(5, name) + integer(6, kind)


def span(
    trace: bytes,
    own: bytes,
    parent: bytes,
    name: bytes,
    begin: int,
    end: int,
    more: bytes = b"",
    *,
    remote: bool = False,
    state: str = "",
) -> bytes:
    """`parent`: empty of a root. `name`: by `named`. `more`: `attributes`, `link`s, `event`s and `failed`."""
    above = b'"\x08' + parent if parent else b""
    return b"".join(
        (
            b"\n\x10", trace, b"\x12\x08", own, text(3, state), above, name,
            _TIMES.pack(7 << 3 | 1, begin, 8 << 3 | 1, max(begin, end)), more, fixed32(16, 1 | _REMOTE[remote]),
        )
    )  # fmt: skip


def link(trace: bytes, own: bytes) -> bytes:
    """Of a span, to another one."""
    return content(13, b"\n\x10" + trace + b"\x12\x08" + own)


def event(at: int, name: str, told: Attributes) -> bytes:
    """Something that happened in a span."""
    return content(11, fixed64(1, at) + text(2, name) + attributes(3, told))


def failed(said: str = "") -> bytes:
    """The status of a span that is an error."""
    return content(15, text(2, said) + integer(3, _ERROR))


class Point(Struct, frozen=True):
    """Of a histogram: how often a value fell into each bucket (one more than there are bounds), and their sum."""

    told: tuple[tuple[str, Value], ...]
    counts: tuple[int, ...]
    total: float


def histogram(name: str, says: str, bounds: tuple[float, ...], points: Iterable[Point], began: int, now: int) -> bytes:
    """A metric in seconds, counted from `began` on."""
    shown = b"".join(
        content(
            1,
            attributes(9, point.told)
            + fixed64(2, began)
            + fixed64(3, now)
            + fixed64(4, sum(point.counts))
            + double(5, point.total)
            + content(6, struct.pack(f"<{len(point.counts)}Q", *point.counts))
            + content(7, struct.pack(f"<{len(bounds)}d", *bounds)),
        )
        for point in points
    )
    return text(1, name) + text(2, says) + text(3, "s") + content(9, shown + integer(2, _CUMULATIVE))


def metric(family: Family, began: int, now: int) -> bytes:
    """A family of numbers as it is told to Prometheus, but no histogram. Its name is written so that a collector which hands it to Prometheus
    makes the same of it: `pellucid_resident_bytes` is `pellucid.resident` in the unit By.
    """
    name, unit = family.name.removesuffix("_total"), ""
    for ending, short in _UNITS.items():
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), short
    points = b"".join(content(1, _number(sample, began, now)) for sample in family.samples)
    shown = (
        content(7, points + integer(2, _CUMULATIVE) + integer(3, 1)) if family.kind == "counter" else content(5, points)
    )
    return text(1, name.replace("_", ".", 1)) + text(2, family.says) + text(3, unit) + shown


def _number(sample: Sample, began: int, now: int) -> bytes:
    value = sample.value
    shown = signed64(6, value) if isinstance(value, int) else double(4, value)
    return attributes(7, sample.labels) + fixed64(2, began) + fixed64(3, now) + shown


def record(
    at: int, seen: int, level: str, event: str, said: str, told: Attributes, trace: bytes = b"", own: bytes = b""
) -> bytes:
    """One thing that was logged. `level`: info, warning or error; `trace` and `own`: the span in which it was, where one is known."""
    number = _SEVERITIES[level]
    within = fixed32(8, 1) + content(9, trace) + content(10, own) if trace else b""
    return b"".join(
        (
            fixed64(1, at), integer(2, number), text(3, level.upper()), content(5, _value(said)), attributes(6, told), within,
            fixed64(11, seen), text(12, event),
        )
    )  # fmt: skip


def rejected(answer: bytes) -> tuple[int, str]:
    """(how many items a receiver did not take although it answered 200, what it said): ExportTracePartialSuccess and its two siblings.

    ValueError where the answer is no such message.
    """
    count, said = 0, ""
    for field, whole in _fields(answer):
        if field == 1 and isinstance(whole, bytes):
            for inner, value in _fields(whole):
                if inner == 1 and isinstance(value, int):
                    count = value
                elif inner == 2 and isinstance(value, bytes):
                    said = value.decode("utf-8", "replace")
    return count, said


def _fields(message: bytes) -> Iterable[tuple[int, int | bytes]]:
    """Numbers and contents; fixed ones are in no answer of a receiver."""
    place = 0
    while place < len(message):
        key, place = _read(message, place)
        value, place = _read(message, place)
        if key & 7 == 2:
            if place + value > len(message):
                raise ValueError("it ends too early")
            yield key >> 3, message[place : place + value]
            place += value
        elif key & 7 == 0:
            yield key >> 3, value
        else:
            raise ValueError("it has a field that is not expected")


def _read(message: bytes, place: int) -> tuple[int, int]:
    """(a varint, the place after it)."""
    number = 0
    for length, byte in enumerate(message[place : place + 10]):
        number |= (byte & 127) << 7 * length
        if byte < 128:
            return number, place + length + 1
    raise ValueError("it ends too early")
