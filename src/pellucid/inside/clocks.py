"""What makes a sampler tick: an interval timer of the kernel (setitimer(2)) or a thread that sleeps.

A timer interrupts the main thread by a signal, whose Python handler runs between two bytecodes. System calls that it interrupts are
called again by Python itself (PEP 475), with what is left of their timeout. Ticks of real time are jittered by a fifth, so that a program
with a period of its own is not always met at the same place.
"""

import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal, NamedTuple

from pellucid.inside.samples import own_threads
from pellucid.model.errors import UsageError

Clock = Literal["real", "virtual", "prof", "thread"]
Tick = Callable[[FrameType | None], None]
"""Called with the frame that was interrupted in the main thread, or None by a thread of its own."""


class _Timer(NamedTuple):
    which: int
    signal: signal.Signals


TIMERS: dict[str, _Timer] = {
    "real": _Timer(signal.ITIMER_REAL, signal.SIGALRM),
    "virtual": _Timer(signal.ITIMER_VIRTUAL, signal.SIGVTALRM),
    "prof": _Timer(signal.ITIMER_PROF, signal.SIGPROF),
}

BUDGET = 10
"""A sample that took so long is followed by a pause of ten times as long: the program keeps nine tenths of its time, however deep its stacks."""

_JITTER = 0.2
_running: "weakref.WeakSet[SignalClock]" = weakref.WeakSet()


class SignalClock:
    """One of the kernel's three timers. Raises UsageError where something else uses it or its signal, or outside of the main thread."""

    def __init__(self, clock: Clock, interval: float, tick: Tick) -> None:
        self.clock = clock
        self.interval = interval
        self._timer = TIMERS[clock]
        self._tick = tick
        self._handler = self._signalled  # one object: it has to be recognised later
        self._before: Any = signal.SIG_DFL
        self._armed = False
        self._random = time.monotonic_ns() & 0x7FFF_FFFF

    def start(self) -> None:
        self._check()
        self._before = signal.signal(self._timer.signal, self._handler)
        _guard()
        _running.add(self)
        self._armed = True
        signal.setitimer(self._timer.which, self.interval, self.interval)

    def stop(self) -> str:
        """Put everything back; what somebody else has set meanwhile stays theirs, and is told: "" if nobody did."""
        self._armed = False
        _running.discard(self)
        taken = ""
        if not self._ours():
            taken = f"another part of the program set the {self._timer.signal.name} timer"
        else:
            signal.setitimer(self._timer.which, 0)
        if signal.getsignal(self._timer.signal) is self._handler:
            signal.signal(self._timer.signal, self._before)
        else:
            taken = f"another part of the program set a handler for {self._timer.signal.name}"
        return taken

    def pause(self) -> None:
        """fork(2) is begun anew whenever a signal comes: of a large process it would never end. execve(2) keeps the timer and not the handler."""
        if self._armed and self._ours():
            signal.setitimer(self._timer.which, 0)

    def go_on(self) -> None:
        if self._armed:
            signal.setitimer(self._timer.which, self.interval, self.interval)

    def forked(self) -> None:
        """In a child, which has no timers (fork(2)), its signal is as it was before."""
        self._armed = False
        if signal.getsignal(self._timer.signal) is self._handler:
            signal.signal(self._timer.signal, self._before)

    def _ours(self) -> bool:
        """The timer has our interval still (rounded to microseconds: struct timeval)."""
        return abs(signal.getitimer(self._timer.which)[1] - self.interval) < 2e-6

    def _signalled(self, _number: int, frame: FrameType | None) -> None:
        if self._armed:
            self._tick(frame)
            if self.clock == "real" and self._armed:
                self._random = (self._random * 1103515245 + 12345) & 0x7FFF_FFFF
                wait = self.interval * (1 - _JITTER + 2 * _JITTER * self._random / 0x7FFF_FFFF)
                if self._ours():
                    signal.setitimer(self._timer.which, wait, self.interval)

    def _check(self) -> None:
        tried = f"sample with clock={self.clock!r}"
        remedy = "pellucid.Profiler(clock='thread')  (it uses no signal)"
        if threading.current_thread() is not threading.main_thread():
            said = "only the main thread may set a signal handler (signal.signal), and this is another one"
            raise UsageError(tried=tried, said=said, remedy=remedy)
        name = self._timer.signal.name
        handler = signal.getsignal(self._timer.signal)
        if handler not in (signal.SIG_DFL, signal.SIG_IGN):
            raise UsageError(tried=tried, said=f"{name} has a handler already: {_named(handler)}", remedy=remedy)
        if signal.getitimer(self._timer.which) != (0.0, 0.0):
            said = f"the timer of {name} is running already (signal.alarm or signal.setitimer)"
            raise UsageError(tried=tried, said=said, remedy=remedy)


