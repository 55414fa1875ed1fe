"""The file of a recording: one SQLite database (sqlite.org/fileformat2.html) in WAL mode, so that what was committed outlives a kill and a loss of power.

    session   one run of the recorder                 segment   what is deleted as one, the oldest first (`store`)
    process   who was recorded, until when, its end   slice     a few seconds of samples of the stacks of one process
    finding   from when to when something was wrong    counters  numbers of one process at one moment
    cost      what the recorder used                  look      a whole Snapshot, a table of memory, ... at one moment

Frames, stacks and threads are numbers that hold within their segment; the id of a slice and of a look begins with its segment. Whatever
is a value of `model` lies in a blob: MessagePack, packed by zlib. `user_version` is the version of this schema.
"""

import os
import secrets
import sqlite3
import zlib
from contextlib import closing, suppress
from errno import EACCES
from typing import Any, TypeVar

import msgspec

from pellucid.model.errors import UsageError, os_words

VERSION = 1
APPLICATION = 0x70656C6C
"""`PRAGMA application_id`: "pell"."""
SUFFIX = ".recording"
MOST_BLOB = 64 << 20
"""Bytes that a blob may unpack to: a file may come from anybody."""
ROWS_OF_SEGMENT = 1 << 32

COUNTERS = (
    "cpu_s REAL, anon INTEGER, file INTEGER, shmem INTEGER, swap INTEGER, virtual INTEGER, minor INTEGER, major INTEGER, "
    "threads INTEGER, descriptors INTEGER, mappings INTEGER, gen0 INTEGER, gen1 INTEGER, gen2 INTEGER, gc_s REAL, "
    "gc_readings INTEGER, gc_set INTEGER, read_calls INTEGER, write_calls INTEGER, read_bytes INTEGER, written_bytes INTEGER, "
    "known INTEGER, native INTEGER, free INTEGER, arrays INTEGER, heap INTEGER"
)
COUNTER_NAMES = tuple(column.split()[0] for column in COUNTERS.split(", "))

TABLES = f"""
CREATE TABLE session (id INTEGER PRIMARY KEY, began REAL NOT NULL, last REAL NOT NULL, ended REAL, host TEXT NOT NULL, boot TEXT NOT NULL,
    asked TEXT NOT NULL, rate_hz REAL NOT NULL, version TEXT NOT NULL, most_bytes INTEGER NOT NULL, pid INTEGER NOT NULL);
CREATE TABLE process (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, pid INTEGER NOT NULL, start_ticks INTEGER NOT NULL, asked INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, ended REAL, samples INTEGER NOT NULL, about BLOB NOT NULL, death BLOB, gaps BLOB);
CREATE INDEX process_by_identity ON process (boot, pid, start_ticks);
CREATE TABLE segment (id INTEGER PRIMARY KEY, began REAL NOT NULL);
CREATE TABLE frame (segment INTEGER, id INTEGER, function TEXT NOT NULL, qualname TEXT NOT NULL, file TEXT NOT NULL, line INTEGER,
    PRIMARY KEY (segment, id)) WITHOUT ROWID;
CREATE TABLE stack (segment INTEGER, id INTEGER, parent INTEGER NOT NULL, frame INTEGER NOT NULL, PRIMARY KEY (segment, id)) WITHOUT ROWID;
CREATE TABLE thread (segment INTEGER, id INTEGER, process INTEGER NOT NULL, tid INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (segment, id)) WITHOUT ROWID;
CREATE TABLE slice (id INTEGER PRIMARY KEY, process INTEGER NOT NULL, began REAL NOT NULL, ended REAL NOT NULL, interval_s REAL NOT NULL,
    rested INTEGER NOT NULL, asked INTEGER NOT NULL, missed INTEGER NOT NULL, failed INTEGER NOT NULL, unstable INTEGER NOT NULL,
    runs BLOB NOT NULL);
CREATE INDEX slice_by_time ON slice (process, began);
CREATE TABLE counters (segment INTEGER, process INTEGER, at REAL, {COUNTERS}, PRIMARY KEY (segment, process, at)) WITHOUT ROWID;
CREATE TABLE look (id INTEGER PRIMARY KEY, process INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, until REAL NOT NULL, content BLOB NOT NULL);
CREATE INDEX look_by_time ON look (process, kind, at);
CREATE TABLE finding (id INTEGER PRIMARY KEY, process INTEGER NOT NULL, rule TEXT NOT NULL, severity TEXT NOT NULL, confidence TEXT NOT NULL,
    title TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL, ended REAL, about BLOB NOT NULL);
CREATE INDEX finding_by_time ON finding (process, first);
CREATE TABLE cost (segment INTEGER, at REAL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL, processes INTEGER NOT NULL, samples INTEGER NOT NULL,
    missed INTEGER NOT NULL, lost INTEGER NOT NULL, PRIMARY KEY (segment, at)) WITHOUT ROWID;
"""

