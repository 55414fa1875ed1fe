"""The list of processes on the terminal, by textual. What it shows is `present.view.top`; here are widgets and keys."""

import asyncio
import signal
from typing import ClassVar

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Input, Static

from pellucid.present.tui.process import ProcessScreen
from pellucid.present.tui.source import Source
from pellucid.present.tui.table import Table
from pellucid.present.view.top import SORTS, Line, Sort, Top, cells, columns, said

COLOURS = {"critical": "bold red", "warning": "bold yellow", "notice": "cyan"}
MOST_NEEDS = 4
_HIGH = 30
"""Lines of a screen that has room for so many."""
_TERMINALS_OWN = "ansi-dark"
"""The theme that takes the terminal's own colours, dark or light, and a dozen of them: textual 8."""
_HELP = """\
enter   open the process under the cursor
esc     back
/       show only what a word is in; a number is a pid
s       sort by another column
n       go to the next process that needs you
c       copy the command that shows the same
p       pause and go on
r       look now
1 to 6  now, waits, time, memory, files, output
q       quit (or ctrl-c; ctrl-z leaves it for a while)

Nothing here stops or changes a process. A look that
costs something says so, and begins with enter.
The same as text: pellucid top --plain"""


class TopApp(App[int]):
    """`pellucid top`. It ends with an exit status, or None."""

    TITLE = "pellucid top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]
    CSS = """
    #head { height: 1; text-style: bold; }
    #needs { height: auto; max-height: 8; }
    #filter { height: 1; border: none; padding: 0; display: none; }
    #filter.shown { display: block; }
    #list { height: 1fr; }
    DataTable > .datatable--header, DataTable:ansi > .datatable--header { background: $background; text-style: bold underline; }
    DataTable > .datatable--cursor, DataTable:focus > .datatable--cursor { background: $background; color: $foreground; text-style: bold reverse; }
    Help { align: center middle; }
    Help Static { width: 64; max-width: 100%; height: auto; padding: 0 1; border: round $primary; background: $surface; }
    """

    def __init__(
        self,
        source: Source,
        *,
        pid: int | None = None,
        pattern: str = "",
        sort: Sort = "trouble",
        interval: float = 2.0,
    ) -> None:
        super().__init__(ansi_color=True)  # said here, or NO_COLOR would be black on black
        self.source = source
        self.interval = interval
        self._pid = pid
        self._pattern = pattern
        self._sort = sort

    def on_mount(self) -> None:
        if _TERMINALS_OWN in self.available_themes:
            self.theme = _TERMINALS_OWN
        # The terminal is given back as it was.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit, 128 + signal.SIGTERM)
        self.source.begin()
        self.push_screen(ListScreen(self.source, self.interval, self._pattern, self._sort))
        if self._pid is not None:
            self.push_screen(ProcessScreen(self.source, self._pid, "", self.interval))

    def on_unmount(self) -> None:
        self.source.end()


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,h,enter", "app.pop_screen", "back")]

    def compose(self) -> ComposeResult:
        yield Static(Text(_HELP))


