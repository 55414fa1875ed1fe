"""Where the threads of a process spend the window: a hundred samples a second, and a few looks into the innermost frames of those that run.

The looks tell what samples alone can't: that a text becomes longer and is copied each time, that a call of a regular expression does not
return. Whether a garbage collection is under way stands in the interpreter's own record, and is read with each sample.
"""

import random
import time
from collections import Counter
from itertools import pairwise

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.model import Frame, Process, Stack
from pellucid.model.errors import NoSuchProcess, NotUnderstood
from pellucid.model.hot_time import Busy, Growing, HotTime, Searching, Spot
from pellucid.observe.sampler_states import Doing, States
from pellucid.observe.window import Seen, Window
from pellucid.runtimes import cpython
from pellucid.runtimes.cpython.gc_state import CollectorState
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.sampled import Sampled
from pellucid.runtimes.cpython.slots import Opener, Slots
from pellucid.runtimes.cpython.sync import Sights
from pellucid.runtimes.cpython.threads import ThreadState
from pellucid.runtimes.cpython.trie import EMPTY
from pellucid.runtimes.cpython.values import Values

EVERY_S = 0.01
LOOK_S = 0.1
"""Between two looks into frames."""
MOST_THREADS = 200
MOST_LOOKED = 4
"""Threads whose frames are looked into at once."""
LEAST_QUEUE = 3
"""Threads at one line: then which lock they wait for is looked up."""
MOST_SPOTS = 20
MOST_SLOTS = 64
LEAST_LENGTH = 1 << 16
"""Of what may be growing: copying less takes no time."""
_REFRESH_S = 0.2
_SEQUENCES = frozenset({"str", "bytes", "tuple"})


def watch(process: Process, window: Window) -> Seen:
    """Of `process`, until the window is over. Raises NotPermitted, NoSuchProcess; nothing is seen of what runs no Python."""
    try:
        python = cpython.attach(process.pid)
    except NotUnderstood:
        return Seen(None)
    with python:
        look = _Look(python)
        try:
            look.run(window)
        except Unreadable:
            raise NoSuchProcess.ended(process.pid, f"sample pid {process.pid}") from None
        finally:
            look.states.close()
        return Seen(look.seen())


class _Where(Struct, frozen=True):
    """What a stack says: its innermost frame, and the innermost one of the program's own code."""

    inner: Frame | None
    own: Frame | None


class _Thread:
    """What is counted of one thread."""

    def __init__(self, tid: int, inner_tid: int, doing: Doing) -> None:
        self.tid = tid
        self.inner_tid = inner_tid
        """As the thread itself calls it: another number in a container."""
        self.doing = doing
        self.name = ""
        self.samples = self.running = self.waiting = self.wants_gil = self.holds_gil = self.collecting = self.turns = 0
        self.inner = Counter[Frame]()
        self.own = Counter[Frame]()
        self.waits = Counter[Frame]()
        self.collected_at = Counter[Frame]()
        self.waited_at: Frame | None = None
        self.left = False
        self.lock = ""
        """A lock of the program that it was found waiting for."""
        self.node = -1
        self.steady_since = 0.0
        self.lengths: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.call: tuple[int, int, tuple[int, ...]] | None = None
        self.searching: Searching | None = None
        self.call_since = 0.0


