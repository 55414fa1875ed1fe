"""Who the parent of a process is to it: one that takes in orphans, or the program that multiprocessing forked it from."""

from pellucid.model import Process, Ref, Snapshot

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


def reaps(parent: Process) -> bool:
    """It takes in orphans, and starts no Python workers itself."""
    named = (parent.exe or "").rpartition("/")[2] or parent.name
    python = any("python" in word for word in (named, parent.name, *parent.command[:1]))
    return not python and (parent.pid == 1 or parent.name in _REAPERS or named in _REAPERS)


def is_a_child_of_multiprocessing(seen: Snapshot) -> Ref | None:
    line = " ".join(seen.process.command)
    if any(text in line for text in _STARTED_SO):
        return Ref(source=f"/proc/{seen.process.pid}/cmdline", said=line[:100])
    main = next((thread for thread in seen.threads if thread.tid == seen.process.pid), None)
    for frame in main.frames if main is not None else ():
        if frame.function == "_bootstrap" and frame.file.endswith("multiprocessing/process.py"):
            return Ref(source=f"stack of {main.name}" if main else "stack", said=str(frame))
    return None
