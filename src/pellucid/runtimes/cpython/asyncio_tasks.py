"""The asyncio tasks of a process, each with its chain of awaits and what it waits for.

Where the tasks are listed: 3.11 asyncio.tasks._all_tasks, 3.12 and 3.13 _scheduled_tasks and _eager_tasks (Lib/asyncio/tasks.py); from
3.14 on linked lists that begin in each thread state and in the interpreter (Modules/_asynciomodule.c, register_task), whose layout the
module publishes in its section .AsyncioDebug: thirteen 64-bit numbers.

A suspended coroutine has what it awaits on top of its value stack, and that its own, down to a future: the chain of awaits is a stack.
"""

from collections.abc import Iterator
from struct import unpack_from

from msgspec import Struct

from pellucid.kernel import elf, maps
from pellucid.kernel.memory import Unreadable
from pellucid.model.errors import LookError
from pellucid.runtimes.cpython.holders import Hold, generator_frame, holds
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.sync import Sights

MAX_TASKS = 100_000
MAX_AWAITS = 200
_SECTION = ".AsyncioDebug"
_NUMBERS = 13
_AWAITABLES = frozenset(
    {"coroutine", "generator", "async_generator", "coroutine_wrapper", "async_generator_asend", "FutureIter"}
)
_TOP = 3
"""Slots below the top that are looked at: 3.15 leaves one or two others above what is awaited."""

STATES = {0: "pending", 1: "cancelled", 2: "finished"}


class Fields(Struct, frozen=True):
    """Offsets in a task, and from 3.14 on of the node by which it is linked."""

    state: int
    waiter: int
    coroutine: int
    name: int
    node: int = 0


class Awaiting(Struct, frozen=True):
    """One task. `frames` innermost first; `waiter` is the future that it waits for, 0 for none; `running` on some thread just now."""

    address: int
    name: str
    coroutine: str
    state: str
    frames: tuple[Slots, ...]
    waiter: int
    waiter_kind: str
    running: bool

    def footprint(self) -> tuple[object, ...]:
        """Equal at two looks where the task has not moved between them."""
        return self.address, self.waiter, self.state, tuple((frame.address, frame.unit) for frame in self.frames)


