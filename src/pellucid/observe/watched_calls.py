"""Two things that only its system calls tell of a process: the errors that it swallows, and the lines that open descriptors.

    openat /srv/rates.csv = ENOENT   412 times in 2.0 s   load (rates.py:41)
    accept4 → 812, 813, 815 ...                           serve (server.py:17)

Only by a tracer that stops nothing (BPF programs, or perf events), and only where that is permitted. Of the process itself and of
children that it makes meanwhile: those that it had before are other processes to ask `why` about.
"""

from pellucid.model import Process
from pellucid.model.over_time import Calls, RepeatedError
from pellucid.model.syscalls import FailedCall
from pellucid.observe.syscalls import Asked, attached
from pellucid.observe.window import Seen, Window

_MOST, _MOST_HOLDERS = 32, 4


def watch(process: Process, window: Window) -> Seen:
    """Those of `process` until the window is over. Raises NotPermitted where no cheap tracer may look."""
    asked = Asked(seconds=window.left(), every_line=False, openers=True, family=False, command="why")
    report = attached(process.pid, asked, window.over)
    failed = [event for event in report.events if not event.noise]
    calls = Calls(
        seconds=report.seconds,
        repeated=tuple(_repeated(event) for event in sorted(failed, key=lambda event: -event.count)[:_MOST]),
        opened=report.openers,
        harmless=sum(event.count for event in report.events if event.noise),
        lost=report.lost,
        backend=report.backend,
    )
    return Seen(calls, report.gaps)


def _repeated(event: FailedCall) -> RepeatedError:
    return RepeatedError(
        name=event.name,
        error=event.error,
        path=event.path,
        what=event.what,
        call=event.call,
        count=event.count,
        pid=event.pid,
        program=event.program,
        line=event.line,
        stack=event.stack,
        certain=event.path_certain,
        holders=_holders(event.what) if event.error == "EADDRINUSE" else (),
    )


def _holders(address: str) -> tuple[str, ...]:
    """Who has the port of `127.0.0.1:8000`; the name of a unix socket has none."""
    port = address.rpartition(":")[2]
    if not port.isdigit():
        return ()
    from pellucid.observe.holders import of_port

    held = {file.pid: file.command for file in of_port(int(port)).files if file.pid is not None}
    return tuple(f"pid {pid} ({command})" for pid, command in list(held.items())[:_MOST_HOLDERS])
