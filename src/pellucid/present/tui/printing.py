"""`top --plain`: a block of lines for each look, until Ctrl-C."""

import shutil
import time

from pellucid.inert import inert
from pellucid.kernel import procfs
from pellucid.present.tui import plain
from pellucid.present.tui.source import Source
from pellucid.present.view.top import Sort

_FIRST_S = 1.0
"""Before the first block: the list has no shares of CPU, and the scan no findings, at its first look."""


def run(source: Source, pid: int | None, pattern: str, sort: Sort, interval: float, count: int | None) -> int:
    """Returns the exit status; raises what a look at `pid` raises when that is not there any more."""
    source.begin()
    try:
        if pid is None:
            source.top(pattern, sort)
            time.sleep(_FIRST_S)
        done = 0
        while True:
            for line in _block(source, pid, pattern, sort):
                print(line)
            print(flush=True)
            done += 1
            if done == count:
                return 0
            time.sleep(interval)
    except KeyboardInterrupt:
        return 0
    finally:
        source.end()


def _block(source: Source, pid: int | None, pattern: str, sort: Sort) -> list[str]:
    width = shutil.get_terminal_size((120, 24)).columns
    if pid is None:
        return list(plain.listed(source.top(pattern, sort), hosts=bool(source.hosts), width=width))
    name = inert(procfs.process(pid).name)
    return list(plain.looked(source.deep(pid), name))