class _Look:
    def __init__(self, python: CPython) -> None:
        self.python = python
        self.sampled = Sampled(python, 1 / EVERY_S)
        self.states = States(python.memory.pid, self.sampled.in_gil)
        self.values = Values(python.memory, python.layout)
        self.opener = Opener(self.values, python.codes)
        self.threads: dict[ThreadState, _Thread] = {}
        self.places: dict[int, _Where] = {}
        self.held = Counter[Frame]()
        self.samples = 0
        self.seconds = 0.0
        self.collector: CollectorState | None = None
        self.collections: list[int] = []

    def run(self, window: Window) -> None:
        began = refreshed = looked = time.monotonic()
        jitter = random.Random().random
        while window.wait(2 * jitter() * EVERY_S):
            self._tick()
            now = time.monotonic()
            if now - looked > LOOK_S:
                looked = now
                self._look_inside(now)
            if now - refreshed > _REFRESH_S:
                refreshed = now
                self.sampled.refresh(new=True)
                self._count_collections()
        self._count_collections()
        self.seconds = time.monotonic() - began

    def _tick(self) -> None:
        tick = self.sampled.tick()
        self.samples += 1
        for thread in tick.threads[:MOST_THREADS]:
            if thread not in self.threads or self.threads[thread].inner_tid != thread.tid:
                tid = self.sampled.tid(thread)
                if tid is not None:
                    known = self.states.threads.get(tid) or self.states.watch(tid)
                    self.threads[thread] = _Thread(tid, thread.tid, known)
        for thread in tick.moved:
            if thread in self.threads:
                self.threads[thread].doing.dirty = True
        for thread in tick.threads[:MOST_THREADS]:
            if thread in self.threads:
                self.threads[thread].doing.holds = thread.state in tick.holders
        self.states.tick(self.states.process_cpu_s())
        collecting = self._collecting()
        wanted = False
        now = time.monotonic()
        for thread in tick.threads[:MOST_THREADS]:
            counted = self.threads.get(thread)
            if counted is not None:
                wanted = self._count(counted, thread, thread.state in tick.holders, collecting, now) or wanted
        if wanted:
            for thread in tick.threads:
                own = self._where(thread.walked.node).own if thread.state in tick.holders else None
                if own is not None:
                    self.held[own] += 1

    def _count(self, counted: _Thread, thread: ThreadState, holds: bool, collecting: bool, now: float) -> bool:
        """One sample; whether it wants the GIL."""
        node = thread.walked.node
        where = self._where(node)
        state = "running" if holds and counted.doing.state != "waiting" else counted.doing.state
        counted.samples += 1
        counted.holds_gil += holds
        if node != counted.node or state != "running":
            counted.node, counted.steady_since = node, now
        if state == "waiting":
            counted.waiting += 1
            if where.inner is not None and counted.doing.futex:
                counted.waits[where.inner] += 1
                counted.turns += counted.left and where.inner == counted.waited_at
                counted.waited_at, counted.left = where.inner, False
            else:
                counted.left = True  # it sleeps elsewhere, as under the lock that it has got
            return False
        counted.left = True
        if state == "gil":
            counted.wants_gil += 1
            return True
        if state == "running":
            counted.running += 1
            if where.inner is not None:
                counted.inner[where.inner] += 1
            if where.own is not None:
                counted.own[where.own] += 1
            if collecting and holds:
                counted.collecting += 1
                if where.own is not None:
                    counted.collected_at[where.own] += 1
        return False

    def _where(self, node: int) -> _Where:
        known = self.places.get(node)
        if known is None:
            frames = self.sampled.frames(node) if node != EMPTY else ()
            own = next((frame for frame in frames if frame.own), None)
            known = self.places[node] = _Where(frames[0] if frames else None, own)
        return known

    def _collecting(self) -> bool:
        if self.collector is None and self.sampled.interpreters:
            oldest = self.sampled.interpreters[-1]
            self.collector = CollectorState(self.python, oldest.address, oldest.id)
        try:
            return self.collector is not None and self.collector.collecting()
        except Unreadable:
            return False  # the tick that follows says so, if the process has ended

    def _count_collections(self) -> None:
        if self.collector is None:
            return
        try:
            read = self.collector.read(frozen=False)
        except Unreadable:
            return
        self.collections.append(sum(each.collections for each in read.generations))

    def _look_inside(self, now: float) -> None:
        """Into the innermost frames of the threads that run most."""
        busy = sorted(
            (each for each in self.threads.values() if each.doing.state == "running"), key=lambda each: -each.running
        )
        wanted = {each.tid: each for each in busy[:MOST_LOOKED]}
        queued = self._queued()
        if not wanted and not queued:
            return
        self.values.forget()
        reading = self.python.read()
        if queued:
            self._name_locks(queued, reading.stacks)
        contents = self.python.contents()
        by_state = {thread.state: counted for thread, counted in self.threads.items() if counted.tid in wanted}
        for raw in self.python.raw:
            counted = by_state.get(raw.state)
            if counted is None or raw.walked.moving or not raw.walked.activations:
                continue
            innermost = raw.walked.activations[0]
            try:
                frame = self.opener.open(innermost, contents.get(raw.state))
                if frame is not None:
                    self._look_at(counted, frame, now)
            except Unreadable:
                continue  # something in it was freed meanwhile

    def _queued(self) -> list[_Thread]:
        """Threads of which several sleep most of their time at the same line of the program, and whose lock is not known."""
        at = Counter(each.waits.most_common(1)[0][0] for each in self.threads.values() if each.waits)
        found = []
        for each in self.threads.values():
            frame = each.waits.most_common(1)[0][0] if each.waits else None
            if frame is not None and frame.own and at[frame] >= LEAST_QUEUE and not each.lock and each.doing.futex:
                found.append(each)
        return found

    def _name_locks(self, queued: list[_Thread], stacks: tuple[Stack, ...]) -> None:
        sights = Sights(self.python, stacks)
        for each in queued[:MOST_LOOKED]:
            blocked = sights.blocked(each.tid, each.doing.futex)
            if blocked is not None and blocked.sync is not None and blocked.role in {"lock", "rlock"}:
                each.lock = f"{blocked.sync.kind} {blocked.sync.name or ''}".strip()

    def _look_at(self, counted: _Thread, frame: Slots, now: float) -> None:
        names = {address: name for name, address in frame.locals().items()}
        pattern, text = False, None
        longest: dict[tuple[str, str], tuple[int, int]] = {}
        for address in dict.fromkeys(frame.slots[:MOST_SLOTS]):
            kind = self.values.name_of_kind(address)
            if kind == "Pattern":
                pattern = True
            elif kind in _SEQUENCES:
                length = self._length(address, kind)
                if length is None:
                    continue
                if kind != "tuple":
                    text = max(text or 0, length)
                key = (names.get(address, ""), kind)
                if length >= LEAST_LENGTH and length > longest.get(key, (0, 0))[1]:
                    longest[key] = address, length
        for key, seen in longest.items():
            before = counted.lengths.setdefault(key, [])
            if seen not in before[-1:]:  # the same one is the same moment: the thread had no CPU in between
                before.append(seen)
        call = (frame.address, frame.unit, frame.slots)
        if call != counted.call or counted.steady_since > counted.call_since:
            counted.call, counted.call_since = call, now
        elif pattern:
            unbroken = now - max(counted.call_since, counted.steady_since)
            if counted.searching is None or unbroken > counted.searching.unbroken_s:
                counted.searching = Searching(unbroken, text)

    def _length(self, address: int, kind: str) -> int | None:
        field = {"str": "unicode_object.length", "bytes": "bytes_object.ob_size", "tuple": "tuple_object.ob_size"}[kind]
        try:
            length = self.values.pages.i64(address + self.values.layout[field])
        except Unreadable:
            return None
        return length if 0 <= length < 1 << 40 else None

    def seen(self) -> HotTime:
        for thread, counted in self.threads.items():
            counted.name = self.sampled.name(thread, counted.tid) or str(counted.tid)
        return HotTime(
            seconds=self.seconds,
            samples=self.samples,
            threads=tuple(_busy(each) for each in self.threads.values() if each.samples),
            collections=self.collections[-1] - self.collections[0] if len(self.collections) > 1 else None,
            held_gil=_spots(self.held),
        )


