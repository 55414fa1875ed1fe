"""Numbers as Prometheus text (exposition format 0.0.4, prometheus.io/docs/instrumenting/exposition_formats)."""

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Sample(Struct, frozen=True):
    """One number, and the labels that tell it from the others of its family."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    part: Literal["", "bucket", "sum", "count"] = ""
    """Of a histogram; a bucket has its bound as the label `le`."""


class Family(Struct, frozen=True):
    """Numbers of one meaning. `name` ends in its unit; that of a counter in `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    says: str
    samples: tuple[Sample, ...]


def text(families: Iterable[Family]) -> str:
    """The whole page; a family without samples is left out."""
    return "".join(f"{line}\n" for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.says, quotes=False)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
        name = f"{family.name}_{sample.part}" if sample.part else family.name
        yield f"{name}{{{labels}}} {sample.value!r}" if labels else f"{name} {sample.value!r}"


def _escaped(value: str, *, quotes: bool = True) -> str:
    return value.translate(_ESCAPES) if quotes else value.replace("\\", "\\\\").replace("\n", "\\n")
