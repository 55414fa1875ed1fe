"""What all open pages show, renewed in one place: the list every two seconds, and a closer look at those processes that somebody has open.

Nobody looks: the list is read four times a minute, for the histories of memory; the scan and all else rest. Each page is told what has changed
since it was told last, so a slow one gets less, and nothing waits for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from msgspec import Struct

from pellucid.present.view import elsewhere
from pellucid.present.view.board import Board
from pellucid.present.view.deep import Deep, look, refused
from pellucid.present.view.memory_live import MemoryLive
from pellucid.present.view.remote import Remote
from pellucid.present.view.rows import Row
from pellucid.present.view.scan import Looked
from pellucid.present.web.jobs import Jobs

TICK_S = 2.0
SLOWEST_S = 10.0
LIST_SHARE = 0.005
"""Of a CPU, for the list: where there are thousands of processes it is read less often."""
ALONE_S = 15.0
DUTY = 25.0
"""A closer look is made no more often than that many times what it took..."""
RESTING = 8.0
"""...and at one that has used no CPU since then so many times more seldom: there is nothing new but the time."""
LOOKS_AT_ONCE = 2
"""Of all pages together: more would only wait for each other, and keep in memory what they have read."""
KEEP_S = 600.0
"""A process that nobody has open any more keeps its points of memory so long."""
MOST_POINTS = 60
"""Of a history of memory that a page is told at first."""
PING_S = 15.0
_DEEP_VIEWS = frozenset({"now", "waits"})


class Wanted(Struct, frozen=True):
    """What one page shows: a process and a view, or neither. `host`: the machine of the process, "" for this one."""

    pid: int | None = None
    view: str = ""
    host: str = ""


def _key(wanted: Wanted) -> tuple[str, int]:
    """Of a closer look: one for all views of a process of this machine, of another machine one for each."""
    return (f"{wanted.host} {wanted.view}" if wanted.host else "", wanted.pid or 0)


class Hub:
    """One for the server. `run` renews, `stream` tells."""

    def __init__(self, hello: dict[str, Any], hosts: tuple[str, ...] = ()) -> None:
        self.board = Board()
        self.remotes = {name: Remote(name) for name in hosts}
        self.walks = {name: elsewhere.walk(name) for name in hosts}
        """Who needs somebody on each of the other machines."""
        self.jobs = Jobs(self.tell)
        self.hello = hello
        self.deep: dict[tuple[str, int], Deep] = {}
        """By `_key`."""
        self.memory: dict[int, MemoryLive] = {}
        self.pages: dict[object, Wanted] = {}
        self.refresh_s = 0.0
        """How long the last renewal of the list took, CPU and waiting."""
        self.ending = False
        self._opened = asyncio.Event()
        self._turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lookers = ThreadPoolExecutor(LOOKS_AT_ONCE, "look")
        self._looking: dict[object, asyncio.Task[None]] = {}
        self._not_before: dict[tuple[str, int], float] = {}
        self._seen: dict[tuple[str, int], float] = {}
        self._looked: dict[tuple[str, int], tuple[float, float, float]] = {}
        """Of each closer look here: when, the CPU seconds of the process until then, and those that the look took."""

    async def run(self) -> None:
        """Until cancelled."""
        self.board.scan.start()
        for remote in self.remotes.values():
            remote.wanted(by_anybody=False)
            remote.start()
        for walk in self.walks.values():
            walk.wanted(by_anybody=False)
            walk.start()
        try:
            while True:
                began = time.perf_counter()
                await asyncio.to_thread(self.board.look)
                self.refresh_s = time.perf_counter() - began
                self.board.scan.wanted(by_anybody=bool(self.pages))
                for name, remote in self.remotes.items():
                    remote.wanted(by_anybody=bool(self.pages))
                    self.walks[name].rows({row.pid: row for row in remote.rows})
                    self.walks[name].wanted(by_anybody=bool(self.pages))
                self._look_closer()
                self.tell()
                self._opened.clear()
                try:
                    await asyncio.wait_for(self._opened.wait(), self._pause())
                except TimeoutError:
                    continue
        finally:
            self._lookers.shutdown(wait=False, cancel_futures=True)
            self.board.close()
            for name, remote in self.remotes.items():
                remote.stop()
                self.walks[name].stop()

    def _pause(self) -> float:
        """Seconds until the list is read again."""
        return max(TICK_S, min(SLOWEST_S, self.board.own.list_s / LIST_SHARE)) if self.pages else ALONE_S

    def end(self) -> None:
        """No page is told anything any more."""
        self.ending = True
        self.tell()

    def tell(self) -> None:
        """Wake everybody who waits for news."""
        turn, self._turn = self._turn, asyncio.get_running_loop().create_future()
        if not turn.done():
            turn.set_result(None)

    def _look_closer(self) -> None:
        now = time.monotonic()
        for wanted in set(self.pages.values()):
            pid = wanted.pid
            if pid is None:
                continue
            key = _key(wanted)
            self._seen[key] = now
            if wanted.view == "memory" and not wanted.host:
                self._start(pid, self._memory(pid))
            elif wanted.view in _DEEP_VIEWS and not self._java(wanted):
                known = self.deep.get(key)
                if (
                    now >= self._not_before.get(key, 0.0)
                    and not self._rests(wanted, now)
                    and not (known is not None and refused(known))
                ):
                    self._start(key, self._deep(wanted))
        for key in [key for key, at in self._seen.items() if now - at > KEEP_S]:
            self._forget(key)

    def _rests(self, wanted: Wanted, now: float) -> bool:
        """It has done nothing since it was looked at, and that look was a costly one."""
        row = self.board.rows.get(wanted.pid or 0)
        looked = self._looked.get(_key(wanted))
        if wanted.host or row is None or looked is None:
            return False
        at, cpu_s, cost_s = looked
        return self.board.cpu_s.get(row.pid) == cpu_s and now < at + RESTING * DUTY * cost_s

    def row(self, host: str, pid: int) -> Row | None:
        """Of the list; None where it is not there (any more)."""
        if not host:
            return self.board.rows.get(pid)
        remote = self.remotes.get(host)
        return next((row for row in remote.rows if row.pid == pid), None) if remote is not None else None

    def _java(self, wanted: Wanted) -> bool:
        row = self.row(wanted.host, wanted.pid or 0)
        return row is not None and row.runtime.startswith("JVM")

    def _start(self, key: object, work: Any) -> None:
        if key in self._looking:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._looking[key] = task
        task.add_done_callback(lambda _: self._looking.pop(key, None))

    async def _deep(self, wanted: Wanted, *, ask: bool = False) -> None:
        assert wanted.pid is not None
        began, key = time.monotonic(), _key(wanted)
        if wanted.host:
            self.deep[key] = await asyncio.to_thread(elsewhere.look, wanted.host, wanted.pid, wanted.view)
            self._not_before[key] = began + elsewhere.AGAIN_S
            row = self.row(wanted.host, wanted.pid)
            if row is not None and wanted.view == "now":
                self.walks[wanted.host].learn(elsewhere.learnt(row, self.deep[key]))
        else:
            cpu_s = self.board.cpu_s.get(wanted.pid, 0.0)
            whom = partial(look, wanted.pid, ask=ask)
            self.deep[key] = await asyncio.get_running_loop().run_in_executor(self._lookers, whom)
            self._looked[key] = (began, cpu_s, self.deep[key].cost_s)
            self._not_before[key] = began + DUTY * self.deep[key].cost_s
            self._learn(self.deep[key])
        self.tell()

    def _learn(self, deep: Deep) -> None:
        """The list tells what the closer look has found, too."""
        row = self.board.rows.get(deep.pid)
        if row is not None:
            found = Looked(deep.pid, row.started_at, deep.taken_at, deep.findings, deep.cost_s, deep.failed)
            self.board.scan.learn(found)

    async def ask(self, wanted: Wanted) -> None:
        """A closer look because a person asked for it: also at a JVM, and at one that refused before."""
        await self._deep(wanted, ask=True)

    async def _memory(self, pid: int) -> None:
        live = self.memory.get(pid)
        if live is None:
            row = self.board.rows.get(pid)
            live = await asyncio.to_thread(MemoryLive, pid, row.runtime if row else "")
            self.memory[pid] = live
        await asyncio.to_thread(live.look)
        self.tell()

    def _forget(self, key: tuple[str, int]) -> None:
        del self._seen[key]
        self.deep.pop(key, None)
        self._not_before.pop(key, None)
        self._looked.pop(key, None)
        live = self.memory.pop(key[1], None) if not key[0] else None
        if live is not None:
            live.close()

    async def stream(self, wanted: Wanted) -> AsyncIterator[tuple[str, Any]]:
        """(name of the event, its value): everything at first, then what has changed. ("", None) now and then: the page is still there."""
        key = object()
        self.pages[key] = wanted
        self._opened.set()
        told = _Told(self, wanted)
        try:
            yield "hello", self.hello
            while not self.ending:
                turn = self._turn
                for event in told.news():
                    yield event
                try:
                    await asyncio.wait_for(asyncio.shield(turn), PING_S)
                except TimeoutError:
                    yield "", None
        finally:
            del self.pages[key]


class _Told:
    """What one page knows."""

    def __init__(self, hub: Hub, wanted: Wanted) -> None:
        self.hub = hub
        self.wanted = wanted
        self.rows: dict[int, Any] = {}
        self.found: dict[int, Looked] = {}
        self.points = -1
        self.at = 0.0
        self.deep: Deep | None = None
        self.count = -1
        self.failed: Any = None
        self.jobs = -1
        self.hosts: dict[str, tuple[int, dict[int, Looked]]] = {}
        """Of each of the other machines: how many lists there were, and what the walk had found."""

    def news(self) -> list[tuple[str, Any]]:
        """Everything that differs from what was told."""
        events: list[tuple[str, Any]] = []
        board = self.hub.board
        if board.at and board.at != self.at:
            self.at = board.at
            events.append(("list", self._list()))
        found = board.scan.found
        if found is not self.found:
            changed = [one for pid, one in found.items() if self.found.get(pid) is not one]
            gone = [pid for pid in self.found if pid not in found]
            self.found = found
            events.append(("found", {"changed": changed, "gone": gone}))
        for name, remote in self.hub.remotes.items():
            now = remote.looks, self.hub.walks[name].found
            before = self.hosts.get(name)
            if before is None or before[0] != now[0] or before[1] is not now[1]:
                self.hosts[name] = now
                told = {"name": name, "rows": remote.rows, "failed": remote.failed, "found": [*now[1].values()]}
                events.append(("host", told))
        pid, host = self.wanted.pid, self.wanted.host
        if pid is not None:
            deep = self.hub.deep.get(_key(self.wanted))
            if deep is not None and deep is not self.deep and self.wanted.view != "memory":
                self.deep = deep
                events.append(("deep", deep))
            events += self._memory(pid)
            if self.hub.jobs.version != self.jobs:
                self.jobs = self.hub.jobs.version
                events.append(
                    (
                        "jobs",
                        [job.row() for job in self.hub.jobs.all.values() if (job.pid, job.asked.host) == (pid, host)],
                    )
                )
        return events

    def _list(self) -> dict[str, Any]:
        board = self.hub.board
        rows = board.rows
        changed = [row for pid, row in rows.items() if self.rows.get(pid) is not row]
        gone = [pid for pid in self.rows if pid not in rows]
        fresh = [pid for pid in rows if pid not in self.rows]
        self.rows = rows
        memory: dict[str, list[int]] = {}
        if board.points != self.points:
            whole = self.points < 0
            self.points = board.points
            for pid, points in board.memory.items():
                memory[str(pid)] = _thinned(points) if whole or pid in fresh else [points[-1]]
        told = {"changed": changed, "gone": gone, "memory": memory, "whole": fresh}
        return {**told, "at": board.at, "own": board.own, "refresh_s": round(self.hub.refresh_s, 5)}

    def _memory(self, pid: int) -> list[tuple[str, Any]]:
        live = self.hub.memory.get(pid)
        if live is None or self.wanted.view != "memory" or self.wanted.host:
            return []
        if live.count == self.count and live.failed == self.failed:
            return []
        new = live.count - max(self.count, 0) if self.count >= 0 else len(live.points)
        points = list(live.points)[-new:] if new else []
        self.count, self.failed = live.count, live.failed
        return [("memory", {"points": points, "failed": live.failed, "no_collector": live.no_collector})]


def _thinned(points: Any) -> list[int]:
    every = max(1, len(points) // MOST_POINTS)
    return list(points)[::-every][::-1]
