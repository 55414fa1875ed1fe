"""`gc LOG`: the log, and where a running JVM writes its own."""

import os
import re

from pellucid.runtimes.jvm.gclog import Log
from pellucid.runtimes.jvm.gclog import read as _read

_OPTION = re.compile(r"(?:-Xloggc:|-Xlog:gc[^\s]*?:(?:file=)?)(?:\"([^\"]+)\"|([^\s:,]+))")
_STREAMS = frozenset({"stdout", "stderr"})


def read(path: str) -> Log:
    """Raises UsageError where it can't be read."""
    return _read(path)


def left_by_whole_collections(log: Log) -> tuple[tuple[tuple[float, float], ...], str]:
    return log.whole()


def of_process(pid: int, options: str) -> str | None:
    """The log that a JVM with these options writes and has open now, as a path that we can read; None where it has none."""
    found = _OPTION.search(options)
    if found is None or (found[1] or found[2]) in _STREAMS:
        return None
    name = os.path.basename(found[1] or found[2]).partition("%")[0]
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if name and os.path.basename(target).startswith(name):
                return f"/proc/{pid}/root{target}"
    except OSError:
        return None
    return None
