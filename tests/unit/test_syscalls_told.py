"""What is counted, what is told once, what is noise and what is not, and how the screen says it."""

import pytest

from pellucid.kernel import syscalls
from pellucid.kernel.decode_calls import wanted
from pellucid.kernel.tally import Tally
from pellucid.kernel.traced import Called, Failure, Moved, Watch
from pellucid.model import Frame
from pellucid.model.process import Process
from pellucid.model.syscalls import (
    CallSummary,
    FailedCall,
    FileUse,
    LineShare,
    NetUse,
    SlowCall,
    SyscallsReport,
    Traced,
)
from pellucid.observe.syscalls_noise import noise
from pellucid.observe.syscalls_places import PLACES, place
from pellucid.present.cli.syscalls_text import Parts, lines, size, stack, time

OPENAT, READ, WRITE, CLOSE, DUP2 = (syscalls.number(name) for name in ("openat", "read", "write", "close", "dup2"))
OWN = Frame("load", "load", "/srv/app.py", 12)
MAIN = Frame("<module>", "<module>", "/srv/app.py", 40)
LIBRARY = Frame("read_csv", "read_csv", "/usr/lib/python3.11/site-packages/x.py", 5)
IMPORT = Frame("_path_stat", "_path_stat", "<frozen importlib._bootstrap_external>", 147)


def called(number, result, *arguments, path=None, stack=0, duration=100):
    return Called(1, 1, number, (*arguments, *(0,) * 6)[:6], result, 1000, duration, path, stack=stack)


def watch(*tell, slow_ns=None, descriptors=False):
    return Watch(wanted(frozenset(tell), descriptors=descriptors), slow_ns, descriptors=descriptors)


def test_equal_failures_are_told_once_and_counted():
    tally = Tally(watch())
    told = [tally.count(called(OPENAT, -2, path=b"/x", duration=duration)) for duration in (5, 9, 7)]
    assert [each is not None for each in told] == [True, False, False]
    assert tally.failures() == {told[0].key: Failure(3, 21, 9, 1000)}
    (total,) = tally.totals()
    assert (total.calls, total.errors, total.total_ns, total.max_ns) == (3, 3, 21, 9)


@pytest.mark.parametrize(
    "other",
    [
        called(OPENAT, -13, path=b"/x"),
        called(OPENAT, -2, path=b"/y"),
        called(OPENAT, -2, path=b"/x", stack=4),
        called(OPENAT, -2, 5, path=b"/x"),
    ],
)
def test_failures_that_differ_are_each_told(other):
    tally = Tally(watch())
    first, second = tally.count(called(OPENAT, -2, path=b"/x")), tally.count(other)
    assert first.key != second.key


def test_what_did_not_fail_is_told_only_when_it_was_slow_or_asked_for():
    assert Tally(watch()).count(called(OPENAT, 3)) is None
    assert Tally(watch("openat")).count(called(OPENAT, 3)) is not None
    assert Tally(watch(slow_ns=50)).count(called(READ, 3, duration=60)).slow
    assert Tally(watch(slow_ns=50)).count(called(READ, 3, duration=40)) is None


def test_bytes_are_told_when_their_descriptor_is_closed_or_given_out_again():
    tally = Tally(watch("close", "openat", "dup2", descriptors=True))
    tally.count(called(READ, 10, 3))
    tally.count(called(READ, 5, 3))
    tally.count(called(WRITE, 7, 4))
    assert tally.count(called(CLOSE, 0, 3)).moved == Moved(2, 15, 0, 0)
    assert tally.count(called(CLOSE, 0, 3)).moved is None
    tally.count(called(READ, 1, 3))
    assert tally.count(called(OPENAT, 3)).moved == Moved(1, 1, 0, 0)
    assert tally.count(called(DUP2, 4, 9, 4)).moved == Moved(0, 0, 1, 7)
    assert tally.moved() == {}


