"""Starts every state of tests/targets/{waiting,tasks,lessons}.py again and again, and counts what `waits` says that it must not say.

    python scripts/repeat_waits.py [RUNS]          twenty by default

A state that is stuck has to be called by its rule, with its confidence or a lower one, and by no other; any other state has to raise
nothing. Each run starts the state under one interpreter after the other in turn. A miss (some looks that say nothing of what is stuck)
is counted apart: it is no wrong claim. Exit status 1 where there was a wrong claim.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests import interpreters
from tests.integration.test_waits import CYCLES, PROCESSES, STUCK
from tests.waiting import look, look_until, program_of, started

ORDER = ("possible", "likely", "certain")
TASKS = {
    "abba": ("deadlock", "certain"),
    "again": ("deadlock", "certain"),
    "blocked": ("event-loop-blocked", "certain"),
    "threadsafe": ("event-loop-blocked", "certain"),
}
TASKS |= dict.fromkeys(("timed", "kinds", "forked", "healthy"), None)
LESSONS = [
    "condition",
    "condition_notified",
    "semaphore",
    "event",
    "threads",
    "processes",
    "lock",
    "log_lines",
    "queue",
    "lifo",
    "pool_map",
    "pool_async",
]
HEALTHY = [
    "describe",
    "gil",
    "healthy_workers",
    "healthy_moving",
    "healthy_handed_over",
    "healthy_pools",
    "healthy_executor",
    "mp_holder",
    "mp_manager",
    "mp_results",
    "mp_describe",
]


def main() -> int:
    runs = int(sys.argv[1]) if sys.argv[1:] else 20
    expected = {(program_of(row[0]), row[0]): ("deadlock", row[1]) for row in CYCLES}
    expected |= {(program_of(row[0]), row[0]): (row[1], row[2]) for row in (*STUCK, *PROCESSES)}
    expected |= {(program_of(state), state): None for state in HEALTHY}
    expected |= {("tasks.py", state): said for state, said in TASKS.items()}
    expected |= {("lessons.py", state): None for state in LESSONS}
    versions = itertools.cycle(
        [python.version for python in interpreters.find() if python.version in interpreters.EXPECTED]
    )
    wrong = misses = looks = 0
    for (program, state), said in expected.items():
        for _ in range(runs):
            with started(state, program=program, versions=(next(versions),)) as pids:
                for version, pid in pids.items():
                    findings = (
                        look_until(pid, lambda found: found.findings, within_s=8.0) if said else look(pid)
                    ).findings
                    looks += 1
                    misses += bool(said and not findings)
                    for finding in findings:
                        if (
                            said is None
                            or finding.rule != said[0]
                            or ORDER.index(finding.confidence) > ORDER.index(said[1])
                        ):
                            wrong += 1
                            print(
                                f"WRONG {program} {state} {version}: {finding.rule} ({finding.confidence}): {finding.sentence}",
                                flush=True,
                            )
        print(f"{program} {state}: {wrong} wrong so far, {misses} missed, in {looks} looks", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
