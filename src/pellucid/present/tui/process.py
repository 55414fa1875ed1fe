"""One process on the terminal: what its threads do now, who waits for whom, and the looks that cost something."""

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane

from pellucid.diagnose.words import duration
from pellucid.present.tui.looks import Look
from pellucid.present.tui.source import Source
from pellucid.present.view.actions import ACTIONS, Asked, Name
from pellucid.present.view.deep import Deep
from pellucid.present.view.groups import Shown
from pellucid.present.view.memory_live import Point
from pellucid.present.view.top import size
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
        *(Binding(str(number), f"view('{name}')", name) for number, name in enumerate(VIEWS, 1)),
        Binding("enter", "begin", "begin", priority=True, show=False),
        Binding("p,space", "pause", "pause", show=False),
        Binding("c", "copy", "copy command"),
        Binding("question_mark,h", "help", "keys", show=False),
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
        self._deep: Deep | None = None
        self._groups: tuple[Shown, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(Text(self._title("")), id="who")
        yield Static(id="found")
        with TabbedContent(initial="now", id="views"):
            with TabPane("1 now", id="now"):
                if self._host:
                    yield self._look("why", cost="the agent there looks, for two seconds")
                else:
                    with Vertical():
                        yield DataTable(id="groups", cursor_type="row")
                        with VerticalScroll(id="stack"):
                            yield Static(id="frames")
            with TabPane("2 waits", id="waits"):
                yield (
                    self._look("waits", cost="two short looks")
                    if self._host
                    else DataTable(id="rows", cursor_type="row")
                )
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

    def _title(self, runtime: str) -> str:
        where = f" on {self._host}" if self._host else ""
        return f"pellucid top  pid {self._pid} {self._name}{where}  {runtime}{'  PAUSED' if self._paused else ''}"

    def on_mount(self) -> None:
        if not self._host:
            self.query_one("#groups", DataTable).add_columns("", "THREADS", "STATE", "SINCE", "AT")
            self.query_one("#rows", DataTable).add_columns("WHO", "WAITS FOR", "HELD BY", "SINCE", "AT")
            self.query_one("#groups", DataTable).focus()
            self.set_interval(self._interval, self._tick)
            self.run_worker(self._renew())

    async def _tick(self) -> None:
        if not self._paused and self.app.screen is self:
            await self._renew()

    async def _renew(self) -> None:
        if self._looking:
            return
        self._looking = True
        try:
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
        self.query_one("#who", Static).update(Text(self._title(deep.runtime)))
        self.query_one("#found", Static).update(_found(deep))
        self.query_one("#gaps", Static).update(
            Text("\n".join(f"not seen: {gap.what}: {gap.why}" for gap in deep.not_seen[:3]))
        )
        self._groups = deep.groups
        _filled(self.query_one("#groups", DataTable), [_group(group) for group in deep.groups])
        _filled(self.query_one("#rows", DataTable), [_row(row) for row in deep.waits.rows])
        self._stack(self.query_one("#groups", DataTable).cursor_row)

    def _stack(self, at: int) -> None:
        text = Text()
        if 0 <= at < len(self._groups):
            group = self._groups[at]
            text.append(f"STACK {', '.join(group.names[:8])}\n", style="bold")
            for frame in group.frames:
                text.append(f"  {frame.where} {frame.who}\n", style="" if frame.own else "dim")
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
        self.query_one("#who", Static).update(Text(self._title(self._deep.runtime if self._deep else "")))

    def action_copy(self) -> None:
        look = self._active()
        name = "waits" if self.query_one("#views", TabbedContent).active == "waits" else "stacks"
        words = look.shell if look is not None else f"pellucid {name} {self._pid}"
        self.app.copy_to_clipboard(words)
        self.notify(words, title="copied, where the terminal takes it")

    def action_help(self) -> None:
        from pellucid.present.tui.app import Help

        self.app.push_screen(Help())


def _found(deep: Deep) -> Text:
    text = Text()
    if deep.failed is not None:
        text.append(f"can't {deep.failed.tried}: {deep.failed.said}\ntry: {deep.failed.remedy}", style="yellow")
        return text
    for finding in deep.findings[:3]:
        text.append(f"{finding.severity}: {finding.title}\n", style=_COLOURS[finding.severity])
        text.append(f"  {finding.sentence}\n")
    text.rstrip()
    return text


def _group(group: Shown) -> tuple[str, ...]:
    since = duration(group.since_s) if group.since_s is not None else ""
    at = next((f"{frame.where} {frame.who}" for frame in group.frames if frame.own), "")
    marks = f"{' GIL' if group.gil else ''}{' (moving)' if group.moving else ''}"
    return (
        f"x{len(group.tids)}",
        group.who,
        group.does + marks,
        since,
        at or (group.frames[0].where if group.frames else ""),
    )


def _row(row: WaitRow) -> tuple[str, ...]:
    since = duration(row.since_s) if row.since_s is not None else ""
    return (f"{'STUCK ' if row.stuck else ''}{row.who}", row.what, row.holders, since, row.at)


def _filled(table: DataTable[Text], rows: list[tuple[str, ...]]) -> None:
    """The rows anew, the cursor where it was."""
    at = table.cursor_row
    table.clear()
    for row in rows:
        table.add_row(*map(Text, row))
    table.move_cursor(row=min(at, max(0, len(rows) - 1)))


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
