"""What a command does whoever understood its words: finds the process that was meant, prints a report as JSON."""

import sys

from pellucid.model.report import Report


def emit(report: Report) -> None:
    """The JSON of a report on stdout."""
    from pellucid.export.json import encode

    sys.stdout.buffer.write(encode(report))
    sys.stdout.buffer.flush()


def resolve(target: str) -> int:
    """The pid that `target` names: a number, or a pattern that matches exactly one process (else UsageError lists them)."""
    if target.isascii() and target.isdigit():
        return int(target)
    from pellucid.observe.identity import resolve as by_pattern

    return by_pattern(target)
