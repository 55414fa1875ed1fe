"""Deleted files back: sparse, while they grow, mapped; refused, interrupted, on a full disk: nothing half is left."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pellucid.model.errors import NoSuchProcess, UsageError
from pellucid.observe.recover import recover, recoverable
from tests import interpreters
from tests.forked import CLONE_NEWNS, looked, mount, needs_root, unshare
from tests.syscalls import until

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)
PELLUCID = [sys.executable, "-m", "pellucid"]


@pytest.fixture
def holds(target, tmp_path):
    def start(way):
        process, _ = target(OURS, "file_holder.py", str(tmp_path), way)
        return process, next(one for one in recoverable(process.pid).files if one.path.startswith(str(tmp_path)))

    return start


def position(pid, fd):
    with open(f"/proc/{pid}/fdinfo/{fd}") as info:
        return int(info.readline().split()[1])


def test_a_deleted_file_with_a_hole(holds, tmp_path):
    process, file = holds("deleted")
    assert (file.size, file.sha256, file.path) == ((1 << 20) + 26, None, f"{tmp_path}/gone-deleted")
    before = position(process.pid, file.fd)
    assert before == 17
    with open(f"/proc/{process.pid}/fd/{file.fd}", "rb") as held:
        wanted = hashlib.sha256(held.read()).hexdigest()
    out = tmp_path / "back"
    report = recover(process.pid, file.fd, str(out))
    (copied,) = report.files
    assert (copied.sha256, copied.size, copied.copy) == (wanted, file.size, str(out))
    assert hashlib.sha256(out.read_bytes()).hexdigest() == wanted
    assert out.stat().st_blocks * 512 <= file.allocated
    assert position(process.pid, file.fd) == before
    assert [name for name in os.listdir(tmp_path) if "pellucid" in name] == []


def test_64_mib_with_data_at_both_ends(tmp_path):
    out = tmp_path / "back"
    with open(tmp_path / "large", "w+b") as file:
        file.write(os.urandom(8192))
        file.seek((64 << 20) - 8192)
        file.write(os.urandom(8192))
        file.flush()
        os.unlink(file.name)
        at = file.tell()
        (copied,) = recover(os.getpid(), file.fileno(), str(out)).files
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == at
        file.seek(0)
        assert copied.sha256 == hashlib.sha256(file.read()).hexdigest()
    assert out.stat().st_size == 64 << 20
    assert out.stat().st_blocks * 512 < 1 << 20


@needs_root  # map_files is for CAP_CHECKPOINT_RESTORE
def test_a_file_that_is_only_mapped(holds, tmp_path):
    process, file = holds("deleted-map")
    assert file.fd is None
    (copied,) = recover(process.pid, None, str(tmp_path / "back"), address=file.address).files
    assert (tmp_path / "back").read_bytes() == b"first\n" * 1000
    assert copied.size == 6000


def test_what_comes_while_it_is_copied(holds, tmp_path):
    process, file = holds("growing")
    ends = time.monotonic() + 60
    sizes = []

    def follow(size):
        sizes.append(size)
        return size < sizes[0] + 2000 and time.monotonic() < ends

    (copied,) = recover(process.pid, file.fd, str(tmp_path / "back"), follow=follow).files
    lines = (tmp_path / "back").read_bytes().removeprefix(b"first\n" * 1000).split(b"\n")
    assert lines[:-1] == [b"line %d" % number for number in range(len(lines) - 1)]
    assert len(lines) > 100
    assert sizes[-1] > sizes[0]
    assert copied.size == (tmp_path / "back").stat().st_size


def test_it_follows_to_the_end_of_the_process(holds, tmp_path):
    process, file = holds("growing")
    seen = []

    def follow(size):
        seen.append(size)
        if len(seen) == 3:
            process.kill()
            process.wait()
        return len(seen) < 50

    recover(process.pid, file.fd, str(tmp_path / "back"), follow=follow)
    assert len(seen) < 6, "it noticed"


def test_a_file_that_is_emptied_while_it_is_followed(tmp_path):
    with open(tmp_path / "log", "w+b") as file:
        file.write(b"old\n" * 100)
        file.flush()
        os.unlink(file.name)
        turns = []

        def follow(size):
            turns.append(size)
            if len(turns) == 1:
                os.ftruncate(file.fileno(), 0)
                os.pwrite(file.fileno(), b"new\n", 0)
            return len(turns) < 3

        recover(os.getpid(), file.fileno(), str(tmp_path / "back"), follow=follow)
    assert (tmp_path / "back").read_bytes() == b"new\n"


def test_nothing_is_overwritten(holds, tmp_path):
    process, file = holds("deleted")
    out = tmp_path / "there"
    out.write_text("mine")
    with pytest.raises(UsageError, match="there is something of this name"):
        recover(process.pid, file.fd, str(out))
    assert out.read_text() == "mine"

    def appears(_size):
        (tmp_path / "late").write_text("mine")
        return False

    with pytest.raises(UsageError, match="of this name now"):
        recover(process.pid, file.fd, str(tmp_path / "late"), follow=appears)
    assert (tmp_path / "late").read_text() == "mine"
    recover(process.pid, file.fd, str(out), force=True)
    assert out.stat().st_size == file.size
    assert [name for name in os.listdir(tmp_path) if "pellucid" in name] == []


def test_what_is_no_deleted_file(tmp_path):
    reading, writing = os.pipe()
    try:
        with open(tmp_path / "plain", "w") as file, pytest.raises(UsageError, match="is not deleted"):
            recover(os.getpid(), file.fileno(), str(tmp_path / "back"))
        with pytest.raises(UsageError, match="it is no file but: pipe"):
            recover(os.getpid(), reading, str(tmp_path / "back"))
        with pytest.raises(UsageError, match="not open"):
            recover(os.getpid(), 987, str(tmp_path / "back"))
        with pytest.raises(UsageError, match="there is none"):
            recover(os.getpid(), None, str(tmp_path / "back"), address="1-2")
        with pytest.raises(NoSuchProcess):
            recoverable(4_000_000)
    finally:
        os.close(reading)
        os.close(writing)


@needs_root
@pytest.mark.parametrize("known", [True, False])
def test_a_full_disk(tmp_path, known):
    """`known`: the file is larger than the room from the start; else it outgrows it while it is followed."""

    def ask():
        with open(tmp_path / "large", "w+b") as file:
            os.unlink(file.name)
            file.write(os.urandom((3 if known else 1) << 20))
            file.flush()

            def grows(_size):
                file.write(os.urandom(1 << 20))
                file.flush()
                return True

            try:
                recover(os.getpid(), file.fileno(), "/mnt/back", follow=None if known else grows)
            except UsageError as error:
                return os.listdir("/mnt"), error.said, error.remedy
            return os.listdir("/mnt"), "", ""

    left, said, remedy = looked(ask, unshare(CLONE_NEWNS), mount("tmpfs", "/mnt", "size=2m"))
    assert left == []
    assert ("bytes, and there are" if known else "ENOSPC") in said
    assert "df -h /mnt" in remedy


def test_no_such_folder(holds, tmp_path):
    process, file = holds("deleted")
    with pytest.raises(UsageError, match="ENOENT"):
        recover(process.pid, file.fd, str(tmp_path / "no" / "where"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_follows(holds, tmp_path, number):
    """Ctrl-C says that it is enough: the copy is finished. A plain copy that is interrupted leaves nothing (`_Copy.forget`)."""
    process, file = holds("growing")
    line = [*PELLUCID, "recover", str(process.pid), "--fd", str(file.fd), "-o", str(tmp_path / "back"), "--follow"]
    with subprocess.Popen([*line, "--json"], stdout=subprocess.PIPE) as ours:
        until(lambda: any("pellucid" in name for name in os.listdir(tmp_path)), 60)
        ours.send_signal(number)
        told = json.loads(ours.stdout.read())
        assert ours.wait(60) == 0
    (copied,) = told["files"]
    assert {"fd", "path", "size", "sha256"} <= copied.keys()
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == copied["sha256"]
    assert [name for name in os.listdir(tmp_path) if "pellucid" in name] == []
    assert process.poll() is None


def test_an_interrupted_copy_leaves_nothing(holds, tmp_path, monkeypatch):
    from pellucid.kernel import sparse

    process, file = holds("deleted")

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sparse, "sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recover(process.pid, file.fd, str(tmp_path / "back"))
    assert not [name for name in os.listdir(tmp_path) if "back" in name]


def test_the_list_on_the_screen(holds):
    process, file = holds("deleted")
    done = subprocess.run(
        [*PELLUCID, "recover", str(process.pid)], capture_output=True, text=True, timeout=60, check=True
    )
    assert file.path in done.stdout
    assert f"pellucid recover {process.pid} --fd" in done.stdout
    assert (
        subprocess.run([*PELLUCID, "recover", str(process.pid), "-o", "x"], capture_output=True, check=False).returncode
        == 2
    )
