"""Options that every command spells the same way, and how a target is named."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pellucid.model.report import Report

Function = TypeVar("Function", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
target = click.argument("target", metavar="PID")


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