@pytest.mark.parametrize(
    ("name", "error", "path", "frames", "expected"),
    [
        ("newfstatat", "ENOENT", "/app/x.py", (IMPORT, MAIN), "import search"),
        ("openat", "ENOENT", "/usr/share/locale/de/x.mo", (), "locale"),
        ("openat", "ENOENT", "/lib/x86_64/libz.so.1", (), "library search"),
        ("newfstatat", "ENOENT", "/opt/lib/glibc-hwcaps/x86-64-v4", (), "library search"),
        ("ioctl", "ENOTTY", None, (OWN,), "is it a terminal"),
        ("recvfrom", "EAGAIN", None, (OWN,), "nothing there yet"),
        ("openat", "ENOENT", "/srv/pyvenv.cfg", (), "start of an interpreter"),
        ("openat", "ENOENT", "/usr/lib/python311.zip", (LIBRARY, OWN), "import search"),
        ("connect", "ENOENT", "/var/run/nscd/socket", (OWN,), "name service cache"),
        ("newfstatat", "ENOENT", "/srv/x.db-journal", (OWN,), "does a database have a journal"),
        ("openat", "EACCES", "/srv/x.db-journal", (OWN,), ""),
        ("execve", "ENOENT", "/usr/local/bin/git", (LIBRARY, OWN), "search of PATH"),
        # and what must never be folded
        ("openat", "ENOENT", "/srv/data.csv", (OWN, MAIN), ""),
        ("openat", "ENOENT", "/srv/python.zip", (OWN,), ""),
        ("openat", "EACCES", "/usr/share/locale/de/x.mo", (OWN,), ""),
        ("openat", "ENOENT", "/srv/data.csv", (LIBRARY, MAIN), ""),
        ("openat", "EMFILE", "/srv/x.py", (IMPORT, MAIN), ""),
        ("connect", "ECONNREFUSED", "127.0.0.1:5432", (OWN,), ""),
        ("write", "ENOSPC", None, (OWN,), ""),
        ("unlink", "ENOENT", "/usr/share/locale/x.mo", (OWN,), ""),
        ("newfstatat", "ENOENT", "/srv/x.py", (OWN, *[MAIN] * 8, IMPORT), ""),
        ("mkdir", "ENOENT", "/srv/a/b", (OWN,), ""),
    ],
)
def test_noise(name, error, path, frames, expected):
    assert noise(name, error, path, frames) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/u/.cache/pip/http/a", "cache"),
        ("/srv/__pycache__/x.pyc", "cache"),
        ("/tmp/pip-1/__pycache__/x.pyc", "cache"),
        ("/etc/hosts", "config"),
        ("/home/u/.config/app/settings", "config"),
        ("/srv/app.toml", "config"),
        ("/tmp/x", "temporary"),
        ("/dev/shm/sem.x", "temporary"),
        ("/dev/null", "device"),
        ("/proc/self/maps", "kernel"),
        ("/var/log/app", "log"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "library"),
        ("/srv/venv/lib/python3.11/site-packages/a/data.json", "python"),
        ("/usr/lib/python3.11/lib-dynload/_ssl.so", "python"),
        ("/etc/ssl/certs/ca.crt", "certificates"),
        ("/srv/data.csv", "data"),
    ],
)
def test_places(path, expected):
    assert place(path) == expected
    assert expected in PLACES


def test_sizes_and_times():
    assert [size(count) for count in (0, 812, 1300, 5_250_000, 7 * 10**12)] == [
        "0 B",
        "812 B",
        "1.3 kB",
        "5.2 MB",
        "7000.0 GB",
    ]
    assert [time(seconds) for seconds in (2.5, 0.0042, 0.0000007)] == ["2.50 s", "4.20 ms", "1 µs"]


def test_a_stack_on_one_line():
    assert stack((OWN, MAIN)) == "load (app.py:12) ← <module> (app.py:40)"
    assert stack((LIBRARY, IMPORT, OWN, MAIN)) == "read_csv (x.py:5) ← … ← load (app.py:12) ← <module> (app.py:40)"
    assert stack((LIBRARY,)) == "read_csv (x.py:5)"


