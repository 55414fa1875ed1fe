"""Whom the walk over all processes looks at next, and that it rests while nobody looks at what it finds."""

import os
import time

import msgspec

from pellucid.present.view.rows import Row
from pellucid.present.view.scan import BEGIN_S, RESTING, SETTLED_S, SOON_S, SPARE_S, YOUNG_S, Looked, Scan

NOW = 1_800_000_000.0


def row(pid, age_s=1000.0, cpu=0.0, runtime="Python 3.11"):
    return Row(pid, 1, "python", "python x.py", "root", runtime, "asleep", cpu, 1 << 20, 1, NOW - age_s, readable=True)


def looked(one, ago_s):
    return Looked(one.pid, one.started_at, NOW - ago_s, (), 0.01)


def walked(rows):
    """The pids in the order in which they are looked at for the first time."""
    scan, order = Scan(), []
    scan.rows({one.pid: one for one in rows}, NOW)
    while (one := scan._next(NOW)) is not None:
        order.append(one.pid)
        scan.looks += 1
        scan.found = {**scan.found, one.pid: looked(one, 0.0)}
    return order


def test_the_newest_come_first_and_nobody_waits_for_ever():
    rows = [row(pid, age_s=100.0 - pid) for pid in range(1, 10)]
    assert walked(rows) == [1, 9, 8, 2, 7, 6, 3, 5, 4]


def test_one_that_has_only_just_begun_or_is_no_python_is_left():
    assert walked([row(1, age_s=YOUNG_S / 2), row(2, runtime="JVM 21"), row(3, runtime="")]) == []


def test_one_that_has_done_nothing_since_is_looked_at_seldom():
    scan = Scan()
    quiet, busy = row(1), row(2, cpu=0.5)
    scan.rows({1: quiet, 2: busy}, NOW)
    scan.found = {1: looked(quiet, 2 * SOON_S), 2: looked(busy, 1.5 * SOON_S)}
    assert scan._next(NOW) is quiet, "it may have only just come to rest"
    scan._stirred[1] = NOW - 2 * SOON_S - SETTLED_S - 1
    assert scan._next(NOW) is busy
    scan.found = {1: looked(quiet, 1.1 * SOON_S / RESTING), 2: looked(busy, 0.0)}
    scan._stirred[1] = NOW - 10_000
    assert scan._next(NOW) is quiet
    scan.rows({1: row(1, cpu=0.01), 2: busy}, NOW)
    scan.found = {1: looked(quiet, 1.1 * SOON_S), 2: looked(busy, 0.0)}
    assert scan._next(NOW).pid == 1, "it does something again"


def test_another_process_with_the_same_pid_was_not_looked_at():
    scan = Scan()
    scan.rows({1: row(1, age_s=50.0)}, NOW)
    scan.found = {1: looked(row(1, age_s=500.0), 1.0)}
    assert scan._next(NOW).pid == 1


def test_a_quiet_hour_is_no_reason_for_a_busy_minute():
    scan, known = Scan(), row(1)
    scan.rows({1: known}, NOW - 1000.0)
    scan.found = {1: looked(known, 600.0)}
    scan._earn(3600 * scan.share)
    assert scan._advance == BEGIN_S and scan._credit == SPARE_S
    scan._credit = 0.0
    assert not scan._spend(known), "it was looked at before"
    assert scan._is_news(row(2)), "never looked at: the list of a machine is wanted soon"
    scan._opened_at = NOW - 10.0
    assert not scan._is_news(known), "nothing has happened in it since"
    scan._stirred = {1: NOW - 60.0}
    assert scan._is_news(known)


def test_it_rests_while_nobody_looks():
    scan = Scan()
    scan.wanted(by_anybody=False)
    scan.rows({os.getpid(): msgspec.structs.replace(row(os.getpid()), started_at=time.time() - 1000.0)})
    scan.start()
    try:
        time.sleep(0.3)
        assert scan.looks == 0
        scan.wanted(by_anybody=True)
        limit = time.monotonic() + 60
        while not scan.found:
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        scan.stop()
