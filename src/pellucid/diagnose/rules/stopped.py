"""All threads are stopped: by job control (state T) or by a tracer such as a debugger (state t), proc_pid_stat(5)."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Finding, Ref, Snapshot


def is_stopped(seen: Snapshot) -> Iterator[Finding]:
    process = seen.process
    if process.state not in {"stopped", "traced"}:
        return
    pid = process.pid
    main = next((thread for thread in seen.threads if thread.tid == pid), None)
    where = f" It was at {words.path(main.frames)}." if main is not None and main.frames else ""
    evidence = (Ref(source=f"/proc/{pid}/stat", said=f"state {'T' if process.state == 'stopped' else 't'}"),)
    if process.state == "stopped":
        yield Finding(
            rule="stopped",
            severity="critical",
            title=f"pid {pid} ({process.name}) is stopped",
            sentence=f"A signal (SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU) stopped all its threads; it does nothing until SIGCONT.{where}",
            evidence=evidence,
            next=(f"kill -CONT {pid}",),
            confidence="certain",
        )
    else:
        yield Finding(
            rule="traced",
            severity="critical",
            title=f"pid {pid} ({process.name}) is held by a tracer",
            sentence=f"A debugger or tracer stopped it by ptrace(2) and has not let it go on.{where}",
            evidence=evidence,
            next=(f"pellucid info {pid}",),
            confidence="certain",
        )
