"""The store on disk: what is registered can be read, what is damaged is refused, and nothing half-made is ever found."""

import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest

from pellucid.model.errors import UsageError
from pellucid.serve import durable
from pellucid.serve.manifest import Manifest, Training
from pellucid.serve.signature import Column, Signature
from pellucid.serve.store import Store


def manifest(name="loan"):
    return Manifest(
        name=name,
        version=0,
        created_at=0.0,
        python="3.13.0",
        libraries={},
        signature=Signature((Column("x", "number", nullable=False),), "id", "y"),
        metrics={"accuracy": 0.9},
        training=Training(rows=1, data_sha256="", seconds=0.0, parameters={}),
        trusted=(),
        members=(),
        sample_rows=1,
    )


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "models"))


def test_versions_count_up_and_latest_follows(store):
    for number in (1, 2, 3):
        assert store.register(manifest(), {"model.skops": b"%d" % number}).version == number
    assert store.resolve("loan").version == 3
    assert store.resolve("loan:2").version == 2
    assert store.resolve("loan@latest").version == 3
    assert store.read(store.resolve("loan:2"), "model.skops") == b"2"
    assert [(one.manifest.version, one.aliases) for one in store.listed()] == [(3, ("latest",)), (2, ()), (1, ())]


def test_equal_content_is_kept_once(store):
    one = store.register(manifest("a"), {"x": b"same"})
    two = store.register(manifest("b"), {"x": b"same"})
    assert one.members == two.members
    objects = [name for _, _, names in os.walk(os.path.join(store.root, "objects")) for name in names]
    assert len(objects) == 1


def test_what_is_asked_for_and_is_not_there(store):
    with pytest.raises(UsageError, match="which is empty") as caught:
        store.resolve("loan")
    assert caught.value.remedy == "pellucid train loan"
    store.register(manifest(), {})
    for wanted, said in [
        ("lone", "only loan"),
        ("loan:9", "only 1"),
        ("loan@best", "no such alias, only latest"),
        ("loan:x", "NAME:VERSION"),
        ("../loan", "a name is made of letters"),
        ("loan@../x", "a name is made of letters"),
        ("", "a name is made of letters"),
    ]:
        with pytest.raises(UsageError, match=said):
            store.resolve(wanted)


def test_a_flipped_bit_is_named_by_member_and_both_hashes(store):
    stored = store.register(manifest(), {"model.skops": b"content"})
    sha256 = stored.members[0].sha256
    place = os.path.join(store.root, "objects", sha256[:2], sha256)
    with open(place, "wb") as file:
        file.write(b"Content")
    with pytest.raises(UsageError) as caught:
        store.verify(stored)
    assert caught.value.tried == "load loan version 1, member model.skops"
    assert f"sha256:{sha256} was stored, sha256:" in caught.value.said
    healed = store.register(manifest(), {"model.skops": b"content"})
    store.verify(healed)


def register(root, count):
    for _ in range(count):
        Store(root).register(manifest(), {"model.skops": os.urandom(100)})


def test_two_that_register_at_once_never_share_a_version(store):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=register, args=(store.root, 10)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [one.manifest.version for one in store.versions("loan")] == list(range(30, 0, -1))
    for one in store.versions("loan"):
        store.verify(one.manifest)


def test_whoever_is_killed_in_the_middle_leaves_nothing_half_made(store):
    """Killed at a random moment, thirty times: what can be found is whole, and the next one can register."""
    for attempt in range(30):
        child = os.fork()
        if child == 0:
            try:
                register(store.root, 1000)
            finally:
                os._exit(1)
        _wait_a_little(attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for one in store.versions("loan"):
            store.verify(one.manifest)
    store.register(manifest(), {"model.skops": b"last"})
    assert store.read(store.resolve("loan"), "model.skops") == b"last"
    assert not hidden(store.root), "what the killed ones had begun"


def hidden(root):
    return [path for path in Path(root).rglob(".*") if path.name != ".lock"]


def test_what_somebody_still_writes_is_not_swept(tmp_path):
    """Whoever writes holds the lock of what it has begun, and only that counts: its pid may be one of another namespace."""
    place = tmp_path / "it"
    begun, fd = durable.begun(str(place))
    (tmp_path / ".it.1.2").write_bytes(b"of one that was killed")
    (tmp_path / ".it").write_bytes(b"no file of ours")
    (tmp_path / ".link.1.2").symlink_to(tmp_path / ".it")
    os.mkfifo(tmp_path / ".pipe.1.2")
    assert durable.sweep(str(tmp_path)) == 1
    assert {path.name for path in tmp_path.iterdir()} == {os.path.basename(begun), ".it", ".link.1.2", ".pipe.1.2"}
    os.close(fd)
    assert durable.sweep(str(tmp_path)) == 1
    assert durable.sweep(str(tmp_path / "nowhere")) == 0


def test_writers_and_sweepers_do_not_disturb_each_other(tmp_path):
    """A file that is swept before its writer has locked it is begun anew."""
    context = multiprocessing.get_context("fork")
    sweeper = context.Process(target=lambda: [durable.sweep(str(tmp_path)) for _ in iter(int, 1)])
    sweeper.start()
    try:
        for number in range(300):
            durable.write(str(tmp_path / "it"), str(number).encode(), synced=False)
            assert (tmp_path / "it").read_bytes() == str(number).encode()
    finally:
        sweeper.kill()
        sweeper.join()


def _wait_a_little(attempt):
    import time

    time.sleep(0.001 + attempt * 0.0007)


def test_a_lock_that_another_holds_is_waited_for_and_then_told(tmp_path):
    with (
        durable.locked(str(tmp_path)),
        pytest.raises(UsageError, match="another process has held it"),
        durable.locked(str(tmp_path), within_s=0.1),
    ):
        pass
    with durable.locked(str(tmp_path), within_s=0.1):
        pass


def test_a_full_disk_leaves_the_old_content(tmp_path):
    """RLIMIT_FSIZE stands for the disk: what is more than it takes is refused (setrlimit(2))."""
    place = tmp_path / "it"
    durable.write(str(place), b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))
    try:
        for synced in (True, False):
            with pytest.raises(UsageError, match="EFBIG"):
                durable.write(str(place), b"newer", synced=synced)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert place.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["it"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    place = tmp_path / "a" / "b"
    durable.write(str(place), b"one")
    durable.write(str(place), b"two")
    assert place.read_bytes() == b"two"
    assert [entry.name for entry in place.parent.iterdir()] == ["b"]
    place.unlink()
    place.mkdir()
    with pytest.raises(UsageError, match="EISDIR"):
        durable.write(str(place), b"three")
    assert [entry.name for entry in place.parent.iterdir()] == ["b"], "no temporary file is left"


def test_a_store_that_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "home").write_text("a file where the folder would be")
    with pytest.raises(UsageError) as caught:
        durable.prepared(str(tmp_path / "home" / "models"))
    assert "XDG_DATA_HOME" in caught.value.remedy
    durable.prepared(str(tmp_path / "other" / "models"))
    assert (tmp_path / "other" / "models").is_dir()
