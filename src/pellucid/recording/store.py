"""Writes a recording: rows are gathered by the sampler, and committed by a thread, so that a slow disk stops no sample.

The file is a ring. What belongs together in time is a segment; once the pages in use come to `most_bytes`, the oldest segments are deleted,
and their pages are used again: the file grows to about that size and no further.
"""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import Any, Self

from pellucid.model import Frame
from pellucid.model.errors import UsageError
from pellucid.recording import schema

LEAST_BYTES = 1 << 20
MOST_BYTES = 256 << 20
SEGMENT_S = 600.0
_PARTS = 16
"""A segment is at most so large a part of the whole."""
_MOST_WAITING = 32
"""Batches that wait for the disk; what comes then is thrown away, and counted."""
_CLOSING_S = 10.0
_ROW = 40
"""Bytes of a row beside its blob, about."""

Rows = list[tuple[str, Sequence[Any]]]


class Before:
    """What earlier sessions left in a recording: read once, before the thread that writes has anything to do."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.next_session, self.next_process, self.next_finding = (
            int(connection.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()[0])
            for table in ("session", "process", "finding")
        )
        sql = "SELECT boot, pid, start_ticks, id, first, samples FROM process WHERE ended IS NULL"
        self.processes: dict[tuple[str, int, int], tuple[int, float, int]] = {
            (boot, pid, ticks): (key, first, samples)
            for boot, pid, ticks, key, first, samples in connection.execute(sql)
        }
        self.findings: dict[int, list[tuple[int, float, bytes]]] = {}
        """Process → (id, since when, blob) of those that had not ended."""
        sql = "SELECT process, id, first, about FROM finding WHERE ended IS NULL"
        for process, number, first, about in connection.execute(sql):
            self.findings.setdefault(process, []).append((number, first, about))


class Store:
    """An open recording; a context manager. Raises UsageError where it can't be written to, or another recorder does."""

    def __init__(self, path: str, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self.most_bytes = max(LEAST_BYTES, most_bytes)
        self.connection = schema.create(path)
        # Closed after the connection: to close a descriptor of a file gives up the locks that others of this process have on it, SQLite's
        # too (sqlite.org/howtocorrupt.html, 2.2).
        self._lock = os.open(path, os.O_RDONLY)
        try:
            flock(self._lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            self.connection.close()
            os.close(self._lock)
            raise UsageError(
                tried=f"record to {path}", said="another recorder writes to it", remedy="another -o"
            ) from None
        self.lost = 0
        self.failed: sqlite3.Error | None = None
        """Why what was last given could not be written, None once it could be."""
        self._rows: Rows = []
        self._bytes = 0
        self._waiting: queue.Queue[Rows | None] = queue.Queue(_MOST_WAITING)
        (last,) = self.connection.execute("SELECT max(id) FROM segment").fetchone()
        self.segment = last or 0
        self._serial = self._lost_before = 0
        self._began_at = 0.0
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, int], int] = {}
        self.begin_segment()
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, sql: str, *values: Any) -> None:
        """One statement of the next batch."""
        self._rows.append((sql, values))
        self._bytes += _ROW + sum(len(value) for value in values if isinstance(value, bytes | str))

    def serial(self) -> int:
        """The id of a new slice or look of this segment."""
        self._serial += 1
        return self.segment * schema.ROWS_OF_SEGMENT + self._serial

    def stack(self, parent: int, frame: Frame) -> int:
        """The number, in this segment, of the stack that ends in `frame`, called from the stack `parent` (-1: nobody)."""
        number = self._frames.get(frame)
        if number is None:
            number = self._frames[frame] = len(self._frames)
            values = (frame.function, frame.qualname, frame.file, frame.line)
            self.add("INSERT INTO frame VALUES (?, ?, ?, ?, ?, ?)", self.segment, number, *map(_encodable, values))
        key = parent, number
        stack = self._stacks.get(key)
        if stack is None:
            stack = self._stacks[key] = len(self._stacks)
            self.add("INSERT INTO stack VALUES (?, ?, ?, ?)", self.segment, stack, parent, number)
        return stack

    def segment_is_full(self) -> bool:
        """A new one is to be begun, by who keeps numbers of this one: those that were lost mean nothing to a reader."""
        return (
            self.lost != self._lost_before
            or self._bytes > self.most_bytes // _PARTS
            or time.monotonic() - self._began_at > SEGMENT_S
        )

    def begin_segment(self) -> None:
        """From here on all numbers of frames, stacks and threads are new."""
        self.segment += 1
        self._serial, self._bytes, self._began_at, self._lost_before = 0, 0, time.monotonic(), self.lost
        self._frames, self._stacks = {}, {}
        self.add("INSERT INTO segment VALUES (?, ?)", self.segment, time.time())

    def flush(self, *, wait_s: float = 0.0) -> bool:
        """Hand over what was added, to be committed as one; False where it had to be thrown away."""
        rows, self._rows = self._rows, []
        try:
            self._waiting.put(rows, block=wait_s > 0, timeout=wait_s or None)
        except queue.Full:
            self.lost += 1
            return False
        return True

    def settle(self, seconds: float = _CLOSING_S) -> bool:
        """Wait until all that was handed over is on the disk; False where that took too long."""
        ends = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.002)
        return not self._waiting.unfinished_tasks

    def close(self) -> None:
        """Commit what is there. The recording is one file then, without its log beside it."""
        if self._lock < 0:
            return
        self.flush(wait_s=_CLOSING_S)
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSING_S)
        self._thread.join(_CLOSING_S)
        if not self._thread.is_alive():
            with suppress(sqlite3.Error):  # somebody reads it just now: then the log stays, and is part of it
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self.connection.execute("PRAGMA busy_timeout = 0")
                self.connection.execute("PRAGMA journal_mode = DELETE")
            self.connection.close()
        os.close(self._lock)
        self._lock = -1

    def _write(self) -> None:
        """In its thread."""
        while (rows := self._waiting.get()) is not None:
            try:
                self._commit(rows)
                self.failed = None
            except sqlite3.Error as error:  # the disk is full, or fails: told by `failed`
                self.failed = error.with_traceback(None)
                self.lost += 1
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            self._waiting.task_done()
        self._waiting.task_done()

    def _commit(self, rows: Rows) -> None:
        run = self.connection.execute
        run("BEGIN IMMEDIATE")
        for sql, values in rows:
            run(sql, values)
        run("COMMIT")
        self._make_room()

    def _make_room(self) -> None:
        run = self.connection.execute
        while True:
            (pages,), (free,), (size,) = (
                run(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
            )
            if (pages - free) * size < self.most_bytes:
                return
            oldest = run("SELECT id FROM segment ORDER BY id LIMIT 2").fetchall()
            if len(oldest) < 2:
                return  # the one that is being written
            self._delete(oldest[0][0])

    def _delete(self, segment: int) -> None:
        run = self.connection.execute
        run("BEGIN IMMEDIATE")
        for table in ("frame", "stack", "thread", "counters", "cost"):
            run(f"DELETE FROM {table} WHERE segment = ?", (segment,))
        first = segment * schema.ROWS_OF_SEGMENT
        for table in ("slice", "look"):
            run(f"DELETE FROM {table} WHERE id BETWEEN ? AND ?", (first, first + schema.ROWS_OF_SEGMENT - 1))
        run("DELETE FROM segment WHERE id = ?", (segment,))
        (begin,) = run("SELECT min(began) FROM segment").fetchone()
        run("DELETE FROM process WHERE last < ?", (begin,))
        run("DELETE FROM finding WHERE last < ? OR process NOT IN (SELECT id FROM process)", (begin,))
        run("DELETE FROM session WHERE last < ?", (begin,))
        run("COMMIT")


def _encodable(value: object) -> object:
    """Names may hold lone surrogates, which UTF-8 does not have."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
