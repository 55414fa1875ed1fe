"""The log: one JSON record a write. Workers write into a pipe, the supervisor reads it and prints; neither ever waits for a reader.

A write of at most PIPE_BUF (4096) bytes into a pipe is atomic (pipe(7)), so records of several processes never mix. When the pipe
is full the record is dropped and counted: a prediction is worth more than a line about it. The same holds for the supervisor's stderr, which may be
a pipe that nobody reads: it asks poll(2) first.
"""

import os
import select
import sys
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pellucid.inert import inert, inert_json, lines
from pellucid.serve.events import Level

PIPE_BUF = 4096


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. `trace` is a traceback, cut at its beginning when it is too long."""

    at: float = 0.0
    level: Level
    event: str
    sentence: str
    worker: int | None = None
    pid: int | None = None
    incident: str | None = None
    request: str | None = None
    trace_id: str = ""
    """Of the request, where it is traced (OpenTelemetry)."""
    trace: str = ""


def packed(record: Record) -> bytes:
    """At most PIPE_BUF bytes, a line break at the end. What is too long loses its beginning (trace) or its end (sentence)."""
    encoded = inert_json(msgspec.json.encode(record))
    keep = PIPE_BUF
    while len(encoded) >= PIPE_BUF and keep > 16:
        keep //= 2
        record = replace(record, trace=record.trace[-keep:], sentence=record.sentence[:keep])
        encoded = inert_json(msgspec.json.encode(record))
    return encoded + b"\n"


class Pipe:
    """A worker's end. `dropped` is called for each record that found no room."""

    def __init__(self, fd: int, dropped: Callable[[], None]) -> None:
        self.fd = fd
        self.dropped = dropped

    def write(self, record: Record) -> None:
        try:
            os.write(self.fd, packed(replace(record, at=time.time(), pid=os.getpid())))
        except OSError:  # full, or the supervisor is gone: then this process is about to go too
            self.dropped()


class Lines:
    """What came out of the pipe, cut into records."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Record]:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        records = []
        for line in whole:
            try:
                records.append(msgspec.json.decode(line, type=Record))
            except msgspec.DecodeError:
                records.append(Record(level="warning", event="garbled", sentence=line.decode("utf-8", "replace")))
        return records


class Screen:
    """stderr, as JSON records or, for a person, as lines with the time of day."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.lost = 0
        self._poll = select.poll()
        self._poll.register(2, select.POLLOUT)

    def tell(self, record: Record) -> None:
        if not record.at:
            record = replace(record, at=time.time())
        if self.as_json:
            self._write(packed(record))
            return
        clock = time.strftime("%H:%M:%S", time.localtime(record.at))
        mark = {"info": "", "warning": "warning: ", "error": "error: "}[record.level]
        told = f" (incident {record.incident})" if record.incident else ""
        trace = f"\n{lines(record.trace.rstrip())}" if record.trace else ""
        self._write(f"{clock} {mark}{inert(record.sentence)}{told}{trace}\n".encode("utf-8", "replace"))

    def plain(self, lines: list[str]) -> None:
        """Lines for a person; nothing in JSON mode."""
        if not self.as_json:
            self._write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))

    def _write(self, content: bytes) -> None:
        sys.stderr.flush()
        for start in range(0, len(content), PIPE_BUF):
            if not self._poll.poll(0):
                self.lost += 1
                return
            try:
                os.write(2, content[start : start + PIPE_BUF])
            except OSError:  # its reader is gone: the server goes on without a log
                self.lost += 1
                return
