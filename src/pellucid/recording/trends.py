"""What only shows over hours: memory, descriptors, threads or mappings that become more and more, told from the numbers that the recording keeps.

The rules are those of `memory PID`. What a program does in its first minutes (imports, caches that fill, pools that open) is left out, and so is what
hardly grew any more in the end, and what goes up and down by more than it grows.
"""

from pellucid.diagnose.memory import judge
from pellucid.model import Finding
from pellucid.recording import past
from pellucid.recording.reading import Recording

SPAN_S = 6 * 3600.0
"""Of the past, at most."""
WARM_S = 300.0
"""Since the process began."""
LEAST_S = 900.0
"""Of a shorter past nothing is said."""
_LATELY_S = 3600.0
"""A trend that has not ended is told of moments up to so long after it was last judged: the judgement may be dear, and comes rarely then."""
RULES = frozenset({"heap-leak", "native-leak", "fragmentation", "descriptor-leak", "thread-leak", "mapping-leak"})


def trends(recording: Recording, key: int) -> tuple[Finding, ...]:
    """Of the process with this number, by all that is on the disk."""
    process = next((each for each in recording.processes() if each.key == key), None)
    if process is None:
        return ()
    end = process.last_at
    begin = max(process.first_at, process.process.started_at + WARM_S, end - SPAN_S)
    if end - begin < LEAST_S:
        return ()
    seen = past.memory(recording, process, begin, end)
    if seen is None or seen.span_s < LEAST_S:
        return ()
    _, findings = judge(seen)
    return tuple(each for each in findings if each.rule in RULES and each.severity in {"critical", "warning"})


def known(recording: Recording, key: int, at: float) -> tuple[Finding, ...]:
    """The trends of the process that had been found by `at` and lasted then."""
    found = recording.findings(key, at - _LATELY_S, at)
    return tuple(each.finding for each in found if each.rule in RULES and (each.ended_at is None or each.ended_at > at))
