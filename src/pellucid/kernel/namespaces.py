"""A process in a container has other pids, another network and other files: which namespaces, and how to ask inside of them.

Two processes share a namespace when /proc/PID/ns/KIND has the same inode number (namespaces(7)). The pids that a program knows are
those of its own pid namespace: the last number of NSpid in its status. A network namespace answers netlink only from inside,
so the question is asked by a short-lived child of ours that enters it with setns(2); we stay where we are.
"""

import os
import time
from collections.abc import Callable
from errno import EPERM, ESRCH
from typing import NamedTuple

from pellucid.kernel import procfs
from pellucid.model import Gap
from pellucid.model.errors import os_words

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
LIMIT_S = 2.0
MAX_ANSWER = 1 << 28

_ANSWER, _REFUSED, _FAILED = b"a", b"r", b"f"


def namespaces(pid: int) -> dict[str, int]:
    """Kind to inode number, of the kinds that this kernel has. Raises NoSuchProcess and NotPermitted."""
    found: dict[str, int] = {}
    for kind in KINDS:
        try:
            found[kind] = _inode(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except FileNotFoundError:
            if not os.path.exists(f"/proc/{pid}/ns"):
                raise procfs.failed(pid, f"read the namespaces of pid {pid}", ProcessLookupError(ESRCH, "")) from None
        except OSError as error:
            raise procfs.failed(pid, f"read the namespaces of pid {pid}", error, "info") from error
    return found


def _inode(link: str) -> int:
    return int(link.partition("[")[2].rstrip("]"))


def same(pid: int, kind: str) -> bool | None:
    """Whether `pid` is in our namespace of that kind; None where its own may not be read."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return None


def ns_pids(pid: int, tid: int | None = None) -> tuple[int, ...]:
    """The pid (or the tid of one of its threads) in each pid namespace, ours first, its own last. Raises NoSuchProcess."""
    path = f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status"
    try:
        told = procfs.parse_status(procfs.read_file(path))
    except OSError as error:
        raise procfs.failed(pid, f"read {path}", error) from error
    return tuple(int(number) for number in told["NSpid"].split())


def tid_in_namespace(pid: int, tid: int) -> int:
    """What gettid(2) answers to thread `tid` of `pid` itself. Raises NoSuchProcess."""
    return ns_pids(pid, tid)[-1]


def outer_tids(pid: int) -> dict[int, int]:
    """The threads of `pid`: what gettid(2) answers to each, to its tid here. Raises NoSuchProcess."""
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError as error:
        raise procfs.failed(pid, f"list the threads of pid {pid}", error) from error
    if len(ns_pids(pid)) == 1:
        return {tid: tid for tid in tids}
    found: dict[int, int] = {}
    for tid in tids:
        try:
            told = procfs.parse_status(procfs.read_file(f"/proc/{pid}/task/{tid}/status"))
        except OSError as error:
            if procfs.gone(error):  # it ended meanwhile, and nobody asks for its name any more
                continue
            raise procfs.failed(pid, f"look at thread {tid} of pid {pid}", error) from error
        found[int(told["NSpid"].split()[-1])] = tid
    return found


def in_network_of(pid: int, ask: Callable[[], bytes], limit_s: float = LIMIT_S) -> bytes | Gap:
    """What `ask` answers inside of the network namespace of `pid`; a Gap where it can't be entered, or after `limit_s`.

    `ask` runs in a forked child: it must not take locks that another thread of ours may hold, and has no effect here.
    """
    import ctypes

    what = f"the network namespace of pid {pid}"
    enter = ctypes.CDLL(None, use_errno=True).setns
    try:
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    except OSError as error:
        refused = procfs.failed(pid, f"open {what}", error, "sockets")
        return Gap(what, refused.said, refused.remedy)
    opened = [network]
    try:
        reading, writing = os.pipe()
        opened += (reading, writing)
        child = os.fork()
        if child == 0:
            question = _Question(pid, network, writing, int(limit_s) + 2, ask)
            _inside(question, lambda fd: ctypes.get_errno() if enter(fd, 0) else 0)
        os.close(opened.pop())
        return _answer(child, reading, pid, limit_s)
    except OSError as error:  # EMFILE, EAGAIN: no pipe, no child
        return Gap(what, f"a child to enter it could not be made: {os_words(error)}")
    finally:
        for fd in opened:
            os.close(fd)


class _Question(NamedTuple):
    """What the child needs; it ends by itself after `alarm_s`, should the parent be gone."""

    pid: int
    network: int
    writing: int
    alarm_s: int
    ask: Callable[[], bytes]


def _inside(question: _Question, enter: Callable[[int], int]) -> None:
    """The child: enters, asks, writes, and ends, by an alarm at the latest; it never returns."""
    try:
        import signal

        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(question.alarm_s)
        number = enter(question.network)
        if number == EPERM:  # a namespace that belongs to a user namespace of ours, as rootless containers have
            number = enter(os.open(f"/proc/{question.pid}/ns/user", os.O_RDONLY)) or enter(question.network)
        if number:
            raise OSError(number, os.strerror(number))  # noqa: TRY301  all failures take the one way below
        _write(question.writing, _ANSWER + question.ask())
    except OSError as error:
        _write(question.writing, (_REFUSED if error.errno == EPERM else _FAILED) + os_words(error).encode())
    except BaseException as error:  # noqa: BLE001  told to the parent; this child must not run the parent's code
        _write(question.writing, _FAILED + repr(error).encode())
    finally:
        os._exit(0)


def _write(fd: int, answer: bytes) -> None:
    view = memoryview(answer)
    while view:
        view = view[os.write(fd, view) :]


def _answer(child: int, reading: int, pid: int, limit_s: float) -> bytes | Gap:
    """The child is killed once it has answered or the time is over, and collected: until then its pid is its own."""
    import signal

    what = f"the network namespace of pid {pid}"
    try:
        answer = _read(reading, time.monotonic() + limit_s)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer is None:
        return Gap(what, f"it did not answer within {limit_s:g} s")
    kind, told = answer[:1], answer[1:]
    if kind == _ANSWER:
        return told
    remedy = f"sudo pellucid sockets {pid}" if kind == _REFUSED else ""
    return Gap(what, told.decode(errors="replace") or "the look into it ended early", remedy)


def _read(reading: int, deadline: float) -> bytes | None:
    """All that the child writes until it closes; None after the deadline or beyond the bound."""
    import select

    parts: list[bytes] = []
    size = 0
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    while size <= MAX_ANSWER:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        part = os.read(reading, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    return None
