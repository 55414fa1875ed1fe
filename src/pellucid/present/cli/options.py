"""Options that every command spells the same way."""

import re

import click

from pellucid.present.cli.plain import emit, resolve

__all__ = ["as_json", "emit", "resolve", "seconds", "size", "target"]

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
target = click.argument("target", metavar="PID")

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
