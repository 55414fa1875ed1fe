"""Rules about what a process holds and uses up: each fires on its case and is silent on the healthy look-alike."""

import pytest
from msgspec.structs import replace

from pellucid.diagnose.rules.close_wait import keeps_closed_connections
from pellucid.diagnose.rules.deleted_file import holds_a_deleted_file
from pellucid.diagnose.rules.descriptors import runs_out_of_descriptors
from pellucid.diagnose.rules.disk_full import writes_to_a_full_disk
from pellucid.diagnose.rules.file_lock import waits_for_a_file_lock
from pellucid.diagnose.rules.orphan import lost_its_parent
from pellucid.diagnose.rules.oversubscribed import wants_more_cpus_than_there_are
from pellucid.diagnose.rules.sqlite_lock import waits_for_sqlite
from pellucid.diagnose.rules.swapped import is_swapped_out
from pellucid.diagnose.rules.tracer import is_being_traced
from pellucid.diagnose.rules.uncollected import leaves_children_uncollected
from pellucid.model import Disk, FileGroup, FileLock, LockWait, OpenFile, Resources, SqliteLock, Tcp, Watched
from tests.unit.rules.build import frame, library, peer, process, snapshot, tcp, thread, wait


def using(**resources):
    return snapshot(thread(), resources=Resources(**resources))


def gone(path="/var/log/app.log", allocated=300 << 20):
    return OpenFile(5, "file", path, 12, "254:0", True, "O_WRONLY", 0, size=allocated, allocated=allocated)


def test_descriptors_near_their_limit():
    group = FileGroup("tcp → 10.0.0.7:5432, CLOSE_WAIT", "socket", 980)
    (near,) = runs_out_of_descriptors(using(open_files=1000, file_limit=1024, groups=(group,)))
    assert near.severity == "warning"
    assert "24 more" in near.sentence
    assert "980 are tcp → 10.0.0.7:5432" in near.sentence
    (full,) = runs_out_of_descriptors(using(open_files=1024, file_limit=1024))
    assert full.severity == "critical"
    assert "EMFILE" in full.sentence
    assert not list(runs_out_of_descriptors(using(open_files=850, file_limit=1024)))
    assert not list(runs_out_of_descriptors(using(open_files=10**6, file_limit=None)))
    assert not list(runs_out_of_descriptors(using()))


def closed(count, silent_ms, state="CLOSE_WAIT"):
    told = Tcp(0, 0, 0, 0, 0, 50, 1, 1, silent_ms, 1, 1, 0)
    return [tcp(state, inode=900 + n, remote="10.0.0.7:5432", tcp=told) for n in range(count)]


def test_connections_that_the_other_end_closed_long_ago():
    (found,) = keeps_closed_connections(snapshot(thread(), sockets=closed(12, 60_000)))
    assert "12 sockets in CLOSE_WAIT" in found.sentence
    assert "12 of them to 10.0.0.7:5432" in found.sentence
    assert "1 min 0 s or longer" in found.sentence
    assert not list(keeps_closed_connections(snapshot(thread(), sockets=closed(9, 60_000))))
    assert not list(keeps_closed_connections(snapshot(thread(), sockets=closed(50, 500)))), "closed just now"
    assert not list(keeps_closed_connections(snapshot(thread(), sockets=closed(50, 60_000, "ESTABLISHED"))))


def test_a_large_deleted_file():
    (found,) = holds_a_deleted_file(using(deleted=(gone(),)))
    assert (found.severity, found.title) == ("notice", "300.0 MiB of disk are held by a deleted file")
    assert "pellucid recover 41" in found.next
    assert not list(holds_a_deleted_file(using()))


@pytest.mark.parametrize("path", ["/tmp/sort1234", "/data/tmpab12", "/srv/#2146331", "/var/tmp/x"])
def test_a_temporary_file_that_was_deleted_on_purpose_is_information(path):
    (found,) = holds_a_deleted_file(using(deleted=(gone(path),)))
    assert found.severity == "info"


def test_a_full_disk():
    def disk(free=0, free_inodes=10, inodes=100):
        return Disk("/data/x", "ext4", free, 1 << 30, free_inodes, inodes)

    (found,) = writes_to_a_full_disk(using(disks=(disk(),)))
    assert found.severity == "critical"
    assert "ENOSPC" in found.sentence
    (inodes,) = writes_to_a_full_disk(using(disks=(disk(1 << 20, 0),)))
    assert "no free inode" in inodes.sentence
    assert not list(writes_to_a_full_disk(using(disks=(disk(1 << 20),)))), "little is not nothing"
    assert not list(writes_to_a_full_disk(using(disks=(disk(1 << 20, 0, 0),)))), "btrfs counts no inodes"


def test_children_that_nobody_collects():
    ended = process(50, "zombie", name="job")
    (many,) = leaves_children_uncollected(using(zombies=(ended,), zombie_count=120))
    assert (many.severity, many.confidence) == ("warning", "certain")
    (one,) = leaves_children_uncollected(using(zombies=(ended,), zombie_count=1))
    assert one.severity == "info"
    assert "1 child has ended and was not collected" in one.title
    assert not list(leaves_children_uncollected(using()))


BOOTSTRAP = library("_bootstrap", "multiprocessing/process.py")


