"""One process on the terminal: what its threads do now, who waits for whom, and the looks that cost something."""

import asyncio
import time
from collections.abc import Iterable
from typing import ClassVar

from rich.console import Group
from rich.padding import Padding
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane

from pellucid.diagnose.words import duration
from pellucid.present.tui.looks import Look
from pellucid.present.tui.source import Source
from pellucid.present.tui.table import SCROLLBAR, Table
from pellucid.present.view.actions import ACTIONS, Asked, Name
from pellucid.present.view.columns import end, fitted
from pellucid.present.view.deep import Deep
from pellucid.present.view.groups import Shown
from pellucid.present.view.memory_live import Point
from pellucid.present.view.top import Line, size
from pellucid.present.view.waits import WaitRow

VIEWS = ("now", "waits", "time", "memory", "files", "output")
_COLOURS = {"critical": "bold red", "warning": "bold yellow", "notice": "cyan", "info": "green"}
_SPARKS = " .:-=+*#%@"
_WIDTH = 60


class ProcessScreen(Screen[None]):
    """`host` is "" for a process of this machine; of another one, all views are what its agent prints."""

    DEFAULT_CSS = """
    ProcessScreen #who { height: 1; text-style: bold; }
    ProcessScreen #found { height: auto; max-height: 8; }
    ProcessScreen TabbedContent, ProcessScreen TabPane, ProcessScreen ContentSwitcher { height: 1fr; }
    ProcessScreen TabPane { padding: 0; }
    ProcessScreen Look { height: 1fr; }
    ProcessScreen #points { height: auto; }
    ProcessScreen #groups, ProcessScreen #rows { height: 1fr; min-height: 4; }
    ProcessScreen #stack { height: 1fr; border-top: solid $primary; }
    ProcessScreen #gaps { height: auto; max-height: 3; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "back"),
        *(Binding(str(number), f"view('{name}')", name, show=False) for number, name in enumerate(VIEWS, 1)),
        Binding("enter", "begin", "begin", priority=True, show=False),
        Binding("p,space", "pause", "pause"),
        Binding("c", "copy", "copy"),
        Binding("question_mark,h", "help", "keys"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, source: Source, pid: int, name: str, interval: float, *, host: str = "") -> None:
        super().__init__()
        self._source = source
        self._pid = pid
        self._name = name
        self._interval = interval
        self._host = host
        self._paused = False
        self._looking = False
        self._line: Line | None = None
        self._deep: Deep | None = None
        self._groups: tuple[Shown, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(self._title(), id="who")
        yield Static(id="found")
        with TabbedContent(initial="now", id="views"):
            with TabPane("1 now", id="now"):
                if self._host:
                    yield self._look("why", cost="the agent there looks, for two seconds")
                else:
                    with Vertical():
                        yield Table(id="groups")
                        with VerticalScroll(id="stack"):
                            yield Static(id="frames")
            with TabPane("2 waits", id="waits"):
                yield (self._look("waits", cost="two short looks") if self._host else Table(id="rows"))
            with TabPane("3 time", id="time"):
                yield self._offered("profile")
            with TabPane("4 memory", id="memory"):
                if not self._host:
                    yield Static(id="points")
                yield self._offered("memory")
            with TabPane("5 files", id="files"):
                yield self._look("files", cost="reads the table of its descriptors, and who is at the other ends")
            with TabPane("6 output", id="output"):
                yield self._offered("output")
        yield Static(id="gaps")
        yield Footer()

    def _look(self, name: str, *, cost: str) -> Look:
        return Look(lambda: self._words((name, str(self._pid))), cost, key=f"look-{name}")

    def _offered(self, name: Name) -> Look:
        action = ACTIONS[name]
        cost = action.cost + (f". {action.pauses}" if action.pauses else "")
        return Look(lambda: self._words(action.words(str(self._pid), Asked(name))), cost, key=f"look-{name}")

    def _words(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return (*words, "--host", self._host) if self._host else words

    def _title(self) -> Text:
        """`pellucid top  pid 8774 worker-2  CPython 3.13.0  up 3 h  cpu 0 %  rss 1.2G`."""
        where = f" on {self._host}" if self._host else ""
        parts = [f"pellucid top  pid {self._pid} {self._name}{where}"]
        parts += ["PAUSED"] * self._paused
        parts += [self._deep.runtime] if self._deep is not None and self._deep.runtime else []
        if self._line is not None:
            began = self._line.started_at
            parts += [] if began is None else [f"up {duration(max(0.0, time.time() - began))}"]
            parts += [] if self._line.cpu is None else [f"cpu {self._line.cpu * 100:.0f} %"]
            parts.append(f"rss {size(self._line.rss_bytes)}")
        return Text("  ".join(parts), no_wrap=True, overflow="ellipsis")

    def on_mount(self) -> None:
        if not self._host:
            self.query_one("#groups", Table).focus()
            self.set_interval(self._interval, self._tick)
            self.run_worker(self._renew())

    def on_resize(self, _: Resize) -> None:
        if self._deep is not None:
            self.call_after_refresh(self._draw, self._deep)

    async def _tick(self) -> None:
        if not self._paused and self.app.screen is self:
            await self._renew()

    async def _renew(self) -> None:
        if self._looking:
            return
        self._looking = True
        try:
            self._line = await asyncio.to_thread(self._source.line, self._pid)
            self._name = self._line.name if self._line is not None else self._name
            self.query_one("#who", Static).update(self._title())
            view = self.query_one("#views", TabbedContent).active
            if view in ("now", "waits"):
                self._draw(await asyncio.to_thread(self._source.deep, self._pid))
            elif view == "memory":
                points = await asyncio.to_thread(self._source.memory, self._pid)
                self.query_one("#points", Static).update(Text(_drawn(points)))
        finally:
            self._looking = False

    def _draw(self, deep: Deep) -> None:
        self._deep = deep
        self.query_one("#who", Static).update(self._title())
        self.query_one("#found", Static).update(_found(deep))
        self.query_one("#gaps", Static).update(
            Text("\n".join(f"not seen: {gap.what}: {gap.why}" for gap in deep.not_seen[:3]))
        )
        self._groups = deep.groups
        groups, room = self.query_one("#groups", Table), max(1, self.size.width - SCROLLBAR)
        _fill(groups, ("", "THREADS", "AT", "STATE"), (5, room // 4, room // 4), map(_group, deep.groups), room)
        heads, most = ("WHO", "WAITS FOR", "HELD BY", "SINCE", "AT"), (room // 5, room // 3, room // 5, 12)
        _fill(self.query_one("#rows", Table), heads, most, map(_row, deep.waits.rows), room)
        self._stack(groups.cursor_row)

    def _stack(self, at: int) -> None:
        text = Text()
        if 0 <= at < len(self._groups):
            group = self._groups[at]
            text.append(f"STACK {', '.join(group.names[:8])}", style="bold")
            text.append(f"  {group.does}\n")
            for frame in group.frames:
                text.append(f"  {frame.who}", style="" if frame.own else "dim")
                text.append(f"  {end(frame.where, max(20, self.size.width - len(frame.who) - 8))}\n", style="dim")
        self.query_one("#frames", Static).update(text)

    @on(DataTable.RowHighlighted, "#groups")
    def _chosen(self, event: DataTable.RowHighlighted) -> None:
        self._stack(event.cursor_row)

    async def action_view(self, name: str) -> None:
        views = self.query_one("#views", TabbedContent)
        self.set_focus(None)  # a widget with the focus brings its own pane back
        views.active = name
        pane = views.get_pane(name)
        self.call_after_refresh(next(iter(pane.query("DataTable, Look"))).focus)
        if name == "files":
            self.query_one("#look-files", Look).begin()
        if not self._host:
            await self._renew()

    def action_begin(self) -> None:
        look = self._active()
        if look is not None:
            look.begin()

    def _active(self) -> Look | None:
        pane = self.query_one("#views", TabbedContent).active_pane
        return next(iter(pane.query(Look)), None) if pane is not None else None

    def action_pause(self) -> None:
        self._paused = not self._paused
        self.query_one("#who", Static).update(self._title())

    def action_copy(self) -> None:
        look = self._active()
        name = "waits" if self.query_one("#views", TabbedContent).active == "waits" else "stacks"
        words = look.shell if look is not None else f"pellucid {name} {self._pid}"
        self.app.copy_to_clipboard(words)
        self.notify(words, title="copied, where the terminal takes it")

    def action_help(self) -> None:
        from pellucid.present.tui.app import Help

        self.app.push_screen(Help())


def _fill(
    table: Table, heads: tuple[str, ...], most: tuple[int, ...], rows: Iterable[tuple[str, ...]], room: int
) -> None:
    cells = list(rows)
    table.show(fitted(heads, most, cells, room), [(row, "") for row in cells])


def _found(deep: Deep) -> Group:
    if deep.failed is not None:
        said = f"can't {deep.failed.tried}: {deep.failed.said}\ntry: {deep.failed.remedy}"
        return Group(Text(said, style="yellow"))
    parts: list[Text | Padding] = []
    for finding in deep.findings[:3]:
        parts.append(Text(f"{finding.severity}: {finding.title}", style=_COLOURS[finding.severity]))
        parts.append(Padding(Text(finding.sentence), (0, 0, 0, 2)))
    if len(deep.findings) > len(parts) // 2:
        parts.append(Text(f"and {len(deep.findings) - len(parts) // 2} more: pellucid why {deep.pid}", style="dim"))
    return Group(*parts)


def _group(group: Shown) -> tuple[str, ...]:
    """The function first: by it a stack is recognised."""
    at = next((frame for frame in group.frames if frame.own), group.frames[0] if group.frames else None)
    marks = f"{' GIL' if group.gil else ''}{' (moving)' if group.moving else ''}"
    where = f"{at.who} {at.where.rpartition('/')[2]}" if at is not None else ""
    return (f"x{len(group.tids)}", group.who, where, group.does + marks)


def _row(row: WaitRow) -> tuple[str, ...]:
    since = duration(row.since_s) if row.since_s is not None else ""
    return (f"{'STUCK ' if row.stuck else ''}{row.who}", row.what, row.holders, since, row.at)


def _drawn(points: tuple[Point, ...]) -> str:
    """The newest numbers, and private memory over time as a row of characters of growing weight."""
    if not points:
        return "its memory can't be read"
    last = points[-1]
    lines = [
        f"private {size(last.private_bytes)}  files {size(last.file_bytes)}  shared {size(last.shared_bytes)}  swap {size(last.swap_bytes)}"
    ]
    recent = [point.private_bytes for point in points][-_WIDTH:]
    low, high = min(recent), max(recent)
    span = max(1, high - low)
    drawn = "".join(_SPARKS[1 + (value - low) * (len(_SPARKS) - 2) // span] for value in recent)
    seconds = duration(max(0.0, last.at - points[-len(recent)].at))
    lines.append(f"private over {seconds}: {size(low)} |{drawn}| {size(high)}")
    for level in last.levels:
        unit = f" {last.unit}" if last.unit == "objects" else ""
        used = f"{level.used:,}{unit}" if unit else size(level.used)
        most = "" if not level.capacity else f" of {level.capacity:,}" if unit else f" of {size(level.capacity)}"
        lines.append(f"{level.name}: {used}{most}")
    if last.collections:
        lines.append("collections: " + ", ".join(f"{name} {count}" for name, count in last.collections))
    return "\n".join(lines)
