"""The asyncio tasks of a process: each with its chain of awaits, what it waits for, and who waits for it."""

import time
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from pellucid.kernel.memory import Unreadable
from pellucid.model import Frame, Gap, Holder
from pellucid.model.graph import Node, Waker
from pellucid.model.report import TasksReport
from pellucid.model.sync import Sync, Waiting
from pellucid.model.task import AsyncTask
from pellucid.observe.stacks import Look, cost
from pellucid.runtimes.cpython import CPython
from pellucid.runtimes.cpython.asyncio_loops import copied, loops_inside_a_callback
from pellucid.runtimes.cpython.asyncio_tasks import Awaiting, Tasks
from pellucid.runtimes.cpython.asyncio_waits import TaskWait, wait_of
from pellucid.runtimes.cpython.holders import Hold
from pellucid.runtimes.cpython.sight import place_of
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.sync import Sights


def tasks(pid: int) -> TasksReport:
    """`pellucid stacks --tasks`: one look. NotUnderstood where there is no Python, NotPermitted where its memory can't be read."""
    began, cpu = time.perf_counter(), time.process_time()
    with Look(pid, "stacks") as look:
        if look.why_not is not None:
            raise look.why_not
        stacks = look.stacks()
        assert isinstance(look.runtime, CPython)
        sights = Sights(look.runtime, stacks.values())
        seen = TaskLook(sights)
        if sights.registry.module("asyncio.tasks") and not seen.known:
            look.gaps.append(
                Gap("the asyncio tasks", "the layout of its tasks is not published (.AsyncioDebug was not found)")
            )
        if seen.copied:
            look.gaps.append(
                Gap(
                    "the asyncio tasks",
                    "they are copies that fork made, and their loop does not run in this process",
                    f"pellucid stacks --tasks {look.process.ppid}",
                )
            )
        return TasksReport(
            process=look.process,
            taken_at=time.time(),
            gaps=tuple(dict.fromkeys(look.gaps)),
            tasks=seen.values(),
            cost=cost(look, began, cpu),
        )


