"""A JVM that was asked does not answer: what its threads do meanwhile tells why, and nothing is asked of it for that.

    stopped      all threads are (SIGSTOP, a debugger)
    collection   it says so itself: sun.gc.cause
    operation    its VM Thread works, and all threads stand still meanwhile: a dump, a histogram, a collection
    safepoint    its VM Thread waits, polling, for a thread that runs on: all others stand still already
    disk, cpu    its threads wait for pages, or for a CPU

A dump needs a safepoint, and a thread reaches one only where it polls: a counted loop of compiled code may not for a long time
(-XX:-UseCountedLoopSafepoints, the default without loop strip mining). The VM Thread looks again and again, with sleeps of up to a millisecond
in between (SafepointSynchronize::synchronize_threads, runtime/safepoint.cpp). RuntimeService (services/runtimeService.cpp) adds to
sun.rt.applicationTime when a safepoint begins and to sun.rt.safepointTime when it ends: both together are the time of the last such change.
"""

import os
import time

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.model.errors import LookError
from pellucid.model.silence import Silence
from pellucid.runtimes.jvm.collector import number, text
from pellucid.runtimes.jvm.perfdata import Counters, PerfData

MOST_THREADS = 1 << 12
_WORKS, _RUNS = 0.25, 0.05
"""Shares of a CPU: of the VM Thread that is at an operation, of a thread of the program that runs on."""
_POLLS_A_S = 20
_WANTS_CPU = 0.5
_LEAST_S = 0.2
_VM_THREAD = "VM Thread"
_OWN = (
    "VM", "GC", "G1", "C1", "C2", "Z", "XWorker", "XDriver", "Shenandoah", "Concurrent", "Parallel", "Sweeper", "Monitor", "Service",
    "Signal", "Attach", "Common-Cleaner", "Finalizer", "Refer", "Notific",
)  # fmt: skip
"""Beginnings of the names that the JVM gives its own threads, 8 to 28."""


class _Thread(Struct, frozen=True):
    name: str
    letter: str
    cpu_s: float
    delayed_s: float
    switches: int
    faults: int


class Watched:
    """The threads of one JVM from now on; `look` tells what they did since."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = time.monotonic()
        self._first = _threads(pid)

    def look(self) -> Silence | None:
        """None where nothing of it explains the silence, or too little time has passed."""
        span = time.monotonic() - self._began
        now = _threads(self.pid)
        if not now or span < _LEAST_S:
            return None
        if all(one.letter in "Tt" for one in now.values()):
            return Silence("stopped", "it is stopped, and a stopped JVM answers nothing", lasting=True)
        counters = _counters(self.pid)
        since = _since(counters)
        whole = "" if since is None else f", for {since:.0f} s"
        cause = text(counters, "sun.gc.cause")
        if cause not in {"", "No GC"}:
            return Silence(
                "collection", f"it collects garbage ({cause}), and its threads stand still{whole}", since_s=since
            )
        shares = {tid: (one.cpu_s - self._first[tid].cpu_s) / span for tid, one in now.items() if tid in self._first}
        vm = next((tid for tid, one in now.items() if one.name == _VM_THREAD), None)
        if vm is not None and shares.get(vm, 0.0) >= _WORKS:
            said = f"its VM Thread works ({100 * shares[vm]:.0f} % of a CPU), and its threads stand still meanwhile{whole}: it writes a dump, counts or collects"
            return Silence("operation", said, since_s=since)
        busiest = max(
            (tid for tid in shares if not now[tid].name.startswith(_OWN)), key=lambda tid: shares[tid], default=None
        )
        if vm in self._first and busiest is not None and shares[busiest] >= _RUNS:
            polls = (now[vm].switches - self._first[vm].switches) / span
            if polls >= _POLLS_A_S:
                return Silence(
                    "safepoint",
                    f"all its threads are to stand still (a safepoint), and its thread {now[busiest].name} (tid {busiest}) runs on without "
                    f"reaching one ({100 * shares[busiest]:.0f} % of a CPU): the others wait for it{whole}",
                    tid=busiest,
                    since_s=since,
                    lasting=True,
                )
        return _starved(self._first, now, span)


def _starved(first: dict[int, _Thread], now: dict[int, _Thread], span: float) -> Silence | None:
    both = [(first[tid], one) for tid, one in now.items() if tid in first]
    on_disk = sum(one.letter == "D" for one in now.values())
    faults = sum(one.faults - before.faults for before, one in both)
    if on_disk and faults:
        said = f"its memory has to be read back from the disk: {faults:,} page faults in {span:.1f} s, {on_disk} of its threads wait for the disk"
        return Silence("disk", said)
    name, share = max(
        ((one.name, (one.delayed_s - before.delayed_s) / span) for before, one in both),
        key=lambda pair: pair[1],
        default=("", 0.0),
    )
    if share >= _WANTS_CPU:
        return Silence("cpu", f"its thread {name} was ready to run for {100 * share:.0f} % of the time, and got no CPU")
    return None


def _threads(pid: int) -> dict[int, _Thread]:
    """By tid; of a process that has ended there are none."""
    found: dict[int, _Thread] = {}
    try:
        tids = os.listdir(f"/proc/{pid}/task")[:MOST_THREADS]
    except OSError:
        return found
    for tid in tids:
        place = f"/proc/{pid}/task/{tid}"
        try:
            stat = procfs.parse_stat(procfs.read_small(f"{place}/stat", 1024))
            used = procfs.read_small(f"{place}/schedstat", 128).split()
            status = procfs.parse_status(procfs.read_small(f"{place}/status", 4096))
        except OSError:
            continue  # it has ended
        found[int(tid)] = _Thread(
            name=stat.name,
            letter=stat.letter,
            cpu_s=int(used[0]) / 1e9 if used else stat.cpu_s,
            delayed_s=int(used[1]) / 1e9 if len(used) > 1 else 0.0,
            switches=int(status.get("voluntary_ctxt_switches", 0)),
            faults=stat.major_faults,
        )
    return found


def _counters(pid: int) -> Counters:
    """Empty where it publishes none."""
    try:
        data = PerfData(pid)
    except LookError:
        return {}
    try:
        return data.read()
    except LookError:
        return {}
    finally:
        data.close()


def _since(counters: Counters) -> float | None:
    """Seconds since a safepoint last began or ended."""
    ticks, began = number(counters, "sun.os.hrt.frequency"), number(counters, "sun.rt.createVmEndTime")
    told = number(counters, "sun.rt.applicationTime") + number(counters, "sun.rt.safepointTime")
    if not ticks or not began or not told:
        return None
    since = time.time() - (began / 1000 + told / ticks)
    return since if since >= 0 else None
