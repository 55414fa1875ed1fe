"""`why` on processes that spend their time in a wrong way, each beside a healthy one that looks much the same."""

import time

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.observe.snapshot import snapshot
from tests import interpreters

REASONS = {"slow-regex", "concatenation", "gc-churn", "lock-convoy", "gil-starvation"}
WRONG = [
    ("3.14", "regex", "slow-regex", "slow.py:34"),
    ("3.12", "concatenation", "concatenation", "slow.py:50"),
    ("3.15", "concatenation", "concatenation", "slow.py:50"),
    ("3.11", "churn", "gc-churn", "slow.py:"),
    ("3.15", "convoy", "lock-convoy", "LOCK (global of slow.py)"),
    ("3.15", "starvation", "gil-starvation", "slow.py:1"),
    ("3.13", "hot_loop", "hot-loop", "slow.py:13"),
]
HEALTHY = [
    ("3.11", "spread"),
    ("3.14", "regex_long"),
    ("3.12", "join"),
    ("3.13", "calm"),
    ("3.15", "workers"),
    ("3.12", "answers"),
]


LIMIT_S = 45.0


def findings(pid, seconds=1.2):
    return {finding.rule: finding for finding in diagnose(snapshot(pid, watch_s=seconds))}


@pytest.mark.parametrize(("version", "mode", "rule", "said"), WRONG, ids=str)
def test_what_takes_the_time_is_told_with_line_and_share(version, mode, rule, said, target):
    process, _ = target(interpreters.get(version), "slow.py", mode)
    limit, seconds = time.monotonic() + LIMIT_S, 1.2
    found = findings(process.pid, seconds)
    while rule not in found and time.monotonic() < limit:  # a crowded machine lets it run for a part of the time only
        seconds = min(2 * seconds, 8.0)
        found = findings(process.pid, seconds)
    assert rule in found
    finding = found[rule]
    assert said in finding.sentence
    assert " % of" in finding.sentence
    assert finding.evidence
    assert not REASONS & found.keys() - {rule}
    assert "on-cpu" not in found or rule in {"lock-convoy", "gil-starvation"}


@pytest.mark.parametrize(("version", "mode"), HEALTHY, ids=str)
def test_a_healthy_look_alike_is_not_accused(version, mode, target):
    process, _ = target(interpreters.get(version), "slow.py", mode)
    found = findings(process.pid)
    assert not REASONS & found.keys(), found
    assert "hot-loop" not in found or mode in {"regex_long", "join", "calm"}, "that they compute is true"
