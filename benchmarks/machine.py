"""Which machine, which versions, which day: a number without them is worth nothing."""

import datetime as dt
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


def described(packages: Sequence[str], *, programs: Sequence[str] = ()) -> str:
    """Two lines for the head of a section: the machine with its load, and the versions of what was run."""
    day = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
    load = os.getloadavg()[0]
    machine = (
        f"{day}. {os.cpu_count()} × {_cpu_model()}, {platform.machine()}, Linux {platform.release()}, {_distribution()}; "
        f"load average when it began: {load:.1f}."
    )
    versions = [f"CPython {platform.python_version()}"]
    versions += [f"{package} {metadata.version(package)}" for package in packages]
    return f"{machine}\n{', '.join([*versions, *programs])}.\n"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return "unnamed CPU"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown distribution")
    except OSError:
        return "unknown distribution"
