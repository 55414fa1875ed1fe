"""Whether this process may open perf events of tracepoints, and which check says no; asked before anything large is imported for them."""

from errno import EACCES, EPERM

from pellucid.kernel.capabilities import NAMES, SYS_ADMIN
from pellucid.kernel.procfs import parse_status, read_file, read_small
from pellucid.model.errors import os_name

_PERFMON = 1 << NAMES.index("perfmon")


def lacking() -> str:
    """`you lack CAP_PERFMON (...)`, "" where nothing is known to be lacking: kernel/events/core.c, perf_allow_tracepoint."""
    held = int(parse_status(read_file("/proc/self/status"))["CapEff"], 16)
    paranoid = read_small("/proc/sys/kernel/perf_event_paranoid", 16).decode().strip()
    if held & (_PERFMON | SYS_ADMIN) or paranoid == "-1":
        return ""
    return f"you lack CAP_PERFMON (kernel.perf_event_paranoid is {paranoid})"


def why_not(error: OSError) -> str:
    """In one sentence, why tracepoints can't be opened: kernel/events/core.c asks for CAP_PERFMON, tracefs for root."""
    lacks = lacking() if error.errno in (EACCES, EPERM) else ""
    return lacks or f"{os_name(error.errno)}, {error.strerror}"
