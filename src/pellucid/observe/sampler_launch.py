"""A command started to be sampled: it waits before its execve until all is ready, and is our child, as Yama's ptrace_scope 1 wants it."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.model import Gap, redact
from pellucid.model.errors import NotUnderstood
from pellucid.model.profile import Profile
from pellucid.observe.sampler import Asked, Progress, Stopped, sample
from pellucid.observe.syscalls_launch import Launched

_GRACE_S = 2.0
"""After an interruption, for so long the command is waited for: Ctrl-C in a terminal reaches it too."""

_ENDING_S = 5.0
_ENDING_PAUSE_S = 0.005
"""A process whose memory is gone becomes a zombie a moment later."""


def sample_command(
    command: tuple[str, ...],
    asked: Asked,
    stopped: Stopped,
    progress: Callable[[Progress], None] | None = None,
    stdout: int = 1,
) -> tuple[Profile, int | None]:
    """(what was seen of it, its exit status, None while it still runs). Raises UsageError, and NotUnderstood where nothing was Python."""
    with Launched(command, stdout, "profile") as child:
        seen = procfs.process(child.pid)
        process = replace(
            seen,
            name=child.program.rpartition("/")[2][:15],
            command=redact.command(command),
            exe=child.program,
            threads=1,
        )
        since: list[float] = []

        def enough() -> bool:
            if child.ended():
                return True
            if not stopped():
                return False
            since.append(time.monotonic())
            return since[-1] - since[0] > _GRACE_S

        profile = sample(process, asked, enough, progress, child.release)
        _may_end(child, asked.seconds is None and not since)
        if not profile.tracks:
            raise NotUnderstood(
                child.pid,
                tried=f"profile {command[0]}",
                said="neither it nor a child of it ran a Python that could be read"
                + "".join(f"; {gap.what}: {gap.why}" for gap in profile.gaps[:2] if "no Python" not in gap.why),
                remedy="pellucid syscalls -- " + " ".join(command),
            )
        if child.status is None:
            rest = Gap(
                f"the rest of {command[0]} (pid {child.pid})", "it was still running when the look ended, and goes on"
            )
            profile = replace(profile, gaps=(*profile.gaps, rest))
        return profile, child.status


def _may_end(child: Launched, over: bool) -> None:
    """Notes its exit status, if it has ended. `over`: its memory is gone, as is that of all its children; then it is about to."""
    until = time.monotonic() + _ENDING_S
    while not child.ended() and over and time.monotonic() < until:
        time.sleep(_ENDING_PAUSE_S)
