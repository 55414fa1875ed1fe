"""A line of progress on the terminal, written by a process of its own: a terminal that does not take what is written to it
(Ctrl-S, a slow connection) must not stop a sampler.
"""

import os
import signal
import sys
from types import TracebackType
from typing import Self


class Line:
    """`say(text)` replaces the line; a context manager that clears it at the end. Nothing is said where stderr is no terminal."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._to = -1
        self._writer = 0
        if not wanted or not sys.stderr.isatty():
            return
        sys.stdout.flush()
        sys.stderr.flush()
        ours, self._to = os.pipe()
        self._writer = os.fork()
        if self._writer == 0:
            os.close(self._to)
            _write(ours)
        os.close(ours)
        os.set_blocking(self._to, False)

    def say(self, text: str) -> None:
        if self._to >= 0:
            try:
                os.write(self._to, text.encode("utf-8", "replace")[:500] + b"\n")
            except OSError:  # the writer is behind, or gone: a line of progress is no loss
                return

    def close(self) -> None:
        if self._to >= 0:
            os.close(self._to)
            self._to = -1
            os.waitpid(self._writer, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _write(source: int) -> None:
    """In the writer: each line over the last one. Never returns."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while text := os.read(source, 65536):
            last = text.rstrip(b"\n").rpartition(b"\n")[2]
            os.write(2, b"\r\x1b[K" + last)
        os.write(2, b"\r\x1b[K")
    finally:
        os._exit(0)
