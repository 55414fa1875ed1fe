"""The log of JDK 8 and before: -verbosegc, -XX:+PrintGCDetails, PrintGCTimeStamps, PrintGCDateStamps.

    2020-01-01T00:00:00.123+0000: 12.345: [GC (Allocation Failure) [PSYoungGen: 65024K->10720K(75776K)] 65024K->10736K(249344K), 0.0104 secs]
    1.20: [Full GC (Allocation Failure) 1.20: [Tenured: 10944K->10944K(10944K), 0.02 secs] 15871K->15871K(15872K), [Metaspace: ...], 0.02 secs]
    3.1: [GC pause (G1 Evacuation Pause) (young), 0.0123 secs]   and, lines later,   [Eden: ... Heap: 24.0M(256.0M)->4.0M(256.0M)]

Brackets nest: what stands in the inner ones is about a generation, what is left is about the heap.
"""

import re
from datetime import datetime

from pellucid.model.gc_log import EventKind, LogEvent

_HEAD = re.compile(
    r"^(?:(?P<date>\d{4}-\d\d-\d\dT[\d:.,]+[+-]\d{4}): )?(?:(?P<time>\d+[.,]\d+): )?\[(?P<what>Full GC|GC)(?P<rest>.*)$"
)
_INNER = re.compile(r"(?:\d+[.,]\d+: )?\[(?P<name>[A-Za-z][\w ]*): (?P<body>[^\[\]]*)\]")
_CHANGE = re.compile(
    r"(\d+(?:\.\d+)?)([BKMG])(?:\([\d.]+[BKMG]\))?->(\d+(?:\.\d+)?)([BKMG])\((\d+(?:\.\d+)?)([BKMG])\)"
)
_SECONDS = re.compile(r"(\d+[.,]\d+) secs\]")
_HEAP = re.compile(
    r"Heap: (\d+(?:\.\d+)?)([BKMG])\((?:\d+(?:\.\d+)?)[BKMG]\)->(\d+(?:\.\d+)?)([BKMG])\((\d+(?:\.\d+)?)([BKMG])\)"
)
_CAUSE = re.compile(r"\(([^()]*(?:\(\))?[^()]*)\)")
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_YOUNG = ("PSYoungGen", "DefNew", "ParNew")
_COLLECTORS = (("PSYoungGen", "Parallel"), ("DefNew", "Serial"), ("ParNew", "CMS"), ("GC pause", "G1"), ("CMS", "CMS"))
_PARTS = frozenset({"young", "mixed", "initial-mark", "to-space exhausted", "System.gc()"})


class Java8:
    """Takes lines, keeps events. `first_s` and `last_s` are the times of the first and the last event."""

    format = "JDK 8"

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self.collector = ""
        self.first_s: float | None = None
        self.last_s: float | None = None
        self._epoch: float | None = None

    def line(self, line: str) -> bool:
        head = _HEAD.match(line)
        if head is None:
            heap = _HEAP.search(line)
            if heap and self.events and self.events[-1].after is None:
                self._complete(heap)
            return heap is not None
        for mark, name in _COLLECTORS:
            if not self.collector and mark in line:
                self.collector = name
        seconds = _SECONDS.search(line) if line.count("secs]") < 2 else _last(_SECONDS, _before_times(line))
        if seconds is None:
            return True  # the line was cut, or goes on in others
        rest = head["rest"]
        young: tuple[int, int] | None = None
        for inner in _INNER.finditer(rest):
            change = _CHANGE.search(inner["body"])
            if change and inner["name"].strip() in _YOUNG:
                young = _bytes(change, 1), _bytes(change, 3)
        change = _CHANGE.search(_INNER.sub("", _INNER.sub("", rest)))
        before, after, capacity = (_bytes(change, 1), _bytes(change, 3), _bytes(change, 5)) if change else (None,) * 3
        causes = list(_CAUSE.findall(rest.partition("[")[0]))
        kind: EventKind = "full" if head["what"] == "Full GC" else self._kind(rest, causes)
        promoted = None
        if young and before is not None and after is not None and kind == "young":
            promoted = max(0, (young[0] - young[1]) - (before - after))
        at = self._time(head)
        if at is not None:
            self.first_s = at if self.first_s is None else self.first_s
            self.last_s = at
        told = [one for one in causes if one not in _PARTS or one == "System.gc()"]
        self.events.append(
            LogEvent(
                kind=kind,
                at_s=at,
                pause_s=float(seconds[1].replace(",", ".")),
                cause=told[0] if told else head["what"],
                before=before,
                after=after,
                capacity=capacity,
                promoted=promoted,
                observer=any("Initiated GC" in one for one in causes),
            )
        )
        return True

    def _kind(self, rest: str, causes: list[str]) -> EventKind:
        if "mixed" in causes:
            return "mixed"
        if rest.startswith((" remark", " cleanup", " (CMS")) or "CMS-remark" in rest or "CMS-initial-mark" in rest:
            return "pause"
        return "young"

    def _complete(self, heap: re.Match[str]) -> None:
        from msgspec.structs import replace

        self.events[-1] = replace(
            self.events[-1], before=_bytes(heap, 1), after=_bytes(heap, 3), capacity=_bytes(heap, 5)
        )

    def _time(self, head: re.Match[str]) -> float | None:
        if head["time"]:
            return float(head["time"].replace(",", "."))
        if not head["date"]:
            return None
        stamp = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", head["date"].replace(",", "."))
        try:
            seconds = datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            return None
        if self._epoch is None:
            self._epoch = seconds
        return seconds - self._epoch


def _bytes(found: re.Match[str], at: int) -> int:
    return int(float(found[at]) * _UNITS[found[at + 1]])


def _before_times(line: str) -> str:
    return line.partition("[Times:")[0]


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007  the last one is wanted
        pass
    return found
