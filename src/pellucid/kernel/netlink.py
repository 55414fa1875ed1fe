"""One question to the kernel over netlink(7), and its answer: one message, or a table in many.

A table can change while it is read. The kernel then marks the answer (NLM_F_DUMP_INTR), and the whole of it is asked for
again, at most `TRIES` times; what was read last is returned with a Gap. The same bound holds for answers that did not fit
(MSG_TRUNC, ENOBUFS): the next try has twice the room.

`_socket` is what `socket` is made of; importing the latter costs 8 to 14 ms more, for enumerations that nothing here needs.
"""

import _socket
import os
from collections.abc import Callable, Iterable, Iterator
from errno import ENOBUFS, ENOENT
from struct import Struct
from types import TracebackType
from typing import Self, TypeVar

from pellucid.model import Gap
from pellucid.model.errors import os_words

SOCK_DIAG = 4
ROUTE = 0
REQUEST, DUMP, DUMP_INTERRUPTED = 0x1, 0x300, 0x10  # include/uapi/linux/netlink.h: NLM_F_*
ERROR, DONE = 2, 3  # NLMSG_*

TRIES = 3
TIMEOUT_S = 5.0
"""No answer for so long is a failure: the kernel makes each part of a table while it is fetched, in microseconds."""

_AF_NETLINK, _SOCK_RAW, _CLOEXEC = 16, 3, 0o2000000
_ROOM = 1 << 16  # the kernel fills at most 32 KiB a part (net/netlink/af_netlink.c, netlink_recvmsg)
_MAX_PARTS = 1 << 20  # of 32 KiB: no host has so many sockets
_FIRST_ANSWER = 16  # NLMSG_MIN_TYPE: types below are control messages
_HEADER = Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_NUMBER = Struct("=i")
_ATTRIBUTE = Struct("=HH")  # struct nlattr: length with this header, type

T = TypeVar("T")
Read = Callable[[bytes, int, int], T | None]
"""Makes a record of the message between two offsets of a datagram; None for one that is not wanted. May raise Garbled."""


class Garbled(ValueError):  # noqa: N818  what came is no netlink message
    """An answer does not have the form that the kernel promises."""


class Incomplete(Exception):  # noqa: N818  answered by asking again
    """A table was not read as a whole; its text says why."""


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(type, flags, start, end) of each message's content within `datagram`. Raises Garbled."""
    at, size = 0, len(datagram)
    while at < size:
        if size - at < 16:
            raise Garbled(f"{size - at} bytes after the last message")
        length, kind, flags, _, _ = _HEADER.unpack_from(datagram, at)
        if length < 16 or at + length > size:
            raise Garbled(f"a message of {length} bytes where {size - at} are left")
        yield kind, flags, at + 16, at + length
        at += (length + 3) & ~3


