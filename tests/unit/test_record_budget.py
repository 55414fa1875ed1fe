"""How often the recorder ticks, by what it used: a loop of a known cost stands for the ticks."""

import time

import pytest

from pellucid.recording.budget import LEAST_HZ, MOST_SHARE, Budget


def spent(budget, cpu_s, seconds):
    """As if this thread had used `cpu_s` in the last `seconds`."""
    budget._adapted = time.monotonic() - seconds, time.thread_time() - cpu_s, time.process_time() - cpu_s


@pytest.mark.parametrize("processes", [1, 50])
def test_ticks_become_rarer_and_come_back(processes):
    budget = Budget(10.0)
    spent(budget, 2 * MOST_SHARE * 10 * processes, 10.0)
    assert budget.adapt(processes)
    assert 0.18 < budget.interval_s < 0.23, "half as many"
    spent(budget, 0.97 * MOST_SHARE * 10 * processes, 10.0)
    assert not budget.adapt(processes), "it is full, and no more"
    for _ in range(5):
        spent(budget, 0.01 * MOST_SHARE, 10.0)
        budget.adapt(processes)
    assert budget.interval_s == 0.1, "no more often than was asked for"


def test_ticks_never_end():
    budget = Budget(10.0)
    spent(budget, 8.0, 10.0)
    budget.adapt(1)
    assert budget.interval_s == 1 / LEAST_HZ
