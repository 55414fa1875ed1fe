"""For how long a call may still wait: `gives up in 18 s`.

The kernel copies a relative timeout in when the call begins, and writes a select's rest back only when it returns (fs/select.c,
poll_select_finish): what is left is the timeout less the time that the thread has been asleep. Since any wake-up inside of the call makes
the thread seem to have slept for less, that is an upper bound. An absolute deadline (clock_nanosleep with TIMER_ABSTIME, as
time.sleep uses since CPython 3.11; FUTEX_WAIT_BITSET) is compared with its own clock and is exact.
A timeout that a socket has of its own (SO_RCVTIMEO) can't be seen from outside.
"""

import os
import time
from collections.abc import Callable
from struct import Struct as Layout

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Call

_TIMESPEC = Layout("<qq")
_TIMER_ABSTIME = 1
_FUTEX_COMMAND = 0x7F  # without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME, include/uapi/linux/futex.h
_FUTEX_CLOCK_REALTIME = 0x100
_FUTEX_WAIT, _FUTEX_LOCK_PI = 0, 6
_FUTEX_ABSOLUTE = (9, 11, 13)  # WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
_CLOCKS = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME, time.CLOCK_TAI)

Left = tuple[bool, float | None]
"""(it has a timeout, seconds left; None where they could not be read)."""


def timeout_left(memory: Memory | None, call: Call, asleep_s: float | None) -> Left:
    """Whether `call` ends by itself, and in how many seconds, for a thread asleep in it for `asleep_s`."""
    if call.name == "restart_syscall":  # a timed call that a stop had interrupted goes on; its arguments are gone
        return True, None
    ask = _ASK.get(call.name)
    if ask is None or not call.arguments:
        return False, None
    try:
        return ask(memory, call.arguments, asleep_s)
    except Unreadable:  # the thread went on meanwhile
        return True, None


def _milliseconds(argument: int) -> Callable[[Memory | None, tuple[int, ...], float | None], Left]:
    def ask(_: Memory | None, arguments: tuple[int, ...], asleep_s: float | None) -> Left:
        value = arguments[argument] & 0xFFFFFFFF
        if value >> 31:  # negative: for ever
            return False, None
        return True, _rest(value / 1000, asleep_s)

    return ask


def _relative(argument: int, unit: float = 1e-9) -> Callable[[Memory | None, tuple[int, ...], float | None], Left]:
    """A pointer to a timespec (or, with `unit` 1e-6, a timeval); NULL is for ever."""

    def ask(memory: Memory | None, arguments: tuple[int, ...], asleep_s: float | None) -> Left:
        if not arguments[argument]:
            return False, None
        seconds = _seconds(memory, arguments[argument], unit)
        return True, None if seconds is None else _rest(seconds, asleep_s)

    return ask


def _clock_nanosleep(memory: Memory | None, arguments: tuple[int, ...], asleep_s: float | None) -> Left:
    seconds = _seconds(memory, arguments[2])
    if seconds is None:
        return True, None
    if arguments[1] & _TIMER_ABSTIME:
        return True, _until(memory, arguments[0] & 0xFFFFFFFF, seconds)
    return True, _rest(seconds, asleep_s)


def _futex(memory: Memory | None, arguments: tuple[int, ...], asleep_s: float | None) -> Left:
    command = arguments[1] & _FUTEX_COMMAND
    if command not in (_FUTEX_WAIT, _FUTEX_LOCK_PI, *_FUTEX_ABSOLUTE) or not arguments[3]:
        return False, None
    seconds = _seconds(memory, arguments[3])
    if seconds is None:
        return True, None
    if command == _FUTEX_WAIT:
        return True, _rest(seconds, asleep_s)
    real = command == _FUTEX_LOCK_PI or arguments[1] & _FUTEX_CLOCK_REALTIME
    return True, _until(memory, time.CLOCK_REALTIME if real else time.CLOCK_MONOTONIC, seconds)


def _seconds(memory: Memory | None, address: int, unit: float = 1e-9) -> float | None:
    if memory is None:
        return None
    whole, part = _TIMESPEC.unpack(memory.read(address, _TIMESPEC.size))
    return float(whole + part * unit)


def _rest(timeout_s: float, asleep_s: float | None) -> float | None:
    return None if asleep_s is None else max(0.0, timeout_s - asleep_s)


def _until(memory: Memory | None, clock: int, deadline_s: float) -> float | None:
    """None for a clock that we do not share: of CPU time, or in another time namespace (time_namespaces(7))."""
    if clock not in _CLOCKS or memory is None or (clock != time.CLOCK_REALTIME and not _same_time(memory.pid)):
        return None
    return max(0.0, deadline_s - time.clock_gettime(clock))


def _same_time(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/time") == os.readlink("/proc/self/ns/time")
    except FileNotFoundError:  # before Linux 5.6 there was one time for all
        return True
    except OSError:
        return False


_ASK = {
    "poll": _milliseconds(2),
    "ppoll": _relative(2),
    "select": _relative(4, 1e-6),
    "pselect6": _relative(4),
    "epoll_wait": _milliseconds(3),
    "epoll_pwait": _milliseconds(3),
    "epoll_pwait2": _relative(3),
    "nanosleep": _relative(0),
    "clock_nanosleep": _clock_nanosleep,
    "futex": _futex,
    "rt_sigtimedwait": _relative(2),
    "semtimedop": _relative(3),
}