def attributes(datagram: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of each attribute's content between `start` and `end`. Raises Garbled."""
    while end - start >= 4:
        length, kind = _ATTRIBUTE.unpack_from(datagram, start)
        if length < 4 or start + length > end:
            raise Garbled(f"an attribute of {length} bytes where {end - start} are left")
        yield kind & 0x3FFF, start + 4, start + length  # NLA_TYPE_MASK
        start += (length + 3) & ~3


class Netlink:
    """An open netlink socket of the network namespace in which it was made; a context manager. OSError when refused."""

    def __init__(self, protocol: int, room: int = _ROOM) -> None:
        self._socket = _socket.socket(_AF_NETLINK, _SOCK_RAW | _CLOEXEC, protocol)
        self._socket.settimeout(TIMEOUT_S)
        self._room = room
        if room > _ROOM:  # the kernel caps it at net.core.rmem_max
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, 8 * room)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, kind: int, body: bytes) -> tuple[bytes, int, int]:
        """The one message that answers: (datagram, start, end). OSError with the kernel's number where it says no; Garbled."""
        self._send(kind, REQUEST, body)
        datagram, _, flags, _ = self._socket.recvmsg(self._room)
        if flags & _socket.MSG_TRUNC:
            raise Garbled(f"an answer longer than {self._room} bytes")
        for answer, _, start, end in messages(datagram):
            if answer == ERROR:
                raise _error(datagram, start, end)
            return datagram, start, end
        raise Garbled("an empty answer")

    def parts(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The parts of a table, as long as they are asked for. OSError, Incomplete."""
        self._send(kind, REQUEST | DUMP, body)
        for _ in range(_MAX_PARTS):
            datagram, _, flags, _ = self._socket.recvmsg(self._room)
            if flags & _socket.MSG_TRUNC:
                raise Incomplete("a part of it was longer than the room for it")
            yield datagram

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(_HEADER.pack(16 + len(body), kind, flags, 1, 0) + body)


def collect(datagram: bytes, read: Read[T], records: list[T]) -> tuple[bool, bool]:
    """Append the records of one part of a table: (it was the last part, the table changed meanwhile). OSError, Garbled."""
    changed = 0
    for kind, flags, start, end in messages(datagram):
        changed |= flags & DUMP_INTERRUPTED
        if kind >= _FIRST_ANSWER:
            record = read(datagram, start, end)
            if record is not None:
                records.append(record)
        elif kind == ERROR or (kind == DONE and end - start >= 4 and _NUMBER.unpack_from(datagram, start)[0] < 0):
            raise _error(datagram, start, end)
        elif kind == DONE:
            return True, bool(changed)
    return False, bool(changed)


def assemble(parts: Iterable[bytes], read: Read[T], records: list[T]) -> None:
    """Append the records of all parts of a table. OSError, Garbled, Incomplete."""
    interrupted = False
    for part in parts:
        done, changed = collect(part, read, records)
        interrupted |= changed
        if done and interrupted:
            raise Incomplete("it changed while it was read")
        if done:
            return
    raise Garbled("a table without an end")


def table(protocol: int, kind: int, body: bytes, read: Read[T], what: str) -> tuple[tuple[T, ...], tuple[Gap, ...]]:
    """All records of the table that `body` asks for. Never raises: what could not be read is a Gap, called `what`."""

    def once(room: int, records: list[T]) -> None:
        with Netlink(protocol, room) as link:
            assemble(link.parts(kind, body), read, records)

    return whole(once, what)


def whole(once: Callable[[int, list[T]], None], what: str) -> tuple[tuple[T, ...], tuple[Gap, ...]]:
    """The records that `once(room, records)` appends, asked for anew, with twice the room, while it is told that some are missing.

    After TRIES those of the last time, with a Gap.
    """
    records: list[T] = []
    why = ""
    for attempt in range(TRIES):
        records = []
        try:
            once(_ROOM << attempt, records)
            return tuple(records), ()
        except Incomplete as incomplete:
            why = f"{incomplete}, {TRIES} times in turn: some may be missing"
        except Garbled as garbled:
            why = f"netlink answered with {garbled}"
            break
        except OSError as error:
            why = refusal(error)
            if error.errno != ENOBUFS:
                break
    return tuple(records), (Gap(what=what, why=why),)


def refusal(error: OSError) -> str:
    """Why netlink did not answer, in words."""
    if isinstance(error, TimeoutError):
        return f"netlink did not answer within {TIMEOUT_S:.0f} s"
    if error.errno == ENOENT:
        return (
            "ENOENT: this kernel has no such table (its inet_diag, tcp_diag, udp_diag or unix_diag module is missing)"
        )
    return f"netlink said {os_words(error)}"


def _error(datagram: bytes, start: int, end: int) -> OSError:
    """The kernel's no, struct nlmsgerr, as an exception. Raises Garbled."""
    if end - start < 4:
        raise Garbled("an error without a number")
    number = abs(_NUMBER.unpack_from(datagram, start)[0])
    return OSError(number, os.strerror(number))
