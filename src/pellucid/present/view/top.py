"""`pellucid top` before it is drawn: who needs somebody, then the processes, worst first. The terminal and the plain text print the same."""

import time
from collections.abc import Callable, Iterable
from typing import Literal, get_args

from msgspec import Struct

from pellucid.diagnose.words import duration
from pellucid.present.view.board import Board, Own
from pellucid.present.view.columns import Column, rest
from pellucid.present.view.remote import Remote
from pellucid.present.view.rows import Row

Sort = Literal["trouble", "cpu", "memory", "pid", "name"]
SORTS: tuple[Sort, ...] = get_args(Sort)
RANK = {"critical": 0, "warning": 1, "notice": 2}
"""`info` is fine."""
URGENT = frozenset({"critical", "warning"})
"""What needs somebody."""
SIGNS = {"critical": "!!", "warning": "!", "notice": "-"}
_NOBODY = len(RANK)


class Need(Struct, frozen=True):
    """One process that needs somebody. `severity` as of findings; `command` says more."""

    host: str
    pid: int
    name: str
    severity: str
    title: str
    sentence: str
    command: str
    age_s: float


class Line(Struct, frozen=True):
    """One process. `host` is "" for this machine; `worst` the severity of its worst finding, "" where nothing is known of it."""

    host: str
    pid: int
    name: str
    state: str
    cpu: float | None
    rss_bytes: int
    threads: int
    runtime: str
    user: str
    command: str
    worst: str = ""
    started_at: float | None = None

    @property
    def key(self) -> str:
        """Unlike any other's."""
        return f"{self.host}/{self.pid}"


class Top(Struct, frozen=True):
    """One look at everything. `all_count`: processes before the filter; `not_seen`: hosts that did not answer, and why."""

    at: float
    needs: tuple[Need, ...]
    lines: tuple[Line, ...]
    all_count: int
    own: Own
    not_seen: tuple[str, ...] = ()

    def head(self, *marks: str) -> str:
        """`pellucid top 14:03:22  42 processes, 2 need you  self 0.4 % CPU 41 MB`; `marks` stand where a narrow screen still shows them."""
        urgent = len(self.needs)
        shown = "" if len(self.lines) == self.all_count else f", {len(self.lines)} shown"
        moment = time.strftime("%H:%M:%S", time.localtime(self.at))
        needs = f"{urgent} need{'s' if urgent == 1 else ''} you"
        own = f"self {self.own.cpu * 100:.1f} % CPU {self.own.rss_bytes >> 20} MB"
        return "  ".join(
            (f"pellucid top {moment}", *filter(None, marks), f"{self.all_count} processes{shown}, {needs}", own)
        )


def top(board: Board, others: Iterable[Remote] = (), pattern: str = "", sort: Sort = "trouble") -> Top:
    """What the board and the other machines show now; only what `pattern` is in, letters alike: a number stands first whose pid it is."""
    found = board.scan.found
    lines = [line(row, found[row.pid].worst if row.pid in found else "") for row in board.rows.values()]
    not_seen = []
    for host in others:
        lines += [line(row, host=host.name) for row in host.rows]
        if host.failed:
            not_seen.append(f"host {host.name}: {host.failed}")
    shown = [one for one in lines if matches(one, pattern)]
    needs = [need for need in _needs(board) if any(one.pid == need.pid and not one.host for one in shown)]
    return Top(board.at, tuple(needs), ordered(shown, pattern, sort), len(lines), board.own, tuple(not_seen))


def ordered(lines: Iterable[Line], pattern: str, sort: Sort) -> tuple[Line, ...]:
    """By `sort`; whoever has the very pid that was typed stands before those that have it in their command."""
    order, typed = ORDERS[sort], pattern.strip()
    return tuple(sorted(lines, key=lambda line: (str(line.pid) != typed, order(line))))


ORDERS: dict[Sort, Callable[[Line], tuple[float | str, ...]]] = {
    "trouble": lambda line: (RANK.get(line.worst, _NOBODY), -(line.cpu or 0.0), -line.rss_bytes, line.key),
    "cpu": lambda line: (-(line.cpu or 0.0), line.key),
    "memory": lambda line: (-line.rss_bytes, line.key),
    "pid": lambda line: (line.host, line.pid),
    "name": lambda line: (line.name.lower(), line.host, line.pid),
}


