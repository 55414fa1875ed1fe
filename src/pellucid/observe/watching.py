"""The longer looks of `why`: what only shows when a process is watched for a while, all of them side by side over one window.

    quick look  →  begin: one thread for each longer look  →  (the rest of the quick look)  →  the window is over  →  collect

A longer look is a function that is called in a thread of its own with the process and the `Window`. It opens what it needs itself (the
quick look goes on meanwhile), waits with `window.wait` or `window.rest`, and returns a value that becomes a field of `OverTime`.
Nothing here stops the process or writes to it.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.model import Gap, Process, Task
from pellucid.model.errors import LookError, NotPermitted
from pellucid.model.over_time import OverTime
from pellucid.observe import watched_calls, watched_files, watched_jvm, watched_memory, watched_time
from pellucid.observe.window import Seen, Window

_ASLEEP_S = 10.0
"""A process no thread of which has run for so long will hardly do in the window: to watch it would only delay the verdict."""
_GRACE_S = 1.0
"""After the window, for so long a look may take to make its value."""
_HAS_NOTHING = frozenset({"stopped", "traced", "zombie", "dead"})


class LongerLook(Struct, frozen=True):
    """`field` of `OverTime`; `what` it looks at, for a gap. `run` may raise a LookError, which becomes that gap."""

    field: str
    what: str
    run: Callable[[Process, Window], Seen]


LOOKS = (
    LongerLook("calls", "system calls that fail, and who opens files", watched_calls.watch),
    LongerLook("descriptors", "whether descriptors become more", watched_files.watch),
    LongerLook("time", "where its threads spend their time", watched_time.watch),
    LongerLook("memory", "whether memory grows, and what of it", watched_memory.watch),
    LongerLook("jvm", "the collections of a JVM", watched_jvm.watch),
)


class Watching:
    """Longer looks that are under way; a context manager that leaves none behind."""

    def __init__(self, process: Process, seconds: float, looks: Sequence[LongerLook] = LOOKS) -> None:
        self._process = process
        self.window = Window(seconds)
        self._running = [_Running(look, process, self.window) for look in looks]
        self._interrupted = False

    def collect(self) -> tuple[OverTime, tuple[Gap, ...]]:
        """Wait until the window is over, and give what was seen and what was not. Ctrl-C ends the window, not the verdict."""
        try:
            ended = _ends_within(self._process, self.window)
        except KeyboardInterrupt:
            self._interrupted = True
            ended = False
        self.window.close()
        seconds = time.monotonic() - self.window.began
        values: dict[str, Any] = {}
        gaps: list[Gap] = []
        unpermitted: list[Gap] = []
        for running in self._running:
            seen, refused = running.result()
            values[running.look.field] = seen.value
            (unpermitted if refused else gaps).extend(seen.gaps)
        if ended or self._interrupted:
            why = "it ended" if ended else "interrupted"
            gaps.append(Gap("all of the longer looks", f"{why} after {seconds:.1f} s"))
        return OverTime(seconds=seconds, gaps=tuple(unpermitted), **values), tuple(gaps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.window.close()
        for running in self._running:
            running.thread.join(_GRACE_S)


class _Running:
    """One look in its thread."""

    def __init__(self, look: LongerLook, process: Process, window: Window) -> None:
        self.look = look
        self._seen: Seen | None = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(process, window), name=look.field, daemon=True)
        self.thread.start()

    def _run(self, process: Process, window: Window) -> None:
        try:
            self._seen = self.look.run(process, window)
        except BaseException as error:  # noqa: BLE001  raised again by `result`, in the thread that waits for it
            self._error = error

    def result(self) -> tuple[Seen, bool]:
        """What it saw; and whether it saw nothing because that is not permitted."""
        self.thread.join(_GRACE_S)
        if self.thread.is_alive():
            return Seen(
                None, (Gap(self.look.what, f"the look did not end within {_GRACE_S:.0f} s of its window"),)
            ), False
        if isinstance(self._error, LookError):
            gap = Gap(self.look.what, self._error.said, self._error.remedy)
            return Seen(None, (gap,)), isinstance(self._error, NotPermitted)
        if self._error is not None:
            raise self._error
        assert self._seen is not None
        return self._seen, False


def pointless(process: Process, tasks: Sequence[Task]) -> bool:
    """It can do nothing in the window (it is stopped, or has ended), or has not done anything for long."""
    if process.state in _HAS_NOTHING:
        return True
    return all(task.asleep_s is not None and task.asleep_s >= _ASLEEP_S for task in tasks)


def _ends_within(process: Process, window: Window) -> bool:
    """Wait for the end of the window; whether the process ended before that."""
    try:
        end = os.pidfd_open(process.pid)
    except OSError:  # it has ended, or the kernel has no pidfds (before Linux 5.3)
        window.rest()
        return not procfs.exists(process.pid, process.start_ticks)
    try:
        poll = select.poll()
        poll.register(end, select.POLLIN)  # pidfd_open(2): readable when the process has ended
        while left := window.left():
            if poll.poll(left * 1000):
                return True
        return False
    finally:
        os.close(end)
