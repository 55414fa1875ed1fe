"""The list of processes: one row each, with its state in words and the worst that is known of it."""

from msgspec import Struct

from pellucid.diagnose import words
from pellucid.inert import inert
from pellucid.observe.listing import Live

_COMMAND = 120
_CPU_STEP = 1000
_MEMORY_STEP = 1 << 16
"""A row that only moved by less is not sent again."""


class Row(Struct, frozen=True):
    """`cpu` in CPU seconds a second, None at the first look; `readable`: its runtime is one whose stacks we read (Python, JVM)."""

    pid: int
    ppid: int
    name: str
    command: str
    user: str
    runtime: str
    state: str
    cpu: float | None
    rss_bytes: int
    threads: int
    started_at: float
    readable: bool


def row(live: Live) -> Row:
    process = live.process
    runtime = process.runtime or ""
    return Row(
        pid=process.pid,
        ppid=process.ppid,
        name=inert(process.name),
        command=inert(words.command(process, _COMMAND, named=False)),
        user=inert(process.user),
        runtime=inert(runtime),
        state=live.state,
        cpu=None if live.cpu is None else round(live.cpu * _CPU_STEP) / _CPU_STEP,
        rss_bytes=live.rss_bytes // _MEMORY_STEP * _MEMORY_STEP,
        threads=process.threads,
        started_at=round(process.started_at, 2),
        readable=runtime.startswith(("Python", "JVM")),
    )