class Tasks:
    """Reads the tasks of one process."""

    def __init__(self, sights: Sights) -> None:
        self._sights = sights
        self._values = sights.values
        self._fields = _fields(sights)

    @property
    def known(self) -> bool:
        """Whether the layout of tasks is known; False also where asyncio was never imported."""
        return self._fields is not None

    def all(self) -> tuple[Awaiting, ...]:
        """Every task that has not finished; one that can't be read is left out."""
        if self._fields is None:
            return ()
        found = []
        running = set(self._running())
        for address in dict.fromkeys(self._addresses(self._fields)):
            try:
                task = self._task(address, self._fields, running)
            except Unreadable:
                continue
            if task is not None:
                found.append(task)
        return tuple(found)

    def holds(self, task: Awaiting) -> Iterator[Hold]:
        """What the task is inside of, by `with` or `async with`; `who` is its address."""
        return holds(task.address, task.frames, self._values, self._sights.opener)

    def _addresses(self, fields: Fields) -> Iterator[int]:
        if fields.node:
            yield from self._linked(fields)
        registry, values = self._sights.registry, self._values
        for name in ("_all_tasks", "_scheduled_tasks"):
            try:
                weak = registry.variable("asyncio.tasks", name)
                members = values.members(values.named(weak, "data"), MAX_TASKS) if weak else ()
            except Unreadable:
                continue
            for reference in members:
                try:
                    yield values.pages.u64(reference + values.layout["weakref.wr_object"])
                except Unreadable:
                    continue
        try:
            eager = registry.variable("asyncio.tasks", "_eager_tasks")
            yield from values.members(eager, MAX_TASKS) if eager else ()
        except Unreadable:
            return

    def _linked(self, fields: Fields) -> Iterator[int]:
        values = self._values
        heads = []
        for raw in self._sights.python.raw:
            heads.append(raw.state + values.layout["thread_state.asyncio_tasks_head"])
            interpreter = values.pages.u64(raw.state + values.layout["thread_state.interp"])
            heads.append(interpreter + values.layout["interpreter_state.asyncio_tasks_head"])
        for head in dict.fromkeys(heads):
            seen: set[int] = set()
            try:
                node = values.pages.u64(head)
                while node and node != head and node not in seen and len(seen) < MAX_TASKS:
                    seen.add(node)
                    yield node - fields.node
                    node = values.pages.u64(node)
            except Unreadable:
                continue

    def _running(self) -> Iterator[int]:
        """The tasks that some thread is inside of."""
        values = self._values
        at = values.layout.get("thread_state.asyncio_running_task")
        try:
            if at is not None:
                yield from (values.pages.u64(raw.state + at) for raw in self._sights.python.raw)
                return
            current = self._sights.registry.variable("asyncio.tasks", "_current_tasks")
            yield from (task for _, task in (values.items(current) if current else ()))
        except Unreadable:
            return

    def _task(self, address: int, fields: Fields, running: set[int]) -> Awaiting | None:
        values, pages = self._values, self._values.pages
        if "Task" not in " ".join(values.bases(values.kind(address))):
            return None
        state = STATES.get(pages.u32(address + fields.state), "")
        if state != "pending":
            return None
        frames = tuple(self._chain(pages.u64(address + fields.coroutine)))
        waiter = pages.u64(address + fields.waiter)
        kind = values.kind(waiter).name if waiter else ""
        if kind == "NoneType":
            waiter, kind = 0, ""
        now = address in running
        return Awaiting(
            address=address,
            name=self._name(pages.u64(address + fields.name)),
            coroutine=frames[-1].qualname if frames else "",
            state="running" if now else "waiting" if waiter else "ready",
            frames=frames,
            waiter=waiter,
            waiter_kind=kind,
            running=now,
        )

    def _name(self, name: int) -> str:
        """A str; a number until the name is asked for the first time (3.12 and later)."""
        values = self._values
        try:
            return values.word(name) if values.is_text(name) else f"Task-{values.number(name)}"
        except Unreadable:
            return "a task"

    def _chain(self, coroutine: int) -> list[Slots]:
        """The frames of a coroutine and of what it awaits, innermost first."""
        found: list[Slots] = []
        values = self._values
        seen: set[int] = set()
        while coroutine and coroutine not in seen and len(found) < MAX_AWAITS:
            seen.add(coroutine)
            kind = values.kind(coroutine).name
            if kind in {"coroutine_wrapper", "async_generator_asend"}:  # cw_coroutine, ags_gen (Objects/genobject.c)
                coroutine = values.pages.u64(coroutine + values.layout["pyobject.size"])
                continue
            frame = generator_frame(coroutine, values, self._sights.opener)
            if frame is None:
                break
            found.append(frame)
            if self._executing(coroutine):
                break
            coroutine = self._awaited(frame, coroutine)
        return found[::-1]

    def _executing(self, coroutine: int) -> bool:
        layout = self._values.layout
        return (
            self._values.pages.read(coroutine + layout["gen_object.gi_frame_state"], 1)[0]
            == layout["frame_state.executing"]
        )

    def _awaited(self, frame: Slots, itself: int) -> int:
        """What the frame awaits: the topmost object of its value stack that can be awaited; 0 where there is none."""
        values, layout = self._values, self._values.layout
        if (at := layout.get("interpreter_frame.stacktop")) is not None:
            depth = values.pages.u32(frame.address + at)
        else:
            top = values.pages.u64(frame.address + layout["interpreter_frame.stackpointer"])
            depth = (top - frame.address - layout["interpreter_frame.localsplus"]) // 8
        lowest = max(frame.shape.locals_, depth - _TOP)
        for place in range(min(depth, len(frame.slots)) - 1, lowest - 1, -1):
            slot = frame.slots[place]
            if slot and slot != itself and values.name_of_kind(slot) in _AWAITABLES:
                return slot
        return 0


def _fields(sights: Sights) -> Fields | None:
    layout = sights.python.layout
    if not sights.registry.module("asyncio.tasks"):
        return None
    if layout.minor < 14:
        return Fields(layout["task.state"], layout["task.fut_waiter"], layout["task.coro"], layout["task.name"])
    published = _published(sights)
    if published is None:
        return None
    _, name, _, _, _, coroutine, node = published[:7]
    # FutureObj_HEAD ends with the state; then come the bits, fut_waiter and coro, a word each (Modules/_asynciomodule.c, TaskObj)
    return Fields(coroutine - 24, coroutine - 8, coroutine, name, node)


def _published(sights: Sights) -> tuple[int, ...] | None:
    """The numbers of .AsyncioDebug: in _asyncio's own library in 3.14, in the program or libpython in 3.15."""
    memory = sights.python.memory
    try:
        mappings = maps.read(memory.pid, "waits")
    except LookError:
        return None
    files: dict[str, maps.Mapping] = {}
    for mapping in mappings:
        name = mapping.path.rpartition("/")[2]
        if mapping.offset == 0 and (name.startswith(("_asyncio", "libpython", "python"))):
            files.setdefault(mapping.path, mapping)
    for mapping in sorted(files.values(), key=lambda each: "_asyncio" not in each.path):
        for path in elf.paths(memory.pid, mapping.start, mapping.end, mapping.path):
            try:
                with elf.ElfFile(path) as image:
                    section = image.section(_SECTION)
                    bias = image.bias(mapping.start)
                if section is None:
                    break
                return unpack_from(f"<{_NUMBERS}Q", memory.read(section[0] + bias, 8 * _NUMBERS))
            except (OSError, elf.NotElf, Unreadable):
                continue
    return None
