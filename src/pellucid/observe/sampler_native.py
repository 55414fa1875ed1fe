"""The innermost function in machine code of threads that are sampled: inside numpy, in a driver, in the interpreter itself.

A timer of the kernel that runs while a thread does (perf_event_open(2), PERF_COUNT_SW_CPU_CLOCK) writes down where the thread is, without
stopping it; of a thread that sleeps, /proc/PID/task/TID/syscall says it. Such a place is put on a Python stack only where that stack was
the same at the tick before and after it. Its callers in machine code are not known: to unwind them needs frame pointers, or a stop.
"""

import os
from array import array
from collections import Counter
from contextlib import ExitStack

from pellucid.kernel import perf
from pellucid.kernel.native import Native, Places
from pellucid.kernel.perf_access import why_not
from pellucid.model import Frame, Gap
from pellucid.observe.sampler_timeline import Timeline

PAGES = 16  # of each ring: 2,000 samples
MOST_THREADS = 512
_EVAL = ("_PyEval_EvalFrame", "_TAIL_CALL_", "PyEval_EvalFrame")
"""The interpreter's loop itself (Python/ceval.c): the Python line says more."""


class NativeSampler:
    """Opened with `follow`; `drain` is to be called a few times a second."""

    def __init__(self, period_ns: int) -> None:
        self._described = perf.clock_attributes(period_ns)
        self._open = ExitStack()
        self._rings: dict[int, perf.Ring] = {}
        self._times: dict[tuple[int, int], array[int]] = {}
        self._addresses: dict[tuple[int, int], array[int]] = {}
        self._new: dict[int, set[int]] = {}
        self._places: dict[int, Places] = {}
        self._refused: tuple[str, str] | None = None
        """Why the kernel said no, and what to do."""
        self._lost = self._unfitting = self._more = 0
        self.stripped: set[str] = set()

    def follow(self, pid: int) -> None:
        """Its threads, those that they make, and its children from now on."""
        try:
            tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        except OSError:
            return  # it has ended
        self._more += max(0, len(tids) - MOST_THREADS)
        for tid in tids[:MOST_THREADS]:
            for cpu in sorted(os.sched_getaffinity(0)):
                try:
                    fd = perf.open_event(self._described, tid, cpu)
                except ProcessLookupError:
                    break
                except OSError as error:
                    self._refused = self._refused or (why_not(error), f"sudo pellucid profile {pid} --native")
                    return
                self._open.callback(os.close, fd)
                ring = self._rings.get(cpu)
                if ring is None:
                    self._rings[cpu] = self._open.enter_context(perf.Ring(fd, PAGES))
                else:
                    ring.share(fd)
                perf.enable(fd)

    def drain(self) -> None:
        """Takes what the kernel has written, and names the places while their processes are there."""
        for ring in self._rings.values():
            raw = ring.read()
            at = 0
            while at + 8 <= len(raw):
                size = int.from_bytes(raw[at + 6 : at + 8], "little")
                kind = int.from_bytes(raw[at : at + 4], "little")
                if size < 8:
                    break
                if kind == perf.SAMPLE and size == perf.CLOCK_SAMPLE.size:
                    _, _, _, address, pid, tid, time_ns = perf.CLOCK_SAMPLE.unpack_from(raw, at)
                    self._add(pid, tid, time_ns, address)
                elif kind == perf.LOST and size >= 24:
                    self._lost += int.from_bytes(raw[at + 16 : at + 24], "little")
                at += size
        for pid, addresses in self._new.items():
            self._places.setdefault(pid, Places(pid)).of(addresses)
        self._new.clear()

    def _add(self, pid: int, tid: int, time_ns: int, address: int) -> None:
        key = (pid, tid)
        if key not in self._times:
            self._times[key], self._addresses[key] = array("q"), array("Q")
        self._times[key].append(time_ns)
        self._addresses[key].append(address)
        self._new.setdefault(pid, set()).add(address)

    def meet(self, pid: int, address: int) -> None:
        """A thread of `pid` was seen asleep at `address`."""
        if address:
            self._new.setdefault(pid, set()).add(address)

    def inside(self, pid: int, timeline: Timeline, began_ns: int) -> list[Counter[Frame | None]]:
        """For each run of the timeline where it was in machine code, by samples; None for in the interpreter's loop, or unknown."""
        found: list[Counter[Frame | None]] = []
        times, addresses = self._sorted(pid, timeline.tid)
        place = 0
        count = len(timeline.samples)
        for run in range(count):
            inside = Counter[Frame | None]()
            found.append(inside)
            state, _ = timeline.flag(run)
            if state == "waiting":
                inside[self._frame(pid, timeline.asleep_at(run))] += 1
                continue
            begin = timeline.at_ns[run] + began_ns
            # The last tick that found this stack, about: a place after it may belong to the next one.
            end = begin + (timeline.samples[run] - 1) * timeline.interval_ns
            while place < len(times) and times[place] < begin:
                place += 1
            while place < len(times) and times[place] <= end:
                inside[self._frame(pid, addresses[place])] += 1
                place += 1
            if not inside:
                self._unfitting += timeline.samples[run]
        return found

    def _sorted(self, pid: int, tid: int) -> tuple[list[int], list[int]]:
        key = (pid, tid)
        pairs = sorted(zip(self._times.get(key, ()), self._addresses.get(key, ()), strict=True))
        return [time for time, _ in pairs], [address for _, address in pairs]

    def _frame(self, pid: int, address: int) -> Frame | None:
        places = self._places.get(pid)
        native = places.at(address) if places is not None and address else None
        if native is None or native.symbol.startswith(_EVAL):
            return None
        if not native.symbol and _is_interpreter(native):
            self.stripped.add(native.path)
            return None
        path = native.path or "code without a file"
        symbol = native.symbol or "unnamed"  # of a function that is not exported, in a file without its symbols
        return Frame(symbol, symbol, path, None)

    def gaps(self) -> list[Gap]:
        """What is missing."""
        found = [
            Gap("the callers of native functions in machine code", "to unwind them would need to stop the process")
        ]
        if self._refused:
            found.append(Gap("native functions of threads that run", *self._refused))
        if self._more:
            found.append(Gap(f"native functions of {self._more} threads", f"at most {MOST_THREADS} are followed"))
        if self._lost:
            found.append(Gap(f"{self._lost} samples of native functions", "they came faster than they were read"))
        if self._unfitting and not self._refused:
            found.append(
                Gap(
                    f"the native function in {self._unfitting} samples",
                    "the Python stack changed before it could be joined",
                )
            )
        found += [
            Gap(f"the symbols inside of {path}", "its symbols were stripped: only exported functions have names")
            for path in sorted(self.stripped)
        ]
        return found

    def close(self) -> None:
        self._open.close()


def _is_interpreter(native: Native) -> bool:
    name = native.path.rpartition("/")[2]
    return name.startswith(("python", "libpython"))


def spread(samples: int, weight: int, inside: Counter[Frame | None]) -> list[tuple[Frame | None, int, int]]:
    """A run's samples and weight in the proportions of `inside`: (frame, samples, weight), whole numbers that add up."""
    total = sum(inside.values())
    if not total:
        return [(None, samples, weight)]
    found: list[tuple[Frame | None, int, int]] = []
    left_samples, left_weight = samples, weight
    for number, (frame, count) in enumerate(inside.most_common()):
        last = number == len(inside) - 1
        part = left_samples if last else min(left_samples, round(samples * count / total))
        heavy = left_weight if last else weight * part // samples if samples else 0
        left_samples, left_weight = left_samples - part, left_weight - heavy
        if part or heavy:
            found.append((frame, part, heavy))
    return found
