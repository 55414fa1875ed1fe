"""The file of a recording: what is left of it by a loss of power at any moment, and by a disk that was full for a while."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

from pellucid.model import Frame
from pellucid.recording import schema
from pellucid.recording.reading import Recording
from pellucid.recording.store import Store
from tests.conftest import TARGETS
from tests.settling import until

ROWS = 5
MOMENTS = 25
CHECKPOINT = 1000
"""Pages in the log from which SQLite copies them into the database, at the end of a commit (sqlite.org/wal.html, automatic checkpoint)."""
HEAD, FRAME = 32, 24 + 4096
"""Bytes of the head of a log, and of each page in it (sqlite.org/fileformat2.html, the write-ahead log)."""


@contextmanager
def writer(path):
    with subprocess.Popen([sys.executable, TARGETS / "committing.py", path], stdout=subprocess.PIPE) as process:
        os.set_blocking(process.stdout.fileno(), False)
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process, before):
    """The last batch that the writer has called written."""
    told = process.stdout.read() or b""
    assert process.poll() is None, "the writer has ended"
    return int(told.split()[-1]) if told.endswith(b"\n") else before


@contextmanager
def stopped(process):
    """No thread of it runs meanwhile."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    yield
    process.send_signal(signal.SIGCONT)


def commits(log):
    """Where each commit ends in a log, those of an earlier round left out."""
    salt, ends = log[16:24], []
    for at in range(HEAD, len(log) - FRAME + 1, FRAME):
        if log[at + 8 : at + 16] != salt:
            break
        if log[at + 4 : at + 8] != bytes(4):  # the size of the database after it: this page ends a commit
            ends.append(at + FRAME)
    return ends


def lost(log, dice):
    """What a loss of power may leave of a log: all that had been synchronised, and of the rest anything (sqlite.org/psow.html).

    The last commit may not have been, as long as nothing of the log is being copied into the database.
    """
    ends = commits(log)
    if not ends:
        return log
    sure = ends[-2] if len(ends) > 1 and (ends[-1] - HEAD) // FRAME < CHECKPOINT else ends[-1]
    end = dice.randint(sure, max(sure, min(len(log), ends[-1] + FRAME)))
    rest = dice.randbytes(dice.randint(0, 3 * 4096)) if dice.random() < 0.5 else b""
    return log[:end] + rest


def batches(path):
    """Batch → its rows, of those that can be read; nothing is damaged."""
    with Recording(path) as recording:
        recording.report()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = dict(connection.execute("SELECT at, count(*) FROM counters GROUP BY at"))
        looks = dict(connection.execute("SELECT at, length(content) FROM look"))
    assert set(counted.values()) <= {ROWS}, "a batch is there in part"
    assert set(looks) == set(counted) and set(looks.values()) <= {8192}
    return set(counted)


def test_what_was_written_is_there_after_a_loss_of_power_at_any_moment(tmp_path):
    path, dice = str(tmp_path / "written.recording"), random.Random(11)
    copy = str(tmp_path / "copy.recording")
    number, rounds = 0, set()
    with writer(path) as process:
        for _ in range(MOMENTS):
            want = number + dice.randint(1, 25)

            def come(want=want):
                nonlocal number
                number = acknowledged(process, number)
                return number >= want

            until(come, 60)
            with stopped(process):
                number = acknowledged(process, number)
                shutil.copyfile(path, copy)
                with open(f"{path}-wal", "rb") as file:
                    log = file.read()
            rounds.add(log[16:24])
            with open(f"{copy}-wal", "wb") as file:
                file.write(lost(log, dice))
            found = batches(copy)
            # The one that was last called written may be the one that was cut: it had been synchronised.
            assert number - 1 in found and max(found) <= number + 1
            assert found == set(range(int(min(found)), int(max(found)) + 1)), "one between others is missing"
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(copy + suffix):
                    os.unlink(copy + suffix)
    assert len(rounds) > 1, "the log has never been copied into the database meanwhile"


def test_after_a_full_disk_nothing_refers_to_what_was_lost(tmp_path):
    frame = Frame(function="work", qualname="work", file="work.py", line=1)
    with Store(str(tmp_path / "full.recording")) as store:
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count = {pages}")  # as a disk that is full
        before = store.segment
        stack = store.stack(-1, frame)
        store.add("INSERT INTO look VALUES (?, 1, 'test', 1, 1, ?)", store.serial(), bytes(1 << 20))
        store.flush()
        assert store.settle() and isinstance(store.failed, sqlite3.Error) and store.lost == 1
        store.connection.execute("PRAGMA max_page_count = 1000000")
        assert store.segment_is_full()
        store.begin_segment()
        assert store.segment > before and not store.segment_is_full()
        assert store.stack(-1, frame) == stack == 0
        store.flush()
        assert store.settle() and store.failed is None
        frames = store.connection.execute("SELECT segment, function FROM frame").fetchall()
        assert frames == [(store.segment, "work")]


def test_each_commit_is_on_the_disk_when_it_returns(tmp_path):
    with closing(schema.create(str(tmp_path / "new.recording"))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
