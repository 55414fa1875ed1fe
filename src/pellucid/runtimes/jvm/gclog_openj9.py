"""-verbose:gc of IBM's and Eclipse's OpenJ9: XML stanzas, read to their totals, line by line (a log that was cut is no document).

<af type="tenured" id="3" timestamp="..." intervalms="12.5">                      until J9 2.4 (Java 6)
<tenured freebytes="0" totalbytes="19725304" percent="0" />
<gc type="global" id="3" totalid="3" intervalms="..."> ... <timesms mark="..." total="12.6" /> </gc>
<tenured freebytes="9123" totalbytes="19725304" percent="0" />
<time totalms="13.1" />
</af>
<gc-start id="5" type="global" ...> <mem-info id="6" free="..." total="..." percent="..."/> </gc-start>        since (Java 7)
<gc-end id="8" type="global" durationms="12.3" timestamp="2020-01-01T00:00:00.123"> <mem-info .../> </gc-end>
"""

import re
from datetime import datetime

from pellucid.model.gc_log import EventKind, LogEvent

_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_TAG = re.compile(r"<(/?)([a-z-]+)([^>]*?)(/?)>")
_STAMPS = ("%b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %Y")


class OpenJ9:
    """Takes lines, keeps events."""

    format = "OpenJ9"
    collector = "OpenJ9"

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self.first_s: float | None = None
        self.last_s: float | None = None
        self._inside = ""
        self._kind: EventKind = "young"
        self._cause = ""
        self._at: float | None = None
        self._pause = 0.0
        self._memory: list[tuple[int, int]] = []
        """(free, total) of the heap, each time that it is told within one stanza."""
        self._before: tuple[int, int] | None = None
        self._epoch: float | None = None

    def line(self, line: str) -> bool:
        text = line.strip()
        if not text.startswith("<"):
            return False
        tags = _TAG.findall(text)
        for closing, name, attributes, _ in tags:
            self._tag(name, dict(_ATTRIBUTE.findall(attributes)), closing=bool(closing))
        return bool(tags)

    def _tag(self, name: str, told: dict[str, str], *, closing: bool) -> None:
        if name in {"af", "sys", "con"}:
            if closing:
                self._end()
            else:
                self._begin(name, told)
        elif name == "gc" and not closing:
            self._kind = "full" if told.get("type") == "global" else "young"
        elif name == "time" and "totalms" in told:
            self._pause = _number(told["totalms"]) / 1000
        elif name == "tenured" and "freebytes" in told and self._inside:
            self._memory.append((int(_number(told["freebytes"])), int(_number(told.get("totalbytes", "0")))))
        elif name == "gc-start" and not closing:
            self._begin("gc-start", told)
        elif name == "gc-end":
            if closing:
                self._end()
            else:
                self._before = self._memory[0] if self._memory else None
                self._memory = []
                self._inside, self._at = "gc-end", self._time(told.get("timestamp", ""))
                self._kind = "full" if told.get("type") == "global" else "young"
                self._pause = _number(told.get("durationms", "0")) / 1000
        elif name == "mem-info" and not closing and "free" in told and self._inside:
            self._memory.append((int(_number(told["free"])), int(_number(told.get("total", "0")))))

    def _begin(self, name: str, told: dict[str, str]) -> None:
        self._inside, self._memory, self._before, self._pause = name, [], None, 0.0
        self._kind = "full" if told.get("type") == "global" else "young"
        self._cause = {"af": "Allocation Failure", "sys": "System.gc()", "con": "concurrent"}.get(
            name, told.get("type", "")
        )
        self._at = self._time(told.get("timestamp", ""))

    def _end(self) -> None:
        if not self._inside:
            return
        first = self._before or (self._memory[0] if self._memory else None)
        last = self._memory[-1] if self._memory else None
        self.events.append(
            LogEvent(
                kind=self._kind,
                at_s=self._at,
                pause_s=self._pause,
                cause=self._cause,
                before=first[1] - first[0] if first else None,
                after=last[1] - last[0] if last else None,
                capacity=last[1] if last else None,
            )
        )
        self._inside = ""

    def _time(self, stamp: str) -> float | None:
        seconds = None
        try:
            seconds = datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            for form in _STAMPS:
                try:
                    seconds = datetime.strptime(stamp, form).timestamp()  # noqa: DTZ007  the log does not tell its zone
                    break
                except ValueError:
                    continue
        if seconds is None:
            return None
        if self._epoch is None:
            self._epoch = seconds
        at = seconds - self._epoch
        self.first_s = at if self.first_s is None else self.first_s
        self.last_s = at
        return at


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
