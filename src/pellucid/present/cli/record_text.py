"""What `pellucid record` says: where it writes, a line of progress on a terminal, and at the end what was recorded and what that cost."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from pellucid.diagnose.words import duration
from pellucid.kernel.own_descriptors import allow_more
from pellucid.kernel.own_malloc import hoard_nothing
from pellucid.model.errors import UsageError, os_words
from pellucid.observe.syscalls_launch import Launched
from pellucid.present.cli import launch, plain, screen
from pellucid.present.cli.progress import Line
from pellucid.present.cli.recording_text import megabytes, share
from pellucid.recording import places
from pellucid.recording.reading import Recording
from pellucid.recording.recorder import Asked, Progress, record

_GRACE_S = 2.0
"""After an interruption a command that we have launched is waited for so long: Ctrl-C in a terminal reaches it too, and its end is recorded."""


def run(
    targets: tuple[str, ...],
    *,
    launched: tuple[str, ...] | None,
    every: bool,
    seconds: float | None,
    path: str | None,
    rate_hz: float,
    most_bytes: int,
    children: bool,
    syscalls: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Record, and say what was recorded; the exit status is that of a command that was launched, else 0. What goes wrong is raised."""
    hoard_nothing()
    pids = tuple(dict.fromkeys(plain.resolve(target) for target in targets))
    with ExitStack() as stack:
        child = None
        if launched is not None:
            child = stack.enter_context(Launched(launched, 2 if as_json else 1, "record"))
            pids = (child.pid,)
        asked = Asked(
            pids=pids,
            every=every,
            children=children,
            rate_hz=rate_hz,
            seconds=seconds,
            most_bytes=most_bytes,
            launched=launched or (),
            syscalls=syscalls,
        )
        allow_more()  # and not to the command, which has begun
        if path is None:
            path = places.new(os.path.basename(child.program) if child else "all" if every else str(pids[0]))
        if force:
            _remove(path)
        done = _recorded(path, asked, child)
        _tell(path, asked, done, as_json=as_json)
        if child is None or child.ended():
            return (child.status or 0) if child is not None else 0
        print(screen.printable(f"{child.command[0]} (pid {child.pid}) goes on, and is not recorded"), file=sys.stderr)
        return 0


def _recorded(path: str, asked: Asked, child: Launched | None) -> Progress:
    """Says that it records when it does."""
    at_terminal = (
        child is None or not sys.stdout.isatty()
    )  # what the command prints is not mixed with a line of progress

    def begun() -> None:
        print(screen.printable(f"recording {asked} to {path}"), file=sys.stderr, flush=True)
        if child is not None:
            child.release()

    with launch.interruptions() as stopped, Line(wanted=at_terminal) as line:
        enough = stopped if child is None else _Enough(child, stopped)
        return record(path, asked, enough, lambda now: line.say(_progress(now, asked)), begun)


class _Enough:
    """Whether a recording of a launched command is to end: some time after the interruption, if the command did not end by it."""

    def __init__(self, child: Launched, stopped: Callable[[], bool]) -> None:
        self._child = child
        self._stopped = stopped
        self._since: float | None = None

    def __call__(self) -> bool:
        if not self._stopped():
            return False
        now = time.monotonic()
        self._since = self._since or now
        return now - self._since > _GRACE_S


def _tell(path: str, asked: Asked, done: Progress, *, as_json: bool) -> None:
    with Recording(path) as recorded:
        report = recorded.report()
    if as_json:
        plain.emit(report)
        return
    screen.say(
        screen.printable(
            f"recorded {_processes(done.processes + done.ended)} for {duration(done.elapsed_s)} to {path}, {megabytes(report.size_bytes)}"
        ),
        bold=True,
    )
    for each in report.processes:
        if each.death is not None and each.death.at >= time.time() - done.elapsed_s - 1:
            screen.say(screen.printable(f"pid {each.process.pid} {each.process.name}: {each.death}"))
    screen.say(_cost(done, asked), dim=True)
    screen.say(screen.printable(f"next: pellucid replay {path}"))


def _remove(path: str) -> None:
    """A recording with what belongs to it; nothing else is removed. Raises UsageError."""
    if not os.path.lexists(path):
        return
    Recording(path).close()  # raises for what is none
    for suffix in ("-wal", "-shm", ""):
        try:
            with suppress(FileNotFoundError):
                os.unlink(path + suffix)
        except OSError as error:
            raise UsageError(tried=f"remove {path}", said=os_words(error), remedy="another -o") from None


def _processes(count: int) -> str:
    return f"{count} process{'' if count == 1 else 'es'}"


def _progress(now: Progress, asked: Asked) -> str:
    until = f" of {duration(asked.seconds)}" if asked.seconds is not None else "; Ctrl-C ends it"
    failing = f"; THE FILE CAN'T BE WRITTEN: {now.failing}" if now.failing else ""
    return screen.printable(
        f"recording {_processes(now.processes)}, {duration(now.elapsed_s)}{until}; {share(now.cost.share)} of a core per process{failing}"
    )


def _cost(done: Progress, asked: Asked) -> str:
    missed = f", {done.cost.missed} moments missed" if done.cost.missed else ""
    lost = f", {done.cost.lost} times the disk was too slow and two seconds were lost" if done.cost.lost else ""
    slower = (
        f"; at last {done.rate_hz:.1f} samples a second, for more would have cost too much"
        if done.rate_hz < asked.rate_hz * 0.99
        else ""
    )
    waiting = (
        f"; {_processes(done.waiting)} came when as many were recorded as can be (ulimit -n)" if done.waiting else ""
    )
    return f"cost: {share(done.cost.share)} of a core per process{missed}{lost}{slower}{waiting}"