class ListScreen(Screen[None]):
    """Everything that runs, worst first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", priority=True),
        Binding("slash", "filter", "filter"),
        Binding("s", "sort", "sort"),
        Binding("p,space", "pause", "pause"),
        Binding("n", "next", "next in need"),
        Binding("c", "copy", "copy"),
        Binding("r", "renew", "look now", show=False),
        Binding("question_mark,h", "help", "keys"),
        Binding("escape", "leave_filter", "back", show=False),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, source: Source, interval: float, pattern: str, sort: Sort) -> None:
        super().__init__()
        self._source = source
        self._interval = interval
        self._pattern = pattern
        self._sort: Sort = sort
        self._paused = False
        self._looking = False
        self._outdated = False
        """Something else is wanted than the look that goes on asks for."""
        self._listed = ""
        """The pattern of the list that is shown: while a look lasts it is not yet what was typed."""
        self._opening = False
        self._seen: Top | None = None
        self._hosts = bool(source.hosts)

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="needs")
        yield Table(id="list")
        yield Input(id="filter", value=self._pattern, placeholder="a word; esc shows all again")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#filter", Input).set_class(bool(self._pattern), "shown")
        self._table.focus()
        self.set_interval(self._interval, self._tick)
        self.run_worker(self._look())

    async def _tick(self) -> None:
        if not self._paused and not self._looking and self.app.screen is self:
            await self._look()

    async def _look(self) -> None:
        self._outdated = True
        if self._looking:
            return  # the one that goes on is followed by another
        self._looking = True
        try:
            while self._outdated:
                self._outdated = False
                pattern = self._pattern
                self._draw(await asyncio.to_thread(self._source.top, pattern, self._sort))
                self._listed = pattern
        finally:
            self._looking = False
        if self._opening:
            self.action_open()

    def on_resize(self, _: Resize) -> None:
        if self._seen is not None:
            self.call_after_refresh(self._draw, self._seen)

    @property
    def _table(self) -> Table:
        return self.query_one("#list", Table)

    def _draw(self, seen: Top) -> None:
        marks = "PAUSED" if self._paused else "", f"by {self._sort}" if self._sort != "trouble" else ""
        self.query_one("#head", Static).update(Text(seen.head(*marks), no_wrap=True, overflow="ellipsis"))
        self.query_one("#needs", Static).update(
            _needs(seen, MOST_NEEDS if self.size.height >= _HIGH else MOST_NEEDS - 1)
        )
        chosen, table = self._key(), self._table
        keys = [line.key for line in seen.lines]
        cursor = keys.index(chosen) if chosen in keys and table.cursor_row else 0
        rows = [(cells(line, table.room, hosts=self._hosts), COLOURS.get(line.worst, "")) for line in seen.lines]
        self._seen = seen
        table.show(columns(table.room, hosts=self._hosts), rows, cursor=cursor)

    def _key(self) -> str:
        """Of the row under the cursor; "" where there is none."""
        line = self._line()
        return line.key if line is not None else ""

    def _line(self) -> Line | None:
        lines, at = self._seen.lines if self._seen else (), self._table.cursor_row
        return lines[at] if 0 <= at < len(lines) else None

    def action_open(self) -> None:
        box = self.query_one("#filter", Input)
        self._opening = not box.has_focus and box.value != self._listed
        if box.has_focus:
            self._table.focus()
        elif not self._opening and (line := self._line()) is not None:
            self.app.push_screen(ProcessScreen(self._source, line.pid, line.name, self._interval, host=line.host))

    def action_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.add_class("shown")
        box.focus()

    def action_leave_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.value = ""
        box.remove_class("shown")
        self._table.focus()

    @on(Input.Changed, "#filter")
    async def _filtered(self, event: Input.Changed) -> None:
        self._pattern = event.value
        self._table.move_cursor(row=0)  # the best of what fits, and not who stood there before
        await self._look()

    async def action_sort(self) -> None:
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        await self._look()

    async def action_pause(self) -> None:
        self._paused = not self._paused
        if self._seen is not None:
            self._draw(self._seen)

    async def action_renew(self) -> None:
        await self._look()

    def action_next(self) -> None:
        keys = [line.key for line in self._seen.lines] if self._seen else []
        needy = [f"{need.host}/{need.pid}" for need in self._seen.needs] if self._seen else []
        if not needy:
            self.notify("Nobody needs you.")
            return
        here = self._key()
        after = needy[(needy.index(here) + 1) % len(needy)] if here in needy else needy[0]
        if after in keys:
            self._table.move_cursor(row=keys.index(after))

    def action_copy(self) -> None:
        line = self._line()
        if line is not None:
            words = f"pellucid why {line.pid}" + (f" --host {line.host}" if line.host else "")
            self.app.copy_to_clipboard(words)
            self.notify(words, title="copied, where the terminal takes it")

    def action_help(self) -> None:
        self.app.push_screen(Help())


def _needs(seen: Top, most: int) -> Group:
    """A line each; what is too long for one goes on below its own text."""
    grid = Grid.grid(padding=0)
    for need in seen.needs[:most]:
        sign, _, rest = said(need).partition("  ")
        style = COLOURS[need.severity]
        grid.add_row(Text(f"{sign}  ", style=style, no_wrap=True), Text(rest, style=style))
    others = Text()
    if len(seen.needs) > most:
        others.append(f"and {len(seen.needs) - most} more: n goes from one to the next\n")
    if not seen.needs:
        others.append("Nobody needs you, of the Python processes that were looked at.\n")
    for line in seen.not_seen:
        others.append(f"not seen: {line}\n", style="dim")
    others.rstrip()
    return Group(*([grid] if seen.needs else []), *([others] if others else []))
