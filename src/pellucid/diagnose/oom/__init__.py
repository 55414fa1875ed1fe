"""Why memory ran out: what a message, the kernel's log and the counters say of a death, in sentences.

One file for each that speaks: `linux` (the OOM killer, cgroups, limits), `cpython` (what Python programs and their servers print), `jvm` (its messages, hs_err files).
Another runtime adds its file, with functions `(OomSeen) -> Iterator[Finding]`, and their names to `ALL`.
"""

from collections.abc import Callable, Iterator

from pellucid.diagnose.oom import cpython, jvm, linux
from pellucid.model import CONFIDENCES, SEVERITIES, Finding
from pellucid.model.oom import OomSeen

Decoder = Callable[[OomSeen], Iterator[Finding]]

ALL: tuple[Decoder, ...] = (
    linux.was_killed,
    linux.group_was_killed,
    linux.group_is_full,
    linux.is_near_its_own_limit,
    linux.may_be_first,
    cpython.messages,
    jvm.messages,
    jvm.fatal_error,
    jvm.is_nearly_full,
)


def explain(seen: OomSeen) -> tuple[Finding, ...]:
    """The findings of every decoder, worst first, each once."""
    found = dict.fromkeys(finding for decode in ALL for finding in decode(seen))
    return tuple(sorted(found, key=_rank))


def _rank(finding: Finding) -> tuple[int, int]:
    return SEVERITIES.index(finding.severity), CONFIDENCES.index(finding.confidence)
