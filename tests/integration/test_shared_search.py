"""A search of /proc in parts: all of it is found, by as many processes as there are CPUs, and also when one of them dies."""

import os
import signal

import msgspec
import pytest

from pellucid.kernel.shared_search import LEAST_SHARE, shared


class Found(msgspec.Struct, frozen=True):
    pids: tuple[int, ...]
    by: int


PIDS = tuple(range(1, 8 * LEAST_SHARE))


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))


def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def test_every_process_is_searched_once_and_no_child_is_left():
    before = children()
    parts = shared(lambda pids: Found(tuple(pids), os.getpid()), PIDS, Found)
    assert sorted(pid for part in parts for pid in part.pids) == list(PIDS)
    assert len({part.by for part in parts}) == 4
    assert children() == before


def test_few_processes_are_searched_here():
    (part,) = shared(lambda pids: Found(tuple(pids), os.getpid()), PIDS[: LEAST_SHARE - 1], Found)
    assert part.by == os.getpid()


def test_the_part_of_a_child_that_dies_is_searched_again():
    here = os.getpid()

    def search(pids):
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return Found(tuple(pids), os.getpid())

    parts = shared(search, PIDS, Found)
    assert sorted(pid for part in parts for pid in part.pids) == list(PIDS)
    assert {part.by for part in parts} == {here}


def test_what_goes_wrong_here_leaves_no_child():
    before = children()

    def search(pids):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shared(search, PIDS, Found)
    assert children() == before


def test_a_large_answer_comes_whole():
    parts = shared(lambda pids: Found(tuple(range(300_000)), os.getpid()), PIDS, Found)
    assert [len(part.pids) for part in parts] == [300_000] * 4