def _named(handler: Any) -> str:
    """`app.signals.on_alarm`; a handler that Python did not set is None (signal.getsignal)."""
    if handler is None:
        return "one of C code"
    if isinstance(getattr(handler, "__self__", None), SignalClock):
        return "that of another pellucid.Profiler"
    module, name = getattr(handler, "__module__", None), getattr(handler, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(handler)


class ThreadClock:
    """A daemon thread that sleeps. It interrupts nothing, and sees other threads only when it has got the GIL.

    What it does at each tick may take a tenth of its time (`BUDGET`): then it sleeps for longer.
    """

    def __init__(self, interval: float, tick: Tick) -> None:
        self.interval = interval
        self._tick = tick
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pellucid sampler", daemon=True)
        self.cpu_s = 0.0

    def start(self) -> None:
        _guard()
        self._thread.start()

    def stop(self) -> str:
        """Wait for the sample that is being taken, if one is."""
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        return ""

    def _run(self) -> None:
        own_threads.add(threading.get_ident())
        random, took = time.monotonic_ns() & 0x7FFF_FFFF, 0.0
        wait = self.interval
        while not self._ended.wait(max(wait, took * BUDGET)):
            began = time.perf_counter()
            self._tick(None)
            took = time.perf_counter() - began
            self.cpu_s = time.thread_time()
            random = (random * 1103515245 + 12345) & 0x7FFF_FFFF
            wait = self.interval * (1 - _JITTER + 2 * _JITTER * random / 0x7FFF_FFFF)
        own_threads.discard(threading.get_ident())


class CpuClock:
    """ITIMER_VIRTUAL or ITIMER_PROF, and a thread for when the main thread sleeps.

    The kernel gives the signal of these timers to the thread that runs (kernel/time/posix-cpu-timers.c: check_cpu_itimer), and Python
    its handler to the main thread alone: while that waits for a lock, nobody would sample those that it waits for. `due` says whether the
    CPU time of a tick has gone by without one.
    """

    def __init__(self, clock: Clock, interval: float, tick: Tick, due: Callable[[], bool]) -> None:
        self._signals = SignalClock(clock, interval, tick)
        self._watch = ThreadClock(max(interval, 0.002), lambda _: tick(None) if due() else None)

    @property
    def cpu_s(self) -> float:
        return self._watch.cpu_s

    def start(self) -> None:
        self._signals.start()
        self._watch.start()

    def stop(self) -> str:
        self._watch.stop()
        return self._signals.stop()


_guarded = False


def _guard() -> None:
    """Once: no timer of ours runs on during a fork, in what exec makes of this process, or while the interpreter ends."""
    global _guarded  # noqa: PLW0603  hooks of the interpreter can't be taken back
    if _guarded:
        return
    _guarded = True
    os.register_at_fork(before=_pause, after_in_parent=_go_on, after_in_child=_forked)
    sys.addaudithook(_before_exec)
    atexit.register(_pause)


def _pause() -> None:
    for clock in list(_running):
        clock.pause()


def _go_on() -> None:
    for clock in list(_running):
        clock.go_on()


def _forked() -> None:
    for clock in list(_running):
        clock.forked()
    _running.clear()
    own_threads.clear()  # threads stay with the parent, and one of the child may get the ident of one of them


def _before_exec(event: str, _arguments: tuple[Any, ...]) -> None:
    if event == "os.exec":
        _pause()
