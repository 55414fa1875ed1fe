"""The flight recorder of a server: a process beside its workers that records all of them, so that an incident has the minutes before it.

    supervisor ── recorder (`run`)  →  $XDG_DATA_HOME/pellucid/recordings/serve-loan-8000.recording, a ring of 64 MiB
         │  └─ a pipe: how each worker ended, which its parent knows for certain
         └─ incident: pellucid replay .../serve-loan-8000.recording stacks 4242 --at '2026-11-26 12:03:20'

It begins once the server is ready, is nicer than the workers, and is no part of serving: without it, or without the right to look, all else goes on.
"""

import contextlib
import gc
import os
import re
import shlex
import signal
import time

from msgspec.structs import replace

from pellucid import home
from pellucid.kernel.own_malloc import hoard_nothing
from pellucid.model.errors import PellucidError
from pellucid.model.incident import Incident
from pellucid.serve import processes
from pellucid.serve.children import Children
from pellucid.serve.log import Record, Screen
from pellucid.serve.options import Options
from pellucid.serve.processes import Death

MOST_BYTES = 64 << 20
RATE_HZ = 5.0
KEPT = 8
"""Recordings of other servers that stay."""
NICE = 10
COLLECT = (2_000, 5, 5)
"""Thresholds of its collector (gc.set_threshold). With those of a command that soon ends, 10 MB of cycles wait to be freed while the load is high."""
LAST_WORDS_S = 1.0
AGAIN_S = 10.0


class Recorder:
    """The supervisor's side. `path` is the recording."""

    def __init__(self, options: Options, children: Children, screen: Screen) -> None:
        self._children = children
        self._screen = screen
        self._wanted = options.record
        self._pid = 0
        self._deaths = -1
        """Our end of the pipe while it runs."""
        self._not_before = 0.0
        model = options.model.partition(":")[0]
        where = str(options.port) if options.port else f"unix-{options.supervisor or os.getpid()}"
        self.path = os.path.join(home.recordings(), f"serve-{re.sub(r'[^A-Za-z0-9_.-]', '_', model)}-{where}.recording")

    def start(self, now: float) -> None:
        """Begin, or begin again where it has ended and that may pass; to be called now and then once the server is ready."""
        if not self._wanted or self._pid or now < self._not_before:
            return
        self._not_before = now + AGAIN_S
        theirs, self._deaths = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        supervisor = os.getpid()
        self._pid = processes.fork(lambda: self._become(supervisor, theirs), last=signal.SIGTERM)
        os.close(theirs)
        self._children.watch(self._pid, self._ended)

    def _become(self, supervisor: int, deaths: int) -> None:
        """In the child, which shares with the supervisor what both have imported: as a program of its own it would take 10 MB more."""
        processes.stand_alone(keep=(deaths,))
        processes.name_thread("pellucid-rec")
        hoard_nothing()
        os._exit(run(supervisor, self.path, deaths, self._screen))

    def tell(self, pid: int, death: Death) -> None:
        """How a worker ended. Once its parent has collected it, nobody else may be able to learn that."""
        if self._pid:
            with contextlib.suppress(
                BlockingIOError, BrokenPipeError
            ):  # it does not read: then its recording does not know
                os.write(self._deaths, f"{pid} {death.wait_status()}\n".encode())

    def _ended(self) -> None:
        death = self._children.reap(self._pid)
        self._pid = 0
        os.close(self._deaths)
        if death.status in {2, 4, 5}:  # what it has said itself: it may not look, or not write there
            self._wanted = False
            return
        told = f"the recorder of the workers {'was ' if death.signal else ''}{death}; it is started again"
        self._screen.tell(Record(level="warning", event="recorder_ended", sentence=told))

    def attach(self, incident: Incident) -> Incident:
        """The incident with where its past is kept, and the commands that look back at it: what `why` says of that moment, it has itself."""
        if not self._pid:
            return incident
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(incident.at))
        path = shlex.quote(self.path)
        commands = (
            f"pellucid replay {path} stacks {incident.pid} --at '{at}'",
            f"pellucid replay {path} profile {incident.pid} --at '{at}' --last 5m",
        )
        return replace(incident, recording=self.path, replay=commands)

    def end(self) -> None:
        """Let it write what it has."""
        if not self._pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
        until = time.monotonic() + LAST_WORDS_S
        while time.monotonic() < until:
            found = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:  # `Children.end` collects it
                return
            time.sleep(0.01)


def run(supervisor: int, path: str, deaths: int, screen: Screen) -> int:
    """The recorder itself, until SIGTERM. The exit status says whether there is any use in another try."""
    from pellucid.recording.recorder import Asked, record

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    os.nice(NICE)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _make_room(path)
        gc.freeze()  # what was imported stays, and need not be searched again and again
        gc.set_threshold(*COLLECT)
        asked = Asked(pids=(supervisor,), rate_hz=RATE_HZ, most_bytes=MOST_BYTES, tables=False)
        record(path, asked, lambda: bool(stopped), lambda _: processes.give_back(), deaths=_Deaths(deaths).told)
    except PellucidError as error:
        told = f"the workers are not recorded: {error.said}; {error.remedy}"
        screen.tell(Record(level="info", event="not_recorded", sentence=told))
        return error.exit_status
    return 0


class _Deaths:
    """What the supervisor tells through the pipe `fd`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def told(self) -> list[tuple[int, int]]:
        """Since the last call: pids, each with its status as wait(2) gives it. A line is written, and so read, as a whole (pipe(7), PIPE_BUF)."""
        lines = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._fd, 4096):  # empty: the supervisor is gone
                lines += chunk
        return [(int(pid), int(status)) for pid, status in map(bytes.split, lines.splitlines())]


def _make_room(path: str) -> None:
    """Of the recordings of servers that are no longer there the newest stay."""
    folder = os.path.dirname(path)
    found = [os.path.join(folder, name) for name in os.listdir(folder) if re.fullmatch(r"serve-.*\.recording", name)]
    by_age = sorted((os.stat(name).st_mtime, name) for name in found if name != path)
    for _, name in by_age[:-KEPT]:
        if os.path.exists(f"{name}-wal"):
            continue  # somebody writes to it, or was killed while he did
        with contextlib.suppress(OSError):
            os.unlink(name)
