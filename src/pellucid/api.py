"""What programs call: `pellucid.snapshot`, `why`, `record` and `Recording`, the same as the commands of these names, as values.

`pid` may everywhere be a name pattern that fits one process. All raise errors of `pellucid.PellucidError`, whose three lines say what was tried,
what the kernel said, and what helps.
"""

import os
from collections.abc import Callable

from pellucid.model.errors import UsageError
from pellucid.model.recording import RecordingReport
from pellucid.model.report import WhyReport
from pellucid.model.snapshot import Snapshot
from pellucid.recording.reading import Recording


def snapshot(pid: int | str, *, span: float = 0.1, watch: float = 0.0) -> Snapshot:
    """Process `pid` at this moment: its threads with stacks and waits, sockets, files, who waits for whom, gaps.

    Two looks, `span` seconds apart; `watch` seconds more for what only shows over time (`Snapshot.over_time`). Nothing runs in the process,
    and nothing stops it, but for a JVM, which stands still while it tells its stacks (`Snapshot.cost.stopped_s`).

    Raises NoSuchProcess, NotPermitted, and UsageError for a pattern that does not fit one process.
    """
    from pellucid.observe.snapshot import snapshot as look

    return look(_pid(pid), span, watch)


def why(pid: int | str, *, span: float = 0.1, watch: float = 2.0) -> WhyReport:
    """What is wrong with process `pid`: `why(pid).findings`, worst first, each with its sentence, evidence and confidence.

    It takes about `watch` seconds; 0 leaves the longer looks out. Raises as `snapshot` does.
    """
    from pellucid.diagnose.engine import diagnose
    from pellucid.present.cli.why_text import report

    seen = snapshot(pid, span=span, watch=watch)
    return report(seen, diagnose(seen))


def record(
    pid: int | str | None,
    path: str | os.PathLike[str],
    *,
    seconds: float | None = None,
    rate: float = 10.0,
    children: bool = True,
    most_bytes: int = 256 << 20,
    stopped: Callable[[], bool] = lambda: False,
) -> RecordingReport:
    """Record process `pid`, and with `children` those that it has and starts, into the file `path`; None: all that run Python or a JVM.

    Returns when it has ended, after `seconds`, or once `stopped()` is true, with what the file then holds. `rate`: stacks a second, at
    most. A recording that is there already goes on. To be called in a thread or process of its own where something else goes on meanwhile.

    Raises NoSuchProcess, NotPermitted, and UsageError: the file can't be written to, or is no recording.
    """
    from pellucid.recording.recorder import Asked
    from pellucid.recording.recorder import record as run

    asked = Asked(
        pids=() if pid is None else (_pid(pid),),
        every=pid is None,
        children=children,
        rate_hz=rate,
        seconds=seconds,
        most_bytes=most_bytes,
    )
    run(os.fspath(path), asked, stopped)
    with Recording(os.fspath(path)) as recorded:
        return recorded.report()


def _pid(pid: int | str) -> int:
    """Raises UsageError."""
    if isinstance(pid, str):
        from pellucid.present.cli.plain import resolve

        pid = resolve(pid)
    if pid == os.getpid():
        raise UsageError(
            tried=f"look at pid {pid}",
            said="that is this process itself: it can't be seen from outside by itself",
            remedy="pellucid.Profiler()  (samples the program that it is called in)",
        )
    return pid


__all__ = ["Recording", "record", "snapshot", "why"]
