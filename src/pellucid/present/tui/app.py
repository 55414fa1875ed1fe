"""The list of processes on the terminal, by textual. What it shows is `present.view.top`; here are widgets and keys."""

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Static

from pellucid.present.tui.process import ProcessScreen
from pellucid.present.tui.source import Source
from pellucid.present.view.top import SORTS, Line, Sort, Top, cells, columns, said

COLOURS = {"critical": "bold red", "warning": "bold yellow", "notice": "cyan"}
MOST_NEEDS = 4
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
q       quit

Nothing here stops or changes a process. A look that
costs something says so, and begins with enter.
The same as text: pellucid top --plain"""


class TopApp(App[None]):
    """`pellucid top`."""

    TITLE = "pellucid top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; text-style: bold; }
    #needs { height: auto; max-height: 8; }
    #filter { dock: bottom; height: 1; border: none; display: none; }
    #filter.shown { display: block; }
    DataTable { height: 1fr; }
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
        super().__init__()
        self.source = source
        self.interval = interval
        self._pid = pid
        self._pattern = pattern
        self._sort = sort

    def on_mount(self) -> None:
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


class Rows(DataTable[Text]):
    """home and end go to the first and the last row: its cursor is a whole row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_top", "first", show=False),
        Binding("end", "scroll_bottom", "last", show=False),
    ]


class ListScreen(Screen[None]):
    """Everything that runs, worst first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", priority=True),
        Binding("slash", "filter", "filter"),
        Binding("s", "sort", "sort"),
        Binding("p,space", "pause", "pause"),
        Binding("n", "next", "next in need"),
        Binding("c", "copy", "copy command"),
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
        self._seen: Top | None = None
        self._shown: dict[str, tuple[str, ...]] = {}
        self._hosts = bool(source.hosts)

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="needs")
        yield Rows(id="list", cursor_type="row", zebra_stripes=False)
        yield Input(id="filter", value=self._pattern, placeholder="a word; esc shows all again")
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one("#list", DataTable)
        for head in columns(hosts=self._hosts):
            table.add_column(head, key=head or "sign")
        table.focus()
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
                self._draw(await asyncio.to_thread(self._source.top, self._pattern, self._sort))
        finally:
            self._looking = False

    def _draw(self, seen: Top) -> None:
        self._seen = seen
        head = Text(
            seen.head + ("  PAUSED" if self._paused else "") + (f"  by {self._sort}" if self._sort != "trouble" else "")
        )
        self.query_one("#head", Static).update(head)
        self.query_one("#needs", Static).update(_needs(seen))
        self._fill(seen.lines)

    def _fill(self, lines: tuple[Line, ...]) -> None:
        """Cells that changed alone are drawn anew while the order stays: a whole table costs some hundred times as much."""
        table = self.query_one("#list", DataTable)
        wanted = {line.key: cells(line, hosts=self._hosts) for line in lines}
        worst = {line.key: line.worst for line in lines}
        heads = columns(hosts=self._hosts)
        if list(wanted) == list(self._shown):
            for key, row in wanted.items():
                for head, cell, before in zip(heads, row, self._shown[key], strict=True):
                    if cell != before:
                        table.update_cell(key, head or "sign", Text(cell, style=COLOURS.get(worst[key], "")))
        else:
            chosen, at = self._key(), table.cursor_row
            table.clear()
            for key, row in wanted.items():
                table.add_row(*(Text(cell, style=COLOURS.get(worst[key], "")) for cell in row), key=key)
            keys = list(wanted)
            table.move_cursor(row=keys.index(chosen) if chosen in wanted and at else 0)
        self._shown = wanted

    def _key(self) -> str:
        """Of the row under the cursor; "" where there is none."""
        table = self.query_one("#list", DataTable)
        keys = list(self._shown)
        return keys[table.cursor_row] if 0 <= table.cursor_row < len(keys) else ""

    def _line(self) -> Line | None:
        key = self._key()
        return next((line for line in self._seen.lines if line.key == key), None) if self._seen else None

    def action_open(self) -> None:
        if self.query_one("#filter", Input).has_focus:
            self.query_one("#list", DataTable).focus()
            return
        line = self._line()
        if line is not None:
            self.app.push_screen(ProcessScreen(self._source, line.pid, line.name, self._interval, host=line.host))

    def action_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.add_class("shown")
        box.focus()

    def action_leave_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.value = ""
        box.remove_class("shown")
        self.query_one("#list", DataTable).focus()

    @on(Input.Changed, "#filter")
    async def _filtered(self, event: Input.Changed) -> None:
        self._pattern = event.value
        self.query_one("#list", DataTable).move_cursor(row=0)  # the best of what fits, and not who stood there before
        await self._look()

    async def action_sort(self) -> None:
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._shown = {} if self._seen is None else self._shown
        await self._look()

    async def action_pause(self) -> None:
        self._paused = not self._paused
        if self._seen is not None:
            self._draw(self._seen)

    async def action_renew(self) -> None:
        await self._look()

    def action_next(self) -> None:
        keys = list(self._shown)
        needy = [f"{need.host}/{need.pid}" for need in self._seen.needs] if self._seen else []
        if not needy:
            self.notify("Nobody needs you.")
            return
        here = self._key()
        after = needy[(needy.index(here) + 1) % len(needy)] if here in needy else needy[0]
        if after in keys:
            self.query_one("#list", DataTable).move_cursor(row=keys.index(after))

    def action_copy(self) -> None:
        line = self._line()
        if line is not None:
            words = f"pellucid why {line.pid}" + (f" --host {line.host}" if line.host else "")
            self.app.copy_to_clipboard(words)
            self.notify(words, title="copied, where the terminal takes it")

    def action_help(self) -> None:
        self.app.push_screen(Help())


def _needs(seen: Top) -> Text:
    text = Text()
    for need in seen.needs[:MOST_NEEDS]:
        text.append(said(need) + "\n", style=COLOURS[need.severity])
    if len(seen.needs) > MOST_NEEDS:
        text.append(f"and {len(seen.needs) - MOST_NEEDS} more: n goes from one to the next\n")
    if not seen.needs:
        text.append("Nobody needs you, of the Python processes that were looked at.\n")
    for line in seen.not_seen:
        text.append(f"not seen: {line}\n", style="dim")
    text.rstrip()
    return text