def failure(**more):
    given = {
        "name": "openat", "error": "ENOENT", "path": "/srv/data.csv", "fd": None, "ret": -2, "stack": (OWN, MAIN), "count": 3,
        "pid": 7, "tid": 7, "program": "python app.py", "call": "openat(...)", "line": OWN,
    }  # fmt: skip
    return FailedCall(**given | more)


def report(**more):
    process = Process(
        pid=7, ppid=1, name="python", command=("python", "app.py"), state="running", uid=0, user="root",
        started_at=0.0, start_ticks=0, threads=1,
    )  # fmt: skip
    given = {
        "process": process, "taken_at": 0.0, "gaps": (), "summary": (), "events": (), "lost": 0, "backend": "bpf", "seconds": 1.0,
        "processes": (Traced(7, 1, ("python", "app.py")),),
    }  # fmt: skip
    return SyscallsReport(**given | more)


def screen(shown, **parts):
    return "\n".join(line.text for line in lines(shown, Parts(**parts)))


def test_the_short_report_folds_noise_and_says_so():
    noisy = failure(path="/x.mo", noise="locale", count=14)
    text = screen(report(events=(failure(), noisy)))
    assert "3 x  openat /srv/data.csv = ENOENT" in text
    assert "load (app.py:12) ← <module> (app.py:40)" in text
    assert "harmless and not shown: 14 locale" in text
    assert "/x.mo" not in text
    assert "/x.mo" in screen(report(events=(failure(), noisy)), failed=True, every=True)


def test_no_escape_sequence_of_a_path_reaches_the_terminal():
    assert "\x1b" not in screen(report(events=(failure(path="/a\x1b[31m\n"),)), failed=True)


def test_the_summary_tells_times_and_lines():
    share = LineShare(OWN, 5, 2, 0.002, LIBRARY)
    work = CallSummary("openat", 10, 2, 0.003, 0.001, (share,), 5)
    waits = CallSummary("poll", 3, 0, 1.5, 0.9, waits=True)
    text = screen(report(summary=(waits, work)), summary=True)
    assert "waits" in text
    assert "100 %" in text
    assert "load (app.py:12) by read_csv (x.py:5): 5 calls, 2 failed, 2.00 ms" in text


def test_slow_calls_of_one_line_stand_together_and_waits_apart():
    slow = [
        SlowCall("fsync", "", None, 3, 0, duration, 0.0, (OWN,), 7, 7, "python", "fsync(3)", "/srv/db", OWN)
        for duration in (0.02, 0.05)
    ]
    waits = SlowCall("poll", "", None, None, 0, 1.0, 0.0, (OWN,), 7, 7, "python", "poll(...)", "", OWN, waits=True)
    text = screen(report(slow=(*slow, waits), slow_ms=10), slow=True)
    assert "2 x, 70.00 ms in all, longest 50.00 ms  fsync /srv/db" in text
    assert text.index("slow: 10 ms or more") < text.index("waited 10 ms or more")


def test_written_files_stand_by_place_and_large_trees_by_directory():
    many = [FileUse(f"/srv/lib/site-packages/p/m{n}.py", "python", "created", written_bytes=10) for n in range(200)]
    cached = FileUse("/home/u/.cache/x", "cache", "created", written_bytes=5_000_000)
    text = screen(report(files=(*many, cached)), written=True)
    assert "written: 201 paths, 5.0 MB" in text
    assert "cache: 1 path, 5.0 MB (1 created)" in text
    assert "/srv/lib/site-packages/p/ … " in text


def test_connections():
    use = NetUse("connects", "tcp", "10.0.0.7:5432", 2, {"ECONNREFUSED": 3}, 1200, 48, OWN)
    text = screen(report(network=(use,)), net=True)
    assert "connects tcp 10.0.0.7:5432 2 x, 3 x ECONNREFUSED, 1.2 kB sent, 48 B received" in text
    assert "load (app.py:12)" in text


def test_losses_are_never_silent():
    assert "nothing was lost" in screen(report())
    assert "12 things were lost" in screen(report(lost=12))