Kind = TypeVar("Kind")


class Lane(msgspec.Struct, frozen=True, array_like=True):
    """One thread in a slice: its runs of equal samples as columns. `thread` and `stacks` are numbers of the segment, -1 for no frames.

    `at_ms`: since the slice began, of the first sample of each run; `flags`: the state, plus MOVING.
    """

    thread: int
    at_ms: tuple[int, ...]
    stacks: tuple[int, ...]
    samples: tuple[int, ...]
    flags: tuple[int, ...]


def pack(value: Any) -> bytes:
    """A blob."""
    return zlib.compress(msgspec.msgpack.encode(value), 1)


def unpack(blob: object, kind: type[Kind]) -> Kind:
    """What `pack` was given. Raises ValueError for what is none."""
    try:
        if not isinstance(blob, bytes):
            raise msgspec.ValidationError("there is none where one belongs")
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(blob, MOST_BLOB)
        if not unpacking.eof:
            raise ValueError("a blob is cut short or too large")
        return msgspec.msgpack.decode(content, type=kind)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"a blob is damaged: {error}") from None


def create(path: str) -> sqlite3.Connection:
    """A connection that writes to the recording `path`, which is made where it is not there: as a whole, or not at all. Raises UsageError."""
    tried = f"record to {path}"
    try:
        if not os.path.lexists(path):
            _make(path)
        elif not os.path.isfile(path):
            raise UsageError(tried=tried, said="it is no file", remedy="another -o")
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    except OSError as error:
        raise UsageError(tried=tried, said=os_words(error), remedy="-o FILE, in a directory of yours") from None
    except sqlite3.Error as error:
        raise UsageError(tried=tried, said=str(error), remedy="another -o") from None
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _check(connection, path, tried)
        else:
            _fill(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # Each commit is on the disk when it returns (sqlite.org/pragma.html#pragma_synchronous): a loss of power takes no more than a kill.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
    except sqlite3.Error as error:
        connection.close()
        raise _refused(path, tried, error) from None
    except UsageError:
        connection.close()
        raise
    return connection


def _make(path: str) -> None:
    """Under a passing name first. It tells what programs do: nobody else's to read. Raises OSError, sqlite3.Error."""
    folder, name = os.path.split(path)
    passing = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    os.close(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(passing, isolation_level=None)) as connection:
            _fill(connection)
        try:
            os.link(passing, path)
        except FileExistsError:  # somebody else made it meanwhile
            return
        except PermissionError:  # a file system without hard links (link(2), EPERM)
            os.rename(passing, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(passing)


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 4096")
    connection.executescript(
        f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    )


def open_to_read(path: str) -> sqlite3.Connection:
    """A connection that only reads, also while a recorder writes. Raises UsageError: no recording, a newer one, damaged."""
    tried = f"read the recording {path}"
    try:
        os.stat(path)
        if not os.access(path, os.R_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
    except OSError as error:
        raise UsageError(tried=tried, said=os_words(error), remedy="pellucid record PID -o FILE  (makes one)") from None
    try:
        return _opened(path, tried, "mode=ro")
    except sqlite3.OperationalError:
        # In a directory that may not be written to there is no place for the index of the log (sqlite.org/wal.html, read-only databases).
        try:
            return _opened(path, tried, "mode=ro&immutable=1")
        except sqlite3.Error as error:
            raise _refused(path, tried, error) from None
    except sqlite3.Error as error:
        raise _refused(path, tried, error) from None


def _opened(path: str, tried: str, how: str) -> sqlite3.Connection:
    """Raises UsageError and sqlite3.Error."""
    from urllib.parse import quote

    connection = sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # it may come from anybody (sqlite.org/security.html)
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA query_only = ON")
        _check(connection, path, tried)
    except BaseException:
        connection.close()
        raise
    return connection


def damaged(tried: str, said: object) -> UsageError:
    """The error for a recording that can't be what it says."""
    return UsageError(tried=tried, said=f"it is damaged: {said}", remedy="a copy of it that was made earlier")


def _check(connection: sqlite3.Connection, path: str, tried: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise _no_recording(tried, path)
    if version > VERSION:
        said = (
            f"it was written by a newer pellucid: version {version} of recordings, and this one knows up to {VERSION}"
        )
        raise UsageError(tried=tried, said=said, remedy="pip install --upgrade pellucid")


def _refused(path: str, tried: str, error: sqlite3.Error) -> UsageError:
    if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
        return _no_recording(tried, path)
    return damaged(tried, error)


def _no_recording(tried: str, path: str) -> UsageError:
    with open(path, "rb") as file:
        profile = file.read(17) == b"pellucid profile "
    remedy = f"pellucid profile show {path}" if profile else "pellucid record PID -o FILE  (makes one)"
    return UsageError(
        tried=tried, said="it is a profile" if profile else "it is no recording of pellucid", remedy=remedy
    )
