"""The supervisor's side of telemetry: the socket that workers write into, and the process at its other end (`sending.py`).

That is forked from the supervisor before anything else, is nicer than the workers, and is begun again where it ends. What it has not sent within
a few seconds when the server stops is given up.
"""

import contextlib
import os
import select
import signal
import socket
import time

from pellucid.kernel.own_malloc import hoard_nothing
from pellucid.serve import processes
from pellucid.serve.board import Board
from pellucid.serve.children import Children
from pellucid.serve.events import Say
from pellucid.serve.log import Record, Screen
from pellucid.serve.options import Options
from pellucid.serve.telemetry.messages import Logged, encode
from pellucid.serve.telemetry.sending import LAST_WORDS_S, ORPHANED_S, Sending
from pellucid.serve.telemetry.settings import Settings

NICE = 10
AGAIN_S = 10.0


class Exporter:
    """`workers_end`: the descriptor into which workers write."""

    def __init__(self, settings: Settings, options: Options, board: Board, children: Children, screen: Screen) -> None:
        self._settings = settings
        self._options = options
        self._board = board
        self._children = children
        self._screen = screen
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        self._theirs = theirs
        self._began = time.time_ns()
        self._pid = 0
        self._not_before = 0.0

    @property
    def workers_end(self) -> int:
        return self._theirs.fileno()

    def start(self, now: float) -> None:
        """Begin, or begin again where it has ended and that may pass; to be called now and then."""
        if self._pid or now < self._not_before:
            return
        self._not_before = now + AGAIN_S
        supervisor = os.getpid()
        self._pid = processes.fork(lambda: self._become(supervisor), last=signal.SIGTERM)
        self._children.watch(self._pid, self._ended)

    def _become(self, supervisor: int) -> None:
        processes.stand_alone(keep=(self._ours.fileno(), self._board.fd))
        processes.name_thread("pellucid-otlp")
        hoard_nothing()
        os.nice(NICE)
        sending = Sending(self._settings, self._options, self._board, self._screen, self._began)
        os._exit(sending.run(supervisor, self._ours))

    def _ended(self) -> None:
        death = self._children.reap(self._pid)
        self._pid = 0
        told = f"the process that sends telemetry {'was ' if death.signal else ''}{death}; it is started again"
        self._screen.tell(Record(level="warning", event="exporter_ended", sentence=told))

    def log(self, said: Say) -> None:
        """What the supervisor logs, the log's receiver gets too."""
        if self._settings.logs is None:
            return
        message = Logged(
            time.time(), said.level, said.event, said.sentence[:8000], said.worker, said.pid, said.incident or "",
            said.request or "", said.trace_id, said.span_id,
        )  # fmt: skip
        try:
            self._theirs.send(encode(message))
        except OSError:  # it does not keep up
            self._board.unsaid()

    def end(self, signals: int, *, now: bool) -> None:
        """Let it send what it has, unless all has to end `now`, or another signal comes (`signals` becomes readable)."""
        if not self._pid or now:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
        until = time.monotonic() + LAST_WORDS_S + ORPHANED_S
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return  # `Children.end` collects it
            if select.select([signals], [], [], 0.01)[0]:
                return
