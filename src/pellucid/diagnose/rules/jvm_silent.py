"""A JVM was asked for its stacks and does not answer, since all of its threads stand still: one of them reaches no safepoint, or an operation is long."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Finding, Ref, Snapshot

_LONG_S = 10.0
_TITLES = {
    "safepoint": "all threads of the JVM wait for one that reaches no safepoint",
    "operation": "the JVM is at an operation for which all its threads stand still",
    "collection": "the JVM collects garbage, and all its threads stand still",
}


def jvm_does_not_answer(seen: Snapshot) -> Iterator[Finding]:
    silence = seen.silence
    if silence is None or silence.why not in _TITLES:
        return
    pid = seen.process.pid
    stood = silence.since_s
    advice = (
        " Most likely it is in a loop that was compiled without a poll (-XX:+UseCountedLoopSafepoints puts one there), or copies a large array."
        if silence.tid
        else ""
    )
    yield Finding(
        rule="jvm-silent",
        severity="critical" if stood is not None and stood >= _LONG_S else "warning",
        title=_TITLES[silence.why] + (f", for {words.duration(stood)}" if stood is not None else ""),
        sentence=f"pid {pid} was asked for its stacks and did not answer: {silence.sentence}.{advice}",
        evidence=(Ref(source=f"/proc/{pid}/task/*/schedstat and counters of pid {pid}", said=silence.sentence),),
        next=(f"pellucid gc {pid}", f"pellucid stacks {pid}"),
        confidence="likely",
    )
