"""Messages about memory that ran out, and blocks of the kernel's log, as they stand in the wild."""

import pytest

from pellucid.diagnose.oom import explain
from pellucid.kernel import killlog
from pellucid.model import Limit
from pellucid.model.cgroup import MemoryGroup
from pellucid.model.oom import OomSeen
from tests.unit.rules.build import process

GROUP = """\
[  264.506956] predict invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  264.507066] CPU: 0 UID: 0 PID: 3556 Comm: predict Not tainted 6.18.44 #1 PREEMPT(none)
[  264.512897] memory: usage 716800kB, limit 716800kB, failcnt 133
[  264.512908] kmem: usage 3588kB, limit 9007199254740988kB, failcnt 0
[  264.513021] [  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
[  264.513041] [   3551]     0  3551    20501     6085     5000     1085         0   126112        0             0 python
[  264.513042] [   3553]     0  3553   320501    46862    45000     1862         0   626112        0             0 pellucid-model
[  264.513042] [   3555]     0  3555   620501   176225   172279     3946         0  1626112        0             0 pellucid-w0
[  264.513043] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/app,task_memcg=/app/w,task=pellucid-w0,pid=3555,uid=0
[  264.513091] Memory cgroup out of memory: Killed process 3555 (pellucid-w0) total-vm:2482004kB, anon-rss:689116kB, file-rss:15784kB, shmem-rss:0kB, UID:0 pgtables:1588kB oom_score_adj:0
"""
MACHINE = """\
Mar  3 04:12:01 db1 kernel: postgres invoked oom-killer: gfp_mask=0x1100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=-900
Mar  3 04:12:01 db1 kernel: [    812]     0   812    71040      921    98304        0             0 sssd
Mar  3 04:12:01 db1 kernel: [  20211]  1001 20211  9710402  6291456  51003392        0             0 python3 (batch)
Mar  3 04:12:01 db1 kernel: oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/user.slice,task=python3 (batch),pid=20211,uid=1001
Mar  3 04:12:01 db1 kernel: Out of memory: Killed process 20211 (python3 (batch)) total-vm:38841608kB, anon-rss:25165824kB, file-rss:0kB, shmem-rss:0kB
"""
OLD = "[1234.5] Out of memory: Kill process 77 (java) score 912 or sacrifice child\n"


def test_a_group_at_its_limit():
    (kill,) = killlog.kills(GROUP)
    assert (kill.pid, kill.name, kill.cgroup, kill.task_cgroup) == (3555, "pellucid-w0", "/app", "/app/w")
    assert kill.limit_bytes == 716800 * 1024
    assert kill.anon_bytes == 689116 * 1024
    assert kill.invoked_by == "predict"
    assert [(one.pid, one.name, one.resident_bytes) for one in kill.others] == [
        (3553, "pellucid-model", 46862 * 4096),
        (3551, "python", 6085 * 4096),
    ]
    (found,) = explain(OomSeen(kills=(kill,)))
    assert found.severity == "critical"
    assert "cgroup /app had reached its limit of 700.0 MiB" in found.title
    assert "It held 673.0 MiB of its own (anonymous) memory" in found.sentence
    assert "pid 3553 (pellucid-model) 183.1 MiB" in found.sentence
    assert "came from predict" in found.sentence
    assert found.evidence[-1].said.endswith("oom_score_adj:0")


def test_a_machine_without_memory_in_a_syslog():
    (kill,) = killlog.kills(MACHINE)
    assert (kill.pid, kill.name, kill.cgroup) == (20211, "python3 (batch)", "")
    assert kill.at.startswith("Mar  3 04:12:01")
    (found,) = explain(OomSeen(kills=(kill,)))
    assert "the whole machine was out of memory" in found.title
    assert "came from postgres" in found.sentence


def test_a_kernel_of_long_ago():
    (kill,) = killlog.kills(OLD)
    assert (kill.pid, kill.name, kill.anon_bytes) == (77, "java", None)