class _Listed(Struct, frozen=True):
    """A column of the list, on screens of `since` to `until` characters; 0 characters `wide` are the rest of the line."""

    head: str
    wide: int
    text: Callable[[Line], str]
    right: bool = False
    since: int = 0
    until: int = 1 << 16


def _named(line: Line) -> str:
    """The command, and before it the name where that is another: threads, servers and kernels give themselves names."""
    return line.command if line.name in line.command else f"{line.name}: {line.command}"


_LISTED = (
    _Listed("HOST", 10, lambda line: line.host or "here"),
    _Listed("", 2, lambda line: SIGNS.get(line.worst, "")),
    _Listed("PID", 7, lambda line: str(line.pid), right=True),
    _Listed("USER", 8, lambda line: line.user, since=120),
    _Listed("NAME", 15, lambda line: line.name, since=110),
    _Listed("STATE", 14, lambda line: line.state, until=75),
    _Listed("STATE", 20, lambda line: line.state, since=75, until=110),
    _Listed("STATE", 25, lambda line: line.state, since=110),
    _Listed("THR", 4, lambda line: str(line.threads), right=True, since=120),
    _Listed("CPU", 6, lambda line: "" if line.cpu is None else f"{line.cpu * 100:.0f} %", right=True),
    _Listed("RSS", 5, lambda line: size(line.rss_bytes), right=True),
    _Listed("RUNTIME", 7, lambda line: line.runtime.replace("Python ", "py"), since=75),
    _Listed("COMMAND", 0, _named, until=110),
    _Listed("COMMAND", 0, lambda line: line.command, since=110),
)


def _listed(width: int, *, hosts: bool) -> tuple[_Listed, ...]:
    return tuple(one for one in _LISTED[not hosts :] if one.since <= width < one.until)


def columns(width: int, *, hosts: bool) -> tuple[Column, ...]:
    """Those of the list on a screen of `width` characters."""
    *others, last = _listed(width, hosts=hosts)
    return rest([Column(one.head, one.wide, one.right) for one in others], last.head, width)


def cells(line: Line, width: int, *, hosts: bool) -> tuple[str, ...]:
    """As the table's columns (`columns`) have them, whole. A sign stands beside every colour."""
    return tuple(one.text(line) for one in _listed(width, hosts=hosts))


def size(count: int) -> str:
    """`1.2G`, `41M`: a column of seven digits can't be compared."""
    if count < 1 << 30:
        return f"{count >> 20}M"
    return f"{count / (1 << 30):.1f}G" if count < 100 << 30 else f"{count >> 30}G"


def _needs(board: Board) -> list[Need]:
    rows = board.rows
    needs = []
    for looked in board.scan.found.values():
        row = rows.get(looked.pid)
        if row is None or not looked.findings or looked.worst not in URGENT:
            continue
        first = looked.findings[0]
        age = max(0.0, board.at - looked.at)
        more = f"pellucid why {row.pid}"
        needs.append(Need("", row.pid, row.name, first.severity, first.title, first.sentence, more, age))
    return sorted(needs, key=lambda need: (RANK[need.severity], need.pid))


def said(need: Need) -> str:
    """`!! critical  pid 8774 model-worker-2: 2 threads wait for ... (seen 12 s ago)`."""
    seen = f" (seen {duration(need.age_s)} ago)" if need.age_s >= 10 else ""
    return f"{SIGNS[need.severity]} {need.severity}  pid {need.pid} {need.name}: {need.title}{seen}"


def line(row: Row, worst: str = "", host: str = "") -> Line:
    """`row` as one of the list."""
    return Line(
        host,
        row.pid,
        row.name,
        row.state,
        row.cpu,
        row.rss_bytes,
        row.threads,
        row.runtime,
        row.user,
        row.command,
        worst,
        row.started_at,
    )


def matches(line: Line, pattern: str) -> bool:
    """A pid is typed from its beginning; any other text may stand anywhere."""
    wanted = pattern.strip().lower()
    if not wanted or str(line.pid).startswith(wanted):
        return True
    return wanted in f"{line.name} {line.command} {line.user} {line.host} {line.state}".lower()
