"""What `pellucid record` says: where it writes, a line of progress on a terminal, and at the end what was recorded and what that cost."""

import os
import sys
import time
from contextlib import suppress

from pellucid.diagnose.words import duration
from pellucid.model.errors import UsageError, os_words
from pellucid.present.cli import launch, plain, screen
from pellucid.present.cli.progress import Line
from pellucid.present.cli.replay_text import megabytes, share
from pellucid.recording import places
from pellucid.recording.reading import Recording
from pellucid.recording.recorder import Asked, Progress, record


def run(
    targets: tuple[str, ...],
    *,
    every: bool,
    seconds: float | None,
    path: str | None,
    rate_hz: float,
    most_bytes: int,
    children: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Record, and say what was recorded; the exit status is 0, what goes wrong is raised."""
    pids = tuple(dict.fromkeys(plain.resolve(target) for target in targets))
    asked = Asked(pids=pids, every=every, children=children, rate_hz=rate_hz, seconds=seconds, most_bytes=most_bytes)
    if path is None:
        path = places.new("all" if every else str(pids[0]))
    if force:
        _remove(path)
    print(screen.printable(f"recording {asked} to {path}"), file=sys.stderr, flush=True)
    with launch.interruptions() as stopped, Line() as line:
        done = record(path, asked, stopped, lambda now: line.say(_progress(now, asked)))
    with Recording(path) as recorded:
        report = recorded.report()
    if as_json:
        plain.emit(report)
        return 0
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
    return 0


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
    return f"cost: {share(done.cost.share)} of a core per process{missed}{lost}{slower}"