def test_a_worker_whose_parent_was_killed():
    init = process(1, name="systemd", command=("/sbin/init",), exe="/usr/lib/systemd/systemd")
    worker = thread(wait=wait(), frames=(frame("work"), BOOTSTRAP, frame("main")))
    (found,) = lost_its_parent(snapshot(worker, resources=Resources(parent=init)))
    assert "without its parent" in found.title
    spawned = process(command=("python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(...)"))
    assert list(lost_its_parent(snapshot(thread(), process=spawned, resources=Resources(parent=init))))
    plain = thread(wait=wait(), frames=(frame("work"),))
    assert not list(lost_its_parent(snapshot(plain, resources=Resources(parent=init)))), "a daemon of init"
    assert not list(lost_its_parent(snapshot(worker, resources=Resources(parent=process(40)))))
    in_container = process(1, name="python3", command=("python3", "server.py"), exe="/usr/bin/python3.11")
    assert not list(lost_its_parent(snapshot(worker, resources=Resources(parent=in_container))))
    assert not list(lost_its_parent(snapshot(worker)))


def test_memory_in_swap():
    def swapped(mib, faults=0, resident=100):
        return using(swapped_bytes=mib << 20, resident_bytes=resident << 20, major_faults=faults)

    (reads,) = is_swapped_out(swapped(900, 50))
    assert reads.severity == "notice"
    assert "50 pages" in reads.sentence
    (idle,) = is_swapped_out(swapped(900))
    assert idle.severity == "info"
    assert not list(is_swapped_out(swapped(50)))
    assert not list(is_swapped_out(swapped(200, 50, resident=4000)))


def test_more_threads_than_cpus():
    (found,) = wants_more_cpus_than_there_are(
        using(running=8, usable_cpus=2.0, thread_variables={"MKL_NUM_THREADS": "8"})
    )
    assert "8 threads want 2 CPUs" in found.title
    assert "started with MKL_NUM_THREADS=8" in found.sentence
    assert "OMP_NUM_THREADS=2" in found.sentence
    (several,) = wants_more_cpus_than_there_are(using(running=4, siblings_running=5, usable_cpus=4.0))
    assert "5 more processes named python run too" in several.sentence
    assert not list(wants_more_cpus_than_there_are(using(running=2, usable_cpus=2.0)))
    assert not list(wants_more_cpus_than_there_are(using(running=1, usable_cpus=0.5)))
    assert not list(wants_more_cpus_than_there_are(using(running=8)))


def test_a_tracer():
    strace = process(77, name="strace", command=("strace", "-p", "41"))
    (found,) = is_being_traced(using(tracer=strace))
    assert "pid 77 (strace -p 41)" in found.title
    assert not list(is_being_traced(using()))
    stopped = snapshot(thread(), process=process(state="traced"), resources=Resources(tracer=strace))
    assert not list(is_being_traced(stopped)), "told by another finding"


def locked(holders, *peers_there):
    waits = wait("file-lock", 41.0, "flock", watched=(Watched(fd=3, what="/run/x", wants="lock", kind="file"),))
    held = FileLock("flock", "write", 0, None, holders, (41,))
    resources = Resources(locks=(LockWait(3, "/run/x", (held,)),))
    return snapshot(thread(wait=waits, frames=(frame("pay"),)), peers=peers_there, resources=resources)


def test_a_file_lock_names_its_holder_and_what_it_does():
    sleeper = peer(43, threads=[thread(tid=43, wait=wait("sleep", 30.0), frames=(frame("nap"),))])
    (found,) = waits_for_a_file_lock(locked((43,), sleeper))
    assert "held by pid 43" in found.title
    assert "app.py:12 in nap" in found.sentence
    assert found.next == ("pellucid why 43",)
    (stopped,) = waits_for_a_file_lock(locked((43,), peer(43, "stopped")))
    assert stopped.severity == "critical"


def test_a_file_lock_that_it_holds_itself():
    (found,) = waits_for_a_file_lock(locked((41,)))
    assert "pid 41 itself holds it through another descriptor" in found.sentence


def test_sqlite_with_a_busy_timeout():
    lock = SqliteLock("/data/app.db", 3, process(43, command=("python", "writer.py")), "reserved")
    now = thread(
        wait=wait("sleep", 0.02, "clock_nanosleep", timed=True, left_s=0.08), frames=(frame("save"),), switches=9
    )
    before = replace(now, task=replace(now.task, switches=7))
    held = Resources(sqlite=(lock,))
    (found,) = waits_for_sqlite(snapshot(now, earlier=[before], resources=held))
    assert "/data/app.db, which pid 43 (python writer.py) has locked" in found.title
    assert found.confidence == "likely"
    assert not list(waits_for_sqlite(snapshot(now, earlier=[before]))), "nobody has it locked"
    long = thread(wait=wait("sleep", 20.0, "clock_nanosleep", timed=True, left_s=80.0), frames=(frame("nap"),))
    assert not list(waits_for_sqlite(snapshot(long, resources=held))), "one long sleep is no retry"
    elsewhere = replace(before, frames=(frame("other"),))
    assert not list(waits_for_sqlite(snapshot(now, earlier=[elsewhere], resources=held)))
