"""Sizes in words."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(number: int) -> str:
    """`512 bytes`, `4.1 GiB`."""
    value = float(number)
    unit = 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{number} bytes" if not unit else f"{value:.1f} {_UNITS[unit]}"
