"""Options that every command spells the same way."""

import re
from typing import TYPE_CHECKING

import click

from pellucid.present.cli.plain import emit, resolve

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["as_json", "emit", "pids", "pids_or_files", "resolve", "seconds", "size", "target"]

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def pids(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """What stands for PID, with the command of each."""
    from click.shell_completion import CompletionItem

    from pellucid.present.cli.completion import processes

    return [CompletionItem(pid, help=said) for pid, said in processes(incomplete)]


def pids_or_files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The pids, and what the shell itself finds for a path."""
    from click.shell_completion import CompletionItem

    return [*pids(ctx, parameter, incomplete), CompletionItem(incomplete, type="file")]


target = click.argument("target", metavar="PID", shell_complete=pids)

_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:s|min|m|h|d)?\s*)+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)


def seconds(text: str) -> float:
    """`90`, `90s`, `5m`, `1h30m`, `2d` in seconds. Raises click.UsageError."""
    found = _PART.findall(text) if _SPAN.fullmatch(text.strip()) else []
    whole = sum(float(number) * _SECONDS[unit] for number, unit in found)
    if not 0 < whole < 1e10:
        raise click.UsageError(f"{text!r} is no duration: 90, 90s, 5m, 1h30m, 2d.")
    return whole


def size(text: str) -> int:
    """`256M`, `2G`, `500k` in bytes. Raises click.UsageError."""
    found = _SIZE.fullmatch(text.strip())
    whole = float(found[1]) * _BYTES[found[2].lower()] if found else 0.0
    if not 1 << 20 <= whole <= 1 << 40:
        raise click.UsageError(f"{text!r} is no size from 1M to 1T: 256M, 2G.")
    return int(whole)