def test_a_log_without_a_kill():
    assert killlog.kills("[1.0] memory: usage 1kB, limit 2kB\nKilled processes are mourned\n") == ()


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        (
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.28 TiB for an array with shape (1000000, 1000000) and data type float64",
            "oom-array",
            "7.28 TiB, shape (1000000, 1000000)",
        ),
        ("MemoryError", "oom-memory-error", "MemoryError"),
        ("RuntimeError: can't start new thread", "oom-threads", "thread"),
        ("OSError: [Errno 12] Cannot allocate memory", "oom-enomem", "ENOMEM"),
        ("[CRITICAL] Worker (pid:4711) was sent SIGKILL! Perhaps out of memory?", "oom-worker", "4711"),
        ("RuntimeError: DataLoader worker (pid 42) is killed by signal: Killed. ", "oom-worker", "42"),
        (
            "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly",
            "oom-worker",
            "pool",
        ),
        (
            "billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 3.",
            "oom-worker",
            "pool",
        ),
        ("run.sh: line 3: 12345 Killed                  python train.py", "oom-killed", "137"),
        ("Killed", "oom-killed", "SIGKILL"),
        ("    reason: OOMKilled", "oom-killed", "SIGKILL"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "oom-bad-alloc", "C++"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "oom-gpu", "GPU"),
        (
            "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
            "oom-shared-memory",
            "/dev/shm",
        ),
    ],
)
def test_messages(text, rule, words):
    (found,) = explain(OomSeen(text=text))
    assert found.rule == rule
    assert words in found.title
    assert found.evidence[0].said == text.strip()
    assert found.next


@pytest.mark.parametrize(
    "text",
    [
        "all is well",
        "except MemoryErrorHandler as handled:",
        "Killed the old workers, started 4 new ones",
        "exit code 1",
        "Unable to allocate a seat",
        "",
    ],
)
def test_silent_about_anything_else(text):
    assert not explain(OomSeen(text=text))


def test_where_a_memory_error_was_raised():
    text = 'Traceback (most recent call last):\n  File "/srv/load.py", line 12, in read_all\n    data = b"x" * n\nMemoryError\n'
    (found,) = explain(OomSeen(text=text))
    assert "It was raised at /srv/load.py:12 in read_all" in found.sentence


def group(**other):
    return MemoryGroup(
        **{"path": "/app", "folder": "/sys/fs/cgroup/app", "version": 2, "current_bytes": 100 << 20, **other}
    )


def test_a_full_group_of_anonymous_memory_is_critical_and_one_of_page_cache_is_not():
    full = group(limit_bytes=100 << 20, anon_bytes=99 << 20, file_bytes=1 << 20, hits=12)
    (found,) = explain(OomSeen(groups=(full,)))
    assert (found.rule, found.severity) == ("oom-group-full", "critical")
    assert "reached 12 times" in found.sentence
    cache = group(limit_bytes=100 << 20, anon_bytes=9 << 20, file_bytes=90 << 20)
    (found,) = explain(OomSeen(groups=(cache,)))
    assert found.severity == "info"
    assert not explain(OomSeen(groups=(group(limit_bytes=200 << 20), group(path="/"))))


def test_kills_that_only_a_counter_tells():
    (found,) = explain(OomSeen(groups=(group(kills=3), group(path="/", kills=3))))
    assert "has ended 3 processes of cgroup /app" in found.title
    (kill,) = killlog.kills(GROUP)
    assert {one.rule for one in explain(OomSeen(kills=(kill,), groups=(group(kills=1),)))} == {"oom-killed"}


def test_an_address_space_that_is_nearly_used_up():
    limits = (Limit("Max address space", 1 << 30, 1 << 30, "bytes"),)
    (found,) = explain(OomSeen(pid=41, process=process(), limits=limits, virtual_bytes=1000 << 20))
    assert "24.0 MiB left of its own limit" in found.title
    assert not explain(OomSeen(pid=41, process=process(), limits=limits, virtual_bytes=500 << 20))
