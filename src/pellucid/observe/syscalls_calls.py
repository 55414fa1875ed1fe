"""Failed, slow and counted calls, from what a tracer tells to what a report says.

What an argument refers to is looked up when its record comes, some 20 ms after the call: the working directory is followed
exactly, and so are descriptors where all that make them are told (`Uses`); else what a descriptor is may have changed since, and is
left out when it can't be told.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from pellucid.kernel import decode
from pellucid.kernel.decode_calls import KINDS
from pellucid.kernel.traced import Called, Failure, Total, Unfinished
from pellucid.model import Frame
from pellucid.model.syscalls import CallSummary, FailedCall, LineShare, SlowCall, UnfinishedCall
from pellucid.observe.syscalls_noise import is_usual, noise
from pellucid.observe.syscalls_processes import Processes

MAX_KEPT = 1 << 17
"""Failed samples and slow calls that are kept, each; what comes after is counted as lost."""
_MOST_LINES = 8

WAITS = frozenset(
    {
        *("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"),
        *("futex", "futex_waitv", "nanosleep", "clock_nanosleep", "pause", "restart_syscall"),
        *("wait4", "waitid", "rt_sigtimedwait", "rt_sigsuspend", "accept", "accept4", "semtimedop", "msgrcv"),
    }
)
"""Calls that a thread sleeps in because it has nothing to do, or until another one acts: their time is no work."""


class Seen(Struct, frozen=True, gc=False):
    """A call with what its arguments referred to when it was told."""

    call: Called
    path: str | None
    second: str | None
    fd: int | None
    what: str
    program: str


class Calls:
    """Collects what was told."""

    def __init__(self, processes: Processes, *, certain: bool = True) -> None:
        """`certain`: paths were read during the call, not after it."""
        self._processes = processes
        self._certain = certain
        self._failed: dict[int, Seen] = {}
        self._alone: list[Seen] = []
        self._slow: list[Seen] = []
        self.dropped = 0
        self._connecting: dict[tuple[int, int], dict[str, None]] = {}
        """By pid and descriptor: the addresses of connects that went on in the background."""
        self.followed: Callable[[int, int], str] = lambda _pid, _fd: ""
        """The path that a descriptor stood for when a call was made, where somebody follows them (`Uses`); else ""."""
        self._to_epoch = time.time() - time.monotonic()

    def called(self, call: Called) -> None:
        """Keep a failed or slow call, and follow its process to another directory or program."""
        if not call.failed:
            self._follow(call)
        if not call.failed and not call.slow:
            return
        if len(self._failed) + len(self._alone) + len(self._slow) >= MAX_KEPT:
            self.dropped += 1
            return
        seen = self.seen(call)
        if seen.fd is not None and seen.what and decode.error_name(call.result) == "EINPROGRESS":
            self._connecting.setdefault((call.pid, seen.fd), {})[seen.what] = None
        if call.failed and call.key:
            self._failed.setdefault(call.key, seen)
        elif call.failed:
            self._alone.append(seen)
        if call.slow:
            self._slow.append(seen)

    def has(self, key: int) -> bool:
        """Whether a sample of the failed calls with this key was told."""
        return key in self._failed

    def _follow(self, call: Called) -> None:
        name = decode.name(call.number)
        known = self._processes.known.get(call.pid)
        if known is None:
            return
        if name == "chdir" and call.path is not None:
            known.cwd = decode.absolute(os.fsdecode(call.path), known.cwd)
        elif name == "fchdir":
            fd = decode.c_int(call.arguments[0])
            known.cwd = self.followed(call.pid, fd) or self.descriptor(call.pid, fd) or None
        elif name in ("execve", "execveat") and call.path:
            self._processes.named(call.pid, os.fsdecode(call.path))

    def seen(self, call: Called) -> Seen:
        """With its paths made absolute and its descriptor named."""
        kinds = KINDS.get(decode.name(call.number), ())
        known = self._processes.known.get(call.pid)
        fd = decode.c_int(call.arguments[0]) if kinds and kinds[0] == "fd" else None
        what = decode.socket_address(call) if call.address else None
        if fd is not None and call.in_background:
            what = " or ".join(
                self._connecting.get((call.pid, fd), ())
            )  # which of them, a number that is given out again can't tell
        if fd is not None and not what and not is_usual(decode.name(call.number), decode.error_name(call.result)):
            what = self.descriptor(call.pid, fd)
        return Seen(
            call=call,
            path=self.path(call, second=False),
            second=self.path(call, second=True),
            fd=fd,
            what=what or "",
            program=known.program if known else "?",
        )

    def path(self, call: Called, *, second: bool) -> str | None:
        """One of its paths, from the directory that it is relative to."""
        given = call.second if second else call.path
        if given is None:
            return None
        text = os.fsdecode(given)
        if text.startswith("/"):
            return text
        at = decode.directory_of_path(call, second=second)
        if at is not None:
            directory = self.followed(call.pid, at) or self.descriptor(call.pid, at) or f"<descriptor {at}>"
            return decode.absolute(text, directory)
        known = self._processes.known.get(call.pid)
        return decode.absolute(text, known.cwd if known else None)

    def line(self, stack: int) -> Frame | None:
        """The program's line that a stack stands for."""
        return self._processes.line(stack) if stack else None

    def descriptor(self, pid: int, fd: int) -> str:
        """What a descriptor is now; "" where that can't be told."""
        if fd < 0:
            return ""
        try:
            return os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            return ""

    def failed(self, counted: dict[int, Failure]) -> tuple[FailedCall, ...]:
        """Equal calls together: first those of the program's own lines, last what is noise; the most frequent first in each."""
        groups: dict[tuple[str, str, str | None, str, Frame | None], list[tuple[Seen, Failure]]] = {}
        for seen, failure in self._counted(counted):
            name, error = _name(seen.call), decode.error_name(seen.call.result)
            key = (name, error, seen.path, "" if seen.path is not None else seen.what, self.line(seen.call.stack))
            groups.setdefault(key, []).append((seen, failure))
        found = [self._failed_call(name, error, group) for (name, error, *_), group in groups.items()]
        return tuple(sorted(found, key=_order))

    def _counted(self, counted: dict[int, Failure]) -> Iterator[tuple[Seen, Failure]]:
        for key, seen in self._failed.items():
            yield seen, counted.get(key) or _once(seen.call)
        for seen in self._alone:
            yield seen, _once(seen.call)

    def _failed_call(self, name: str, error: str, group: list[tuple[Seen, Failure]]) -> FailedCall:
        seen = group[0][0]
        call = seen.call
        frames = self._processes.frames(call.stack)
        return FailedCall(
            name=name,
            error=error,
            path=seen.path,
            fd=seen.fd,
            ret=call.result,
            stack=frames,
            count=sum(failure.count for _, failure in group),
            pid=call.pid,
            tid=call.tid,
            program=seen.program,
            call=_text(seen),
            what=seen.what,
            line=self.line(call.stack),
            noise=noise(name, error, seen.path or (seen.what if name == "connect" else None), frames),
            total_s=sum(failure.total_ns for _, failure in group) / 1e9,
            max_s=max(failure.max_ns for _, failure in group) / 1e9,
            processes=len({each.call.pid for each, _ in group}),
            path_certain=self._certain,
        )

    def slow(self) -> tuple[SlowCall, ...]:
        """The slowest first."""
        return tuple(self._slow_call(seen) for seen in sorted(self._slow, key=lambda seen: -seen.call.duration_ns))

    def _slow_call(self, seen: Seen) -> SlowCall:
        call = seen.call
        name = decode.name(call.number)
        frames = self._processes.frames(call.stack)
        return SlowCall(
            name=name,
            error=decode.error_name(call.result),
            path=seen.path,
            fd=seen.fd,
            ret=call.result,
            duration_s=call.duration_ns / 1e9,
            ended_at=self._to_epoch + call.ended_ns / 1e9,
            stack=frames,
            pid=call.pid,
            tid=call.tid,
            program=seen.program,
            call=decode.text(call, lambda fd: seen.what if fd == seen.fd else ""),
            what=seen.what,
            line=self.line(call.stack),
            waits=name in WAITS,
        )

    def unfinished(self, found: Iterable[Unfinished]) -> tuple[UnfinishedCall, ...]:
        """Calls that threads are in, the longest first."""
        now = time.monotonic()
        calls = [
            UnfinishedCall(
                name=decode.name(each.number),
                pid=each.pid,
                tid=each.tid,
                since_s=max(0.0, now - each.since_ns / 1e9),
                path=os.fsdecode(each.path) if each.path is not None else None,
                waits=decode.name(each.number) in WAITS,
            )
            for each in found
        ]
        return tuple(sorted(calls, key=lambda call: -call.since_s))

    @staticmethod
    def sleeping(pid: int, tid: int, name: str, since_s: float) -> UnfinishedCall:
        """A call that had begun before the look, as /proc tells it."""
        return UnfinishedCall(name=name, pid=pid, tid=tid, since_s=since_s, waits=name in WAITS)

    def summary(self, totals: Iterable[Total]) -> tuple[CallSummary, ...]:
        """One entry a name, those with the most time first."""
        by_name: dict[str, list[Total]] = {}
        for total in totals:
            by_name.setdefault(decode.name(total.number), []).append(total)
        found = [self._summary(name, group) for name, group in by_name.items()]
        return tuple(sorted(found, key=lambda call: -call.total_s))

    def _summary(self, name: str, group: list[Total]) -> CallSummary:
        by_line: dict[tuple[Frame, Frame | None], list[Total]] = {}
        for total in group:
            frames = self._processes.frames(total.stack) if total.stack else ()
            line = self.line(total.stack)
            if line is not None:
                by_line.setdefault((line, None if frames[0] == line else frames[0]), []).append(total)
        lines = [
            LineShare(
                frame=frame,
                calls=sum(total.calls for total in totals),
                errors=sum(total.errors for total in totals),
                total_s=sum(total.total_ns for total in totals) / 1e9,
                inner=inner,
            )
            for (frame, inner), totals in by_line.items()
        ]
        return CallSummary(
            name=name,
            calls=sum(total.calls for total in group),
            errors=sum(total.errors for total in group),
            total_s=sum(total.total_ns for total in group) / 1e9,
            max_s=max(total.max_ns for total in group) / 1e9,
            lines=tuple(sorted(lines, key=lambda line: (-line.total_s, -line.calls))[:_MOST_LINES]),
            lined_calls=sum(line.calls for line in lines),
            waits=name in WAITS,
        )


def _name(call: Called) -> str:
    """What failed: of a connect in the background, the connect."""
    return "connect" if call.in_background else decode.name(call.number)


def _text(seen: Seen) -> str:
    if seen.call.in_background:
        return f"connect({', '.join(filter(None, (str(seen.fd), seen.what)))}), in the background"
    return decode.text(seen.call, lambda fd: seen.what if fd == seen.fd else "")


def _order(event: FailedCall) -> tuple[bool, bool, int]:
    return bool(event.noise), not (event.line and event.line.own), -event.count


def _once(call: Called) -> Failure:
    return Failure(1, call.duration_ns, call.duration_ns, call.ended_ns)