class TaskLook:
    """All tasks of one process at one moment, with their waits and the holders of asyncio's locks."""

    def __init__(self, sights: Sights) -> None:
        self._sights = sights
        reader = Tasks(sights)
        self.known = reader.known
        self.copied = copied(sights)
        self.tasks = {} if self.copied else {task.address: task for task in reader.all()}
        self.waits: dict[int, TaskWait] = {}
        self.holds: dict[int, list[Hold]] = {}
        for address, task in self.tasks.items():
            wait = wait_of(task, self.tasks, sights)
            if wait is not None:
                self.waits[address] = wait
            for hold in reader.holds(task):
                self.holds.setdefault(hold.thing, []).append(hold)
        self._conditions_of: dict[int, list[int]] | None = None
        self.loops = loops_inside_a_callback(self.tasks.values(), sights)

    def timed(self) -> set[int]:
        """The tasks that a timeout may cancel: inside of asyncio.timeout() or wait_for(), and those that such a task waits for."""
        found = {
            hold.who
            for thing, several in self.holds.items()
            if self._sights.values.name_of_kind(thing) == "Timeout"
            for hold in several
        }
        found |= {other for wait in self.waits.values() if wait.role == "wait_for" for other in wait.on}
        level = list(found)
        while level:
            wait = self.waits.get(level.pop())
            more = [other for other in wait.on if other not in found] if wait else []
            found.update(more)
            level += more
        return found

    def again(self) -> Mapping[int, tuple[object, ...]]:
        """The footprint of every task, read once more."""
        self._sights.values.forget()
        return {task.address: task.footprint() for task in Tasks(self._sights).all()}

    def holders(self, address: int) -> list[Hold]:
        """Who is inside of an `async with` over the lock that the task waits for."""
        wait = self.waits.get(address)
        if wait is None or wait.role not in {"lock", "semaphore", "condition"} or not wait.sync.address:
            return []
        things = (wait.sync.address, *self._conditions().get(wait.sync.address, ()))
        held = {hold.who: hold for thing in things for hold in self.holds.get(thing, ())}
        return [hold for hold in held.values() if not self._gave_back(hold)]

    def _conditions(self) -> dict[int, list[int]]:
        """The lock of each asyncio.Condition that somebody is inside of → the condition: to be inside of that is to have the lock."""
        if self._conditions_of is None:
            self._conditions_of = {}
            values = self._sights.values
            for thing in self.holds:
                if values.name_of_kind(thing) == "Condition":
                    try:
                        self._conditions_of.setdefault(values.named(thing, "_lock"), []).append(thing)
                    except Unreadable:
                        continue
        return self._conditions_of

    def _gave_back(self, hold: Hold) -> bool:
        """Who waits for a condition has given its lock back, and is still inside of the `async with` when it takes it again."""
        task = self.tasks.get(hold.who)
        for frame in task.frames if task is not None else ():
            if frame.qualname == "Condition.wait" and frame.file.endswith("asyncio/locks.py"):
                condition = frame.local("self")
                return hold.thing in {condition, self._lock_of(condition)}
        return False

    def _lock_of(self, condition: int) -> int:
        try:
            return self._sights.values.named(condition, "_lock")
        except Unreadable:
            return 0

    def values(self) -> tuple[AsyncTask, ...]:
        awaited: dict[int, list[str]] = {}
        for address, wait in self.waits.items():
            for other in wait.on:
                awaited.setdefault(other, []).append(self.tasks[address].name)
        return tuple(
            AsyncTask(
                name=task.name,
                coroutine=task.coroutine,
                state=task.state,
                stack=tuple(_frame(frame) for frame in task.frames),
                awaits=self._awaits(address),
                awaited_by=tuple(awaited.get(address, ())),
                held_by=tuple(dict.fromkeys(self.tasks[hold.who].name for hold in self.holders(address))),
            )
            for address, task in self.tasks.items()
        )

    def _awaits(self, address: int) -> str | None:
        wait = self.waits.get(address)
        if wait is None:
            return None
        names = [self.tasks[other].name for other in wait.on]
        if wait.role in {"gather", "group", "wait"} and names:
            return f"{wait.sync}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        return str(wait.sync)

    def nodes(
        self, pid: int, again: Mapping[int, tuple[object, ...]], process: str, asleep: Callable[[int], bool]
    ) -> list[Node]:
        """The tasks as nodes of the graph of waits. `asleep` says whether a thread slept through the whole look."""
        timed, found = self.timed(), []
        for address, task in self.tasks.items():
            node = self._node(pid, task, task.footprint() == again.get(address), process, address in timed)
            tid = self.loops.get(address)
            found.append(node if tid is None or not asleep(tid) else self._held_up(node, task, tid))
        return found

    def _held_up(self, node: Node, task: Awaiting, tid: int) -> Node:
        """A task whose loop is inside of a call that waits: nothing of that loop goes on before the call returns."""
        waker = Waker(f"{node.pid}/{tid}", "certain", "its event loop is inside of a call there")
        waiting = node.waiting
        wait = self.waits.get(task.address)
        due = wait is None or (wait.until is not None and wait.until < time.monotonic())
        if due and not task.running:  # it is ready to go on
            thread = self._sights.threads[tid].name
            sync = Sync("event loop", None, f"inside of a call in {thread}")
            at = place_of(task.frames[0]) if task.frames else ""
            waiting = self._waiting(node.pid, task, TaskWait("blocked-loop", sync, at), True, "", False)
            waiting = replace(waiting, holders=(Holder(node.pid, tid, thread, "certain"),))
        others = node.wakers if node.mode == "and" else ()
        return replace(node, mode="and", wakers=(*others, waker), waiting=waiting)

    def _node(self, pid: int, task: Awaiting, steady: bool, process: str, timed: bool) -> Node:
        wait = self.waits.get(task.address)
        wakers: tuple[Waker, ...] = ()
        mode = "live"
        held = [hold for hold in self.holders(task.address) if wait is not None and wait.role == "lock"]
        if wait is not None and wait.until is None and steady and not task.running and not timed:
            if wait.on and (wait.role == "task" or not wait.every):
                mode = "and" if wait.role == "task" else "or"
                wakers = tuple(
                    Waker(f"{pid}/task/{other:x}", "certain", f"awaits {self.tasks[other].name}") for other in wait.on
                )
            elif wait.thread is not None:
                mode = "and"
                wakers = (Waker(f"{pid}/{wait.thread}", "certain", "it computes what is awaited"),)
            elif held:
                mode = "and"
                wakers = tuple(Waker(f"{pid}/task/{hold.who:x}", "certain", _because(hold)) for hold in held)
        return Node(
            key=f"{pid}/task/{task.address:x}",
            kind="task",
            pid=pid,
            name=task.name,
            mode="and" if mode == "and" else "or" if mode == "or" else "live",
            wakers=wakers,
            waiting=self._waiting(pid, task, wait, steady, process, timed) if wait else None,
            parks=wait is not None and wait.role not in {"lock", "task"},
        )

    def _waiting(self, pid: int, task: Awaiting, wait: TaskWait, steady: bool, process: str, timed: bool) -> Waiting:
        sync: Sync = wait.sync
        holders = [Holder(pid, None, self.tasks[hold.who].name, "certain") for hold in self.holders(task.address)]
        holders += (Holder(pid, None, self.tasks[other].name, "certain") for other in wait.on[:16])
        if wait.thread is not None:
            holders.append(Holder(pid, wait.thread, self._sights.threads[wait.thread].name, "certain"))
        left = wait.until if wait.until is not None else self._deadline(task.address)
        return Waiting(
            thread=task.name,
            kind=sync.kind,
            object=sync.name,
            since_s=None,
            holders=tuple(dict.fromkeys(holders)),
            at=wait.at,
            pid=pid,
            tid=None,
            what="task",
            role=wait.role,
            detail=sync.detail,
            timed=timed or left is not None,
            left_s=None if left is None else max(0.0, left - time.monotonic()),
            steady=steady,
            sync=sync,
            process=process,
        )

    def _deadline(self, address: int) -> float | None:
        """When the innermost asyncio.timeout() that the task is inside of ends, by CLOCK_MONOTONIC."""
        values = self._sights.values
        found: list[float] = []
        for thing, several in self.holds.items():
            if any(hold.who == address for hold in several) and values.name_of_kind(thing) == "Timeout":
                try:
                    found.append(values.real(values.named(thing, "_when")))
                except Unreadable:  # without a limit: None
                    continue
        return min(found, default=None)


def _because(hold: Hold) -> str:
    return f"inside its `async with` at {hold.file.rpartition('/')[2]}:{hold.line if hold.line is not None else '?'}"


def _frame(frame: Slots) -> Frame:
    code = frame.shape.code
    return Frame(function=code.name, qualname=code.qualname, file=code.file, line=frame.line)
