"""Questions about a file that may never be answered: a stat(2) on an NFS or FUSE mount whose server is gone does not return.

They are asked by a forked child, which is killed when the time is over: what it has told until then counts, the rest is known not to
answer. A wait for a server can be ended by SIGKILL (fs/nfs/inode.c and fs/fuse/dev.c wait killable, Linux 6.18); a child that is held
by something else is left behind, not waited for.
"""

import os
import signal
import time
from collections.abc import Sequence
from select import POLLIN, poll

import msgspec

from pellucid.kernel import procfs

LIMIT_S = 2.0
_CROWDED_S, _AGAIN_S = 20.0, 0.2
"""For so long at most a child may want a CPU and not get one; and so often it is asked whether it does."""
_PATIENCE_S = 0.2  # for a killed child to end
_MAX_ANSWER = 1 << 24


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What stat(2) says of one path; `errno` is 0 unless it failed. `mount`, `file_inode`: mnt_id and ino of a fdinfo of it.

    `name`: the path as the kernel spells it, symbolic links resolved (`pipe:[41]` for what has none).
    """

    errno: int
    device: int = 0
    inode: int = 0
    mode: int = 0
    links: int = 0
    size: int = 0
    blocks: int = 0
    mount: int = 0
    file_inode: int | None = None
    name: str = ""


def ask(paths: Sequence[str], limit_s: float = LIMIT_S) -> dict[str, Answer]:
    """An answer for each path, without those that did not answer within `limit_s` for all. Raises OSError (no pipe, no child)."""
    if not paths:
        return {}
    reading, writing = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            _tell(paths, writing, limit_s)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        told = _read(reading, child, limit_s)
    finally:
        os.close(reading)
        _end(child)
    lines = told.split(b"\n")[:-1]
    return {path: msgspec.json.decode(line, type=Answer) for path, line in zip(paths, lines, strict=False)}


def _tell(paths: Sequence[str], writing: int, limit_s: float) -> None:
    """The child: a line for each path, in their order. It never returns, and ends by an alarm if the parent is gone."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(limit_s + _CROWDED_S) + 2)
        for path in paths:
            os.write(writing, msgspec.json.encode(_answer(path)) + b"\n")
    finally:
        os._exit(0)


def _answer(path: str) -> Answer:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            seen = os.fstat(fd)
            info = procfs.parse_status(procfs.read_file(f"/proc/self/fdinfo/{fd}"))
            name = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
    except OSError as error:
        return Answer(error.errno or 1)
    return Answer(
        errno=0,
        device=seen.st_dev,
        inode=seen.st_ino,
        mode=seen.st_mode,
        links=seen.st_nlink,
        size=seen.st_size,
        blocks=seen.st_blocks,
        mount=int(info["mnt_id"]),
        file_inode=int(info["ino"]) if "ino" in info else None,  # since Linux 5.14
        name=name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
    )


def _read(reading: int, child: int, limit_s: float) -> bytes:
    """What the child tells within the limit; a child that still wants a CPU then was not kept waiting by a file system, and gets more time."""
    parts: list[bytes] = []
    size = 0
    waiting = poll()
    waiting.register(reading, POLLIN)
    deadline = time.monotonic() + limit_s
    last = deadline + _CROWDED_S
    while size < _MAX_ANSWER:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if time.monotonic() >= last or procfs.stat(child).letter != "R":
                break
            deadline += _AGAIN_S
            continue
        part = os.read(reading, 1 << 16)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_S
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:  # it can't be killed now; init collects it when it can
            return
        time.sleep(0.002)