def _busy(counted: _Thread) -> Busy:
    return Busy(
        tid=counted.tid,
        name=counted.name,
        samples=counted.samples,
        running=counted.running,
        waiting=counted.waiting,
        wants_gil=counted.wants_gil,
        holds_gil=counted.holds_gil,
        inner=_spots(counted.inner),
        own=_spots(counted.own),
        waits=_spots(counted.waits),
        lock=counted.lock,
        turns=counted.turns,
        collecting=counted.collecting,
        collected_at=_spots(counted.collected_at),
        growing=_growing(counted.lengths),
        searching=counted.searching,
    )


def _spots(counts: Counter[Frame]) -> tuple[Spot, ...]:
    return tuple(Spot(frame, samples) for frame, samples in counts.most_common(MOST_SPOTS))


def _growing(lengths: dict[tuple[str, str], list[tuple[int, int]]]) -> Growing | None:
    """What grew over the most looks without ever becoming shorter in between."""
    found: list[Growing] = []
    for (name, kind), seen in lengths.items():
        begin = 0
        for number in range(1, len(seen) + 1):
            if number == len(seen) or seen[number][1] <= seen[number - 1][1]:
                run = seen[begin:number]
                moved = sum(one[0] != two[0] for one, two in pairwise(run))
                if len(run) > 1:
                    found.append(Growing(name, kind, run[0][1], run[-1][1], moved, len(run) - 1))
                begin = number
    return max(found, key=lambda each: (each.steps, each.last), default=None)
