"""Is this process a JVM, which one, and may it be asked? Told from its mappings, its status and its own counters, before anything is sent to it."""

import os

from msgspec import Struct

from pellucid.kernel import maps, procfs
from pellucid.kernel.memory import Unreadable
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.runtimes.jvm.collector import text
from pellucid.runtimes.jvm.perfdata import Counters, PerfData

SIGQUIT_BIT = 1 << 3 - 1
"""Of the masks in /proc/PID/status, proc_pid_status(5)."""

_ARGUMENTS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_MAX_ENVIRONMENT = 1 << 17


class Jvm(Struct, frozen=True):
    """`kind`: HotSpot or OpenJ9. `library`: libjvm.so as its own root names it. `counters` is None where it publishes none (why: `why_not`)."""

    pid: int
    kind: str
    library: str
    counters: Counters | None
    why_not: LookError | None = None

    @property
    def version(self) -> str:
        """`17.0.15`; "" where it is not told."""
        return text(self.counters, "java.property.java.version") if self.counters else ""

    @property
    def name(self) -> str:
        """`HotSpot 17.0.15`."""
        return f"{self.kind} {self.version}".rstrip()

    @property
    def program(self) -> str:
        """The main class or jar with its arguments."""
        return text(self.counters, "sun.rt.javaCommand") if self.counters else ""

    def flags(self, pid: int) -> str:
        """The options that it was started with: those it tells itself, else its command line and the variables that it adds."""
        if self.counters is not None:
            return " ".join(text(self.counters, name) for name in ("java.rt.vmFlags", "java.rt.vmArgs")).strip()
        return " ".join((*procfs.command(pid), *_environment(pid)))


def recognise(pid: int, command: str = "gc") -> Jvm:
    """Raises NoSuchProcess, NotPermitted, and NotUnderstood where no libjvm.so is mapped."""
    mappings = maps.read(pid, command)
    library = next((one.path for one in mappings if one.path.endswith("/libjvm.so")), None)
    if library is None:
        raise no_jvm(pid, command)
    other = any("/libj9vm" in one.path for one in mappings)
    if other:
        return Jvm(pid, "OpenJ9", library, None)
    try:
        data = PerfData(pid, command)
    except LookError as error:
        return Jvm(pid, "HotSpot", library, None, error)
    try:
        return Jvm(pid, "HotSpot", library, data.read())
    except LookError as error:
        return Jvm(pid, "HotSpot", library, None, error)
    finally:
        data.close()


def is_jvm(pid: int) -> bool:
    """libjvm.so is mapped. False also where the mappings may not be read."""
    try:
        return any(one.path.endswith("/libjvm.so") for one in maps.read(pid))
    except (LookError, Unreadable):
        return False


def no_jvm(pid: int, command: str) -> NotUnderstood:
    return NotUnderstood(
        pid,
        tried=f"find a JVM in pid {pid}",
        said=f"pid {pid} has no libjvm.so mapped: it runs no JVM (or has not yet started it)",
        remedy=f"pellucid info {pid}  (what it is)" if command != "info" else "pellucid ps",
    )


def catches_quit(pid: int) -> bool:
    """The process has a handler for SIGQUIT. One that has none is ended by it: -Xrs, or a JVM that is only just starting."""
    return bool(int(procfs.status(pid).get("SigCgt", "0"), 16) & SIGQUIT_BIT)


def _environment(pid: int) -> tuple[str, ...]:
    """The options that the launcher and libjvm take from the environment (runtime/arguments.cpp; launcher/java.c)."""
    try:
        found = procfs.read_file(f"/proc/{pid}/environ", _MAX_ENVIRONMENT)
    except OSError:
        return ()
    pairs = (os.fsdecode(one).partition("=") for one in found.split(b"\0"))
    return tuple(value for name, _, value in pairs if name in _ARGUMENTS)
