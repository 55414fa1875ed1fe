"""What is wrong, in a sentence, with the observations it rests on and the commands to run next."""

from typing import Literal

from msgspec import Struct

Severity = Literal["critical", "warning", "notice", "info"]
"""Worst first: critical stops the program's work; info is a healthy state said in words (idle, working)."""

Confidence = Literal["certain", "likely", "possible"]
"""certain: a kernel fact or a field in memory; likely: code analysis or one end only; possible: mere reachability."""

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "notice", "info")
CONFIDENCES: tuple[Confidence, ...] = ("certain", "likely", "possible")


class Ref(Struct, frozen=True):
    """One observation that a sentence rests on: `source` names where it was read, `said` what it was."""

    source: str
    """`/proc/41/task/41/syscall`, `sock_diag tcp inode 1234`, `stack of thread 41`."""
    said: str


class Finding(Struct, frozen=True):
    """A sentence without evidence is a bug. `next` holds whole command lines."""

    rule: str
    severity: Severity
    title: str
    sentence: str
    evidence: tuple[Ref, ...]
    next: tuple[str, ...]
    confidence: Confidence
    tids: tuple[int, ...] = ()
