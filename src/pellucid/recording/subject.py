"""One process that is recorded: its samples, its numbers, and its end. All of it is done by the thread that samples.

A process in which nothing runs costs one reading of its CPU clock at each tick, and one small row each few seconds.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.kernel.exits import Life, decoded
from pellucid.kernel.procfs import read_small
from pellucid.model import Gap, Process, Snapshot
from pellucid.model.collector import Collector as JavaCollector
from pellucid.model.errors import LookError, NoSuchProcess
from pellucid.model.memory import MemoryMap, MemorySample
from pellucid.model.recording import Death
from pellucid.observe.identity import runtime
from pellucid.observe.memory import Watch
from pellucid.observe.sampler_process import Program, Watched
from pellucid.observe.sampler_timeline import Timeline
from pellucid.recording import schema
from pellucid.recording.store import Store
from pellucid.runtimes.cpython.trie import EMPTY

REFRESH_S = 4.0
"""So often names of threads, and some code objects, are read again where anything runs; of new threads at once."""
RESTING_S = 5.0
"""Between the numbers of a process in which nothing runs: only the kernel changes them then, which takes pages from it."""
MOST_STACKS = 100_000
"""Different stacks of one process in memory: then it is begun anew."""
_IO = (b"syscr", b"syscw", b"read_bytes", b"write_bytes")
"""Of /proc/PID/io (proc_pid_io(5)): system calls that read and that wrote, bytes from and to disks."""
_PUT_COUNTERS = (
    f"INSERT OR REPLACE INTO counters (segment, process, at, {', '.join(schema.COUNTER_NAMES)}) "
    f"VALUES ({', '.join('?' * (3 + len(schema.COUNTER_NAMES)))})"
)
_PUT_PROCESS = (
    "INSERT INTO process VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET last = excluded.last, "
    "ended = excluded.ended, samples = excluded.samples, about = excluded.about, death = excluded.death, gaps = excluded.gaps"
)


class Subject:
    """`key`: its number in the recording; `not_yet`: the command line that it has before its execve. Raises NoSuchProcess."""

    def __init__(
        self,
        key: int,
        process: Process,
        interval_ns: int,
        like: "Subject | None" = None,
        *,
        asked: bool,
        not_yet: bytes = b"",
    ) -> None:
        self.key = key
        self.process = process
        self.pid = process.pid
        self.asked = asked
        self.java = False
        self.first_at = self.last_at = time.time()
        self.samples = 0
        self.death: Death | None = None
        self.collected: int | None = None
        """Its status, once its parent has told it."""
        self.memory: Watch | None = None
        """Its counters, once the thread of the longer looks has attached them."""
        self.watched: Watched = Watched(
            self.pid, "wall", interval_ns, like.watched if like is not None else None, not_yet=not_yet
        )
        self._launched = bool(not_yet)
        """It is attached as soon as it can be: its beginning is wanted."""
        self.life = _life(self.pid)
        if not procfs.lives(self.pid, process.start_ticks):
            self.close()
            raise NoSuchProcess.ended(self.pid, f"record pid {self.pid}")
        self.table: MemoryMap | None = None
        """A table of its memory that has not been written yet."""
        self.java_seen: JavaCollector | None = None
        self.gaps: dict[Gap, None] = {}
        self.active_at = self.ticked_at = time.time()
        """When something last ran in it; when it was last sampled."""
        self._refreshed_at = self._counted_at = 0.0
        self._refused_exe: str | None = None
        """The program whose stacks can't be read."""
        self._readings = self._set = 0
        self._segment = -1
        self._numbers: dict[Program, dict[int, int]] = {}
        self._threads: dict[tuple[int, str], int] = {}
        self._began = self.first_at
        self._began_ns: int | None = None
        self._slice: tuple[int, list[tuple[int, int, int]]] | None = None
        """The last slice, if more samples of the same can be added to it: its id, and of each thread where it was."""
        self._before = (0, 0, 0)
        self._told: tuple[Process, Death | None, tuple[Gap, ...]] | None = None
        """What this segment of the recording has of it."""

    def close(self) -> None:
        if self.life is not None:
            self.life.close()
        self.watched.close()
        if self.memory is not None:
            self.memory.close()

    def attach(self) -> None:
        """Find its runtime, where that is due."""
        if self.java or self.watched.next_attach > time.monotonic():
            return
        self.watched.attach()
        if self.watched.reading:
            (program,) = self.watched.programs[-1:]
            self._renamed()
            self.process = procfs.with_runtime(self.process, program.sampled.python.name)
        elif self.watched.refusal is not None:
            self._renamed()
            self._refused_exe = _exe(self.pid)

    def _renamed(self) -> None:
        """Who it is may have changed since it was found: between fork and execve it was still its parent's program."""
        with suppress(LookError):  # it has ended, and is what it was
            self.process = procfs.process(self.pid)

    def tick(self, now_ns: int) -> None:
        """One sample of all its threads."""
        if self._began_ns is None:
            self._began_ns = now_ns
        if not self.watched.reading:
            if self._launched:
                self.attach()
            return
        self.samples += 1
        self._readings += 1
        self.ticked_at = time.time()
        if self.watched.tick_or_rest(now_ns):
            return
        self.active_at = self.ticked_at
        if (
            self.memory is not None and not self.watched.all_slept and self.memory.collecting()
        ):  # who sleeps collects nothing
            self._set += 1

    def refresh(self, now_ns: int) -> None:
        """Between ticks, now and then: names of threads and of code, where anything has run; a program that has become another one (execve)."""
        if self.watched.refusal is not None and (exe := _exe(self.pid)) not in (None, self._refused_exe):
            self.java = runtime(self.pid, exe) == "JVM"
            self.watched.renew()
            return
        if self.watched.unnamed or (
            self.active_at > self._refreshed_at and time.time() - self._refreshed_at >= REFRESH_S
        ):
            self._refreshed_at = time.time()
            self.watched.refresh(now_ns)

    def learn(self, seen: object) -> None:
        """The runtime of one that is not sampled (a JVM), from the look of `why`."""
        if isinstance(seen, Snapshot) and self.process.runtime is None and seen.process.runtime is not None:
            self.process = procfs.with_runtime(self.process, seen.process.runtime)

    def gone(self) -> bool:
        """It has ended."""
        return not procfs.lives(self.pid, self.process.start_ticks)

    def end(self) -> None:
        """It has ended: its last samples are taken at the next flush."""
        if self.death is not None:
            return
        self.death = Death(at=time.time(), last_look_at=self.ticked_at if self.samples else None)
        self.ask_status()
        self.watched.end()

    def ask_status(self) -> bool:
        """Ask for its exit status, once more; True once it is known."""
        told = self.life.status() if self.life is not None else None
        if told is None and self.collected is not None:
            told = self.collected, "its parent (wait)"
        if told is None or self.death is None:
            return False
        status, signal, dumped = decoded(told[0])
        self.death = replace(self.death, status=status, signal=signal, dumped=dumped, known_by=told[1])
        return True

    def count(self, store: Store) -> None:
        """A row of its numbers. Nothing where they can't be read any more, or were read a moment ago and nothing has run since."""
        now = time.time()
        if (
            self.watched.reading
            and self.active_at < self._counted_at
            and self.table is None
            and now - self._counted_at < RESTING_S
        ):
            return
        sample = self._sample()
        if sample is None:
            return
        self._counted_at = now
        table, self.table = self.table, None
        reads = _io(self.pid)
        java = self.java_seen
        generations = (*sample.collections, None, None, None)[:3]
        if java is not None:
            generations = (java.count("young"), java.count("concurrent"), java.count("full"))
        store.add(
            _PUT_COUNTERS,
            store.segment,
            self.key,
            time.time(),
            sample.cpu_s,
            sample.rss_anon_bytes,
            sample.rss_file_bytes,
            sample.rss_shmem_bytes,
            sample.swap_bytes,
            sample.virtual_bytes,
            sample.minor_faults,
            sample.major_faults,
            sample.threads,
            sample.descriptors,
            sample.mappings,
            *generations,
            java.time_s if java is not None else None,
            self._readings or None,
            self._set,
            *reads,
            table.known_bytes if table else None,
            table.native_bytes if table else None,
            table.pool_bytes - table.pool_used_bytes + table.malloc_free_bytes if table else None,
            table.array_bytes if table else None,
            java.used if java is not None else None,
        )
        self.last_at = time.time()

    def _sample(self) -> MemorySample | None:
        if self.memory is None:
            return None
        try:
            sample = self.memory.sample(table=False)
        except LookError:  # it has ended: the pidfd says so in its turn
            return None
        self.memory.samples.clear()
        return sample

    def flush(self, store: Store, now_ns: int, interval_s: float, missed: int) -> None:
        """What was sampled since the last time, as rows; and who it is."""
        now = time.time() if self.death is None else self.death.at
        if store.segment != self._segment:
            self._segment = store.segment
            self._numbers, self._threads, self._slice, self._told = {}, {}, None, None
        if self.watched.unnamed and self.death is None:
            self.watched.refresh(now_ns)  # a slice that goes on keeps the names with which it begins
        taken = self.watched.take(now_ns)
        unstable = sum(timeline.judge(program.sampled.judged) for program, timeline in taken)
        told = (self.watched.asked, self.watched.failed, self.watched.lost_threads)
        asked, failed, _ = (after - before for after, before in zip(told, self._before, strict=True))
        self._before = told
        lanes = [lane for program, timeline in taken if (lane := self._lane(store, program, timeline)) is not None]
        for _, timeline in taken:
            timeline.clear()
        if lanes or asked or failed:
            self._write(store, lanes, now, interval_s, (asked, missed if asked else 0, failed, unstable))
            self.last_at = now
        self._began, self._began_ns = now, now_ns
        if self.watched.stacks > MOST_STACKS:
            self.watched.renew()
            self._numbers = {}
        self._put(store)

    def _write(
        self, store: Store, lanes: list[schema.Lane], now: float, interval_s: float, counts: tuple[int, int, int, int]
    ) -> None:
        where = [(lane.thread, lane.stacks[-1], lane.flags[-1]) for lane in lanes]
        asked = counts[0]
        same = all(len(lane.stacks) == 1 for lane in lanes)
        if same and self._slice is not None and self._slice[1] == where and not any(counts[1:]):
            sql = "UPDATE slice SET ended = ?, rested = rested + ?, asked = asked + ? WHERE id = ?"
            store.add(sql, now, asked, asked, self._slice[0])
            return
        number = store.serial()
        store.add(
            "INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            number,
            self.key,
            self._began,
            now,
            interval_s,
            0,
            *counts,
            schema.pack(lanes),
        )
        alive = all(sum(lane.samples) for lane in lanes)
        self._slice = (number, where) if alive and self.watched.reading else None

    def _lane(self, store: Store, program: Program, timeline: Timeline) -> schema.Lane | None:
        if not len(timeline.samples):
            return None
        name = timeline.name or f"thread {timeline.tid}"
        thread = self._threads.get((timeline.tid, name))
        if thread is None:
            thread = self._threads[timeline.tid, name] = store.serial() % schema.ROWS_OF_SEGMENT
            sql = "INSERT INTO thread VALUES (?, ?, ?, ?, ?)"
            store.add(sql, store.segment, thread, self.key, timeline.tid, name.encode("utf-8", "replace").decode())
        numbers = self._numbers.setdefault(program, {EMPTY: -1})
        began = self._began_ns or 0
        return schema.Lane(
            thread,
            tuple(max(0, at - began) // 1_000_000 for at in timeline.at_ns),
            tuple(self._stack(store, program, numbers, node) for node in timeline.nodes),
            tuple(timeline.samples),
            tuple(timeline.flags),
        )

    def _stack(self, store: Store, program: Program, numbers: dict[int, int], node: int) -> int:
        trie = program.sampled.trie
        above = []
        while node not in numbers:
            above.append(node)
            node = trie.parent(node)
        found = numbers[node]
        for each in reversed(above):
            found = numbers[each] = store.stack(found, trie.frame(each))
        return found

    def _put(self, store: Store) -> None:
        """Who it is, where that is not what the recording has."""
        death = self.death
        told = self.process, death, tuple(dict.fromkeys((*self.gaps, *self._unseen())))
        if told == self._told:
            sql = "UPDATE process SET last = ?, samples = ? WHERE id = ?"
            store.add(sql, self.last_at, self.samples, self.key)
            return
        self._told, gaps = told, told[2]
        store.add(
            _PUT_PROCESS,
            self.key,
            boot(),
            self.pid,
            self.process.start_ticks,
            int(self.asked),
            self.first_at,
            self.last_at,
            None if death is None else death.at,
            self.samples,
            schema.pack(self.process),
            None if death is None else schema.pack(death),
            schema.pack(gaps) if gaps else None,
        )

    def _unseen(self) -> Iterable[Gap]:
        if self.java:
            why = "a JVM has to stop its threads to tell them: they are kept as often as it is looked at, some times a minute"
            yield Gap(f"the stacks of pid {self.pid}", why, f"pellucid profile {self.pid}")
            return
        refusal = self.watched.refusal
        if refusal is not None:
            yield Gap(f"the stacks of pid {self.pid}", refusal.said, refusal.remedy)
        yield from self.watched.gaps()


def _life(pid: int) -> Life | None:
    """None where there are no pidfds (before Linux 5.3), or no descriptors left: then its end is seen in /proc. Raises NoSuchProcess."""
    try:
        return Life(pid)
    except ProcessLookupError:
        raise NoSuchProcess.ended(pid, f"record pid {pid}") from None
    except OSError:
        return None


def _exe(pid: int) -> str | None:
    """None where it may not be read, or has ended."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


@cache
def boot() -> str:
    """Which start of this machine it is (random(4)): with it a pid and a start time name one process for ever."""
    return read_small("/proc/sys/kernel/random/boot_id", 64).decode("ascii").strip()


def _io(pid: int) -> tuple[int | None, ...]:
    try:
        text = read_small(f"/proc/{pid}/io", 512)
    except OSError:  # it may not be read (another user's), or has ended
        return (None,) * len(_IO)
    found = dict(line.split(b": ", 1) for line in text.split(b"\n") if b": " in line)
    return tuple(int(found[name]) if name in found else None for name in _IO)
