"""A worker of multiprocessing whose parent is gone: it was given to init or to a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER).

Nobody sends it work or takes its results any more. Told by its stack (Lib/multiprocessing/process.py, BaseProcess._bootstrap runs
only in children) or by the command line that multiprocessing starts children with (Lib/multiprocessing/spawn.py, 3.13); a parent
that is itself a Python program is left alone: in a container the real parent may be pid 1.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Finding, Process, Ref, Snapshot

_REAPERS = frozenset(
    (
        "systemd",
        "init",
        "tini",
        "dumb-init",
        "docker-init",
        "catatonit",
        "containerd-shim",
        "containerd-shim-runc-v2",
        "conmon",
        "s6-svscan",
        "runit",
        "runsvdir",
    )
)
_STARTED_SO = ("multiprocessing.spawn import spawn_main", "--multiprocessing-fork")


def lost_its_parent(seen: Snapshot) -> Iterator[Finding]:
    parent = seen.resources.parent
    if parent is None or seen.process.state == "zombie" or not _reaps(parent):
        return
    how = _is_a_child_of_multiprocessing(seen)
    if how is None:
        return
    pid = seen.process.pid
    yield Finding(
        rule="orphan",
        severity="warning",
        title=f"pid {pid} is a multiprocessing worker without its parent",
        sentence=f"The process that started it has ended without ending it; its parent is now {words.called(parent)}, which neither gives it work "
        f"nor takes its results.",
        evidence=(Ref(source=f"/proc/{pid}/stat", said=f"parent {parent.pid} ({parent.name})"), how),
        next=(f"pellucid stacks {pid}", f"kill {pid}"),
        confidence="likely",  # a program may have meant its worker to live on
    )


def _reaps(parent: Process) -> bool:
    """It takes in orphans, and starts no Python workers itself."""
    named = (parent.exe or "").rpartition("/")[2] or parent.name
    python = any("python" in word for word in (named, parent.name, *parent.command[:1]))
    return not python and (parent.pid == 1 or parent.name in _REAPERS or named in _REAPERS)


def _is_a_child_of_multiprocessing(seen: Snapshot) -> Ref | None:
    line = " ".join(seen.process.command)
    if any(text in line for text in _STARTED_SO):
        return Ref(source=f"/proc/{seen.process.pid}/cmdline", said=line[:100])
    main = next((thread for thread in seen.threads if thread.tid == seen.process.pid), None)
    for frame in main.frames if main is not None else ():
        if frame.function == "_bootstrap" and frame.file.endswith("multiprocessing/process.py"):
            return Ref(source=f"stack of {main.name}" if main else "stack", said=str(frame))
    return None
