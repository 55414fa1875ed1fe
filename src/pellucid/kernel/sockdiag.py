"""Every socket of a network namespace as the kernel holds it: addresses, queues, timers, TCP counters, the other end.

sock_diag(7) answers for the namespace in which it is asked (`kernel.nets` asks in others). Reading needs no privileges; only
who holds a socket does. An inode can't be asked for among the TCP sockets, so a table is read and all but the wanted inodes
left out; a socket whose two addresses are known is asked for directly, which is one look-up in the kernel's hash.

Layouts: include/uapi/linux/inet_diag.h, unix_diag.h and tcp.h. What they don't tell stands in the code that fills them
(net/ipv4/inet_diag.c, net/ipv4/tcp_diag.c, net/unix/diag.c):
- TIME_WAIT sockets, and connections still in their handshake, have no inode, no owner and no tcp_info.
- A connection that nobody accepted yet has inode 0; so has one whose program has closed it.
- The receive queue counts an unread FIN as one byte, the send queue counts an unacknowledged SYN or FIN.
- A listening socket's queues are the connections that wait to be accepted, and the limit.
"""

from collections.abc import Collection
from errno import ENOENT
from struct import Struct

import msgspec

from pellucid.kernel import netlink
from pellucid.kernel.netlink import Garbled, Netlink
from pellucid.model import Gap, Tcp

INET, INET6 = 2, 10
TCP, UDP = 6, 17

STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN_RECV",  # TCP_NEW_SYN_RECV, the same to everybody but the kernel
    13: "CLOSE",  # TCP_BOUND_INACTIVE: bound, neither connected nor listening
}
"""include/net/tcp_states.h, in the words of lsof(8) and netstat(8)."""

ESTABLISHED, SYN_SENT, SYN_RECV, TIME_WAIT, LISTEN = 1, 2, 3, 6, 10
ALL_STATES = 0xFFFFFFFF
WITH_INODE = ALL_STATES & ~(1 << TIME_WAIT | 1 << SYN_RECV)
"""The states in which a program can hold the socket."""
LISTENING = 1 << LISTEN

_WORDS = {
    (INET, TCP): "TCP over IPv4",
    (INET6, TCP): "TCP over IPv6",
    (INET, UDP): "UDP over IPv4",
    (INET6, UDP): "UDP over IPv6",
}
_WITHOUT_INFO = frozenset({SYN_RECV, TIME_WAIT})
_SOCK_DIAG_BY_FAMILY = 20
_INFO = 2  # INET_DIAG_INFO, asked for by bit 1
_NO_COOKIE = b"\xff" * 8
_INET_REQUEST = Struct("=BBBBI36sI8s")  # struct inet_diag_req_v2 with its struct inet_diag_sockid
_INET_ANSWER = Struct("=BBBB36sI8x5I")  # struct inet_diag_msg
_INODE = 68  # its last field
_UNIX_REQUEST = Struct("=BBHIII8s")  # struct unix_diag_req
_UNIX_ANSWER = Struct("=BBBxI8x")  # struct unix_diag_msg
_UNIX_SHOW = 0x1 | 0x4 | 0x8 | 0x10 | 0x40  # UDIAG_SHOW_*: name, peer, pending connections, queues, uid
_NAME, _PEER, _PENDING, _QUEUES, _UID = 0, 2, 3, 4, 7  # UNIX_DIAG_*
_ATTRIBUTE = Struct("=HH")
_U32 = Struct("=I")
_TWO_U32 = Struct("=II")

# struct tcp_info: eight bytes, then u32 fields; the u64 ones from 104 on. Older kernels end earlier, newer ones later.
_TCP_WORDS = Struct("=2xBxB3x16xI4xI8xI4xII8xI28xI16xQQ")
"""Retransmits, backoff; unacked (word 4), lost (6), the times of data sent, data received and an ACK (9, 11, 12), rtt (15), total_retrans
(23), and from byte 120 on the bytes acknowledged and received."""
_NOTSENT, _SND_WND = 144, 228
MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address in IPv6 clothes begins with."""


class Inet(msgspec.Struct, frozen=True, gc=False):
    """One TCP or UDP socket. `ends`: local port, remote port, local and remote address, in network order (2, 2, 16, 16 bytes)."""

    protocol: int
    family: int
    state: int
    timer: int
    retransmits: int
    ends: bytes
    interface: int
    expires_ms: int
    rx_queue: int
    tx_queue: int
    uid: int
    inode: int
    info: bytes
    """struct tcp_info as it came; `tcp` reads it."""

    @property
    def local_port(self) -> int:
        return int.from_bytes(self.ends[:2], "big")

    @property
    def remote_port(self) -> int:
        return int.from_bytes(self.ends[2:4], "big")

    @property
    def local_address(self) -> bytes:
        """Four or sixteen bytes, four also for an IPv4 address in IPv6 clothes (::ffff:127.0.0.1)."""
        return plain(self.ends[4:20] if self.family == INET6 else self.ends[4:8])

    @property
    def remote_address(self) -> bytes:
        return plain(self.ends[20:36] if self.family == INET6 else self.ends[20:24])


class Unix(msgspec.Struct, frozen=True, gc=False):
    """One unix socket. `type` as in socket(2); `peer` is the other end's inode, 0 for one without a holder, None without one.

    `pending`: of a listening socket, the inodes of those who wait to be accepted. `name`: a path, or NUL and an abstract name.
    """

    type: int
    state: int
    inode: int
    name: bytes
    peer: int | None
    pending: tuple[int, ...]
    rx_queue: int
    tx_queue: int
    uid: int


def inet(
    family: int, protocol: int, states: int = ALL_STATES, inodes: Collection[int] | None = None
) -> tuple[tuple[Inet, ...], tuple[Gap, ...]]:
    """The TCP or UDP sockets of one address family: all, or those with these inodes. `states` is a bit mask of TCP states."""
    body = _inet_request(family, protocol, states, bytes(36), 0, bytes(8))
    read = inet_reader(protocol, inodes)
    return netlink.table(netlink.SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, body, read, f"{_WORDS[family, protocol]} sockets")


def unix(states: int = ALL_STATES, inodes: Collection[int] | None = None) -> tuple[tuple[Unix, ...], tuple[Gap, ...]]:
    """The unix sockets: all, or those with these inodes."""

    def read(datagram: bytes, start: int, end: int) -> Unix | None:
        if inodes is not None and end - start >= 16 and _U32.unpack_from(datagram, start + 4)[0] not in inodes:
            return None
        return read_unix(datagram, start, end)

    body = _UNIX_REQUEST.pack(1, 0, 0, states, 0, _UNIX_SHOW, bytes(8))
    return netlink.table(netlink.SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, body, read, "unix sockets")


class Exact(Netlink):
    """Single sockets, each asked for by what it is known by: microseconds, however many there are."""

    def __init__(self) -> None:
        super().__init__(netlink.SOCK_DIAG)
        self._read = inet_reader(TCP)

    def tcp(self, ends: bytes, family: int, interface: int = 0) -> Inet | None:
        """The TCP socket with just these `ends`; where there is none, the one that listens for them; else None.

        IPv4 ends find it in either family (net/ipv4/inet_diag.c, inet_diag_find_one_icsk).
        """
        body = _inet_request(family, TCP, ALL_STATES, ends, interface, _NO_COOKIE)
        found = self._one(body)
        return None if found is None else self._read(*found)

    def unix(self, inode: int) -> Unix | None:
        found = self._one(_UNIX_REQUEST.pack(1, 0, 0, ALL_STATES, inode, _UNIX_SHOW, _NO_COOKIE))
        return None if found is None else read_unix(*found)

    def _one(self, body: bytes) -> tuple[bytes, int, int] | None:
        try:
            return self.ask(_SOCK_DIAG_BY_FAMILY, body)
        except OSError as error:
            if error.errno == ENOENT:
                return None
            raise


def inet_reader(protocol: int, inodes: Collection[int] | None = None) -> netlink.Read[Inet]:
    """What makes a socket of a message, or None of one with another inode. It raises Garbled.

    tcp_info lies at the same place in nearly all messages of a table: that is looked at before the attributes are walked.
    """
    unpack, inode_of, attribute, smallest = (
        _INET_ANSWER.unpack_from,
        _U32.unpack_from,
        _ATTRIBUTE.unpack_from,
        _INET_ANSWER.size,
    )
    offset = 0

    def read(datagram: bytes, start: int, end: int) -> Inet | None:
        nonlocal offset
        if end - start < smallest:
            raise Garbled(f"a socket in {end - start} bytes")
        if inodes is not None and inode_of(datagram, start + _INODE)[0] not in inodes:
            return None
        family, state, timer, retransmits, ends, interface, expires, rx, tx, uid, inode = unpack(datagram, start)
        info = b""
        if protocol == TCP and state not in _WITHOUT_INFO:
            at = start + offset
            length, kind = attribute(datagram, at) if smallest <= offset <= end - start - 4 else (0, 0)
            if kind != _INFO or not 4 < length <= end - at:
                at, length = _info(datagram, start + smallest, end)
                offset = at - start
            info = datagram[at + 4 : at + length]
        return Inet(protocol, family, state, timer, retransmits, ends, interface, expires, rx, tx, uid, inode, info)

    return read


def _info(datagram: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the attribute that holds tcp_info begins, and its length; the end, and 4, where there is none."""
    for kind, at, until in netlink.attributes(datagram, start, end):
        if kind == _INFO:
            return at - 4, until - at + 4
    return end, 4


def read_unix(datagram: bytes, start: int, end: int) -> Unix:
    """The unix socket that this message describes. Raises Garbled."""
    if end - start < _UNIX_ANSWER.size:
        raise Garbled(f"a unix socket in {end - start} bytes")
    _, kind, state, inode = _UNIX_ANSWER.unpack_from(datagram, start)
    name, peer, pending, rx, tx, uid = b"", None, (), 0, 0, 0
    for attribute, at, until in netlink.attributes(datagram, start + _UNIX_ANSWER.size, end):
        size = until - at
        if attribute == _NAME:
            name = datagram[at:until]
        elif attribute == _PEER and size >= 4:
            peer = _U32.unpack_from(datagram, at)[0]
        elif attribute == _PENDING:
            pending = tuple(value for (value,) in _U32.iter_unpack(datagram[at : at + (size & ~3)]))
        elif attribute == _QUEUES and size >= 8:
            rx, tx = _TWO_U32.unpack_from(datagram, at)
        elif attribute == _UID and size >= 4:
            uid = _U32.unpack_from(datagram, at)[0]
    return Unix(kind, state, inode, name, peer, pending, rx, tx, uid)


def tcp(info: bytes) -> Tcp | None:
    """What verdicts rest on in struct tcp_info; None where the kernel gave none (TIME_WAIT, a handshake) or before Linux 4.1."""
    size = len(info)
    if size < _TCP_WORDS.size:
        return None
    retransmits, backoff, unacked, lost, sent, received, ack, rtt, total, acked, got = _TCP_WORDS.unpack_from(info)
    return Tcp(
        unacked,
        lost,
        retransmits,
        total,
        backoff,
        rtt,
        sent,
        received,
        ack,
        acked,
        got,
        _U32.unpack_from(info, _NOTSENT)[0] if size >= _NOTSENT + 4 else 0,
        _U32.unpack_from(info, _SND_WND)[0] if size >= _SND_WND + 4 else None,
    )


def reversed_ends(ends: bytes) -> bytes:
    """The same connection, seen from its other end."""
    return ends[2:4] + ends[:2] + ends[20:36] + ends[4:20]


def plain(address: bytes) -> bytes:
    """An IPv4 address in IPv6 clothes (::ffff:127.0.0.1) without them; any other as it is."""
    return address[12:] if len(address) == 16 and address.startswith(MAPPED) else address


def plain_ends(socket: Inet) -> bytes:
    """The ends of a connection, equal for both address families that may carry it over IPv4."""
    ends = socket.ends
    if socket.family == INET6 and ends[4:16] == MAPPED and ends[20:32] == MAPPED:
        return ends[:4] + ends[16:20] + bytes(12) + ends[32:36] + bytes(12)
    return ends


def _inet_request(family: int, protocol: int, states: int, ends: bytes, interface: int, cookie: bytes) -> bytes:
    extensions = 1 << (_INFO - 1) if protocol == TCP else 0
    return _INET_REQUEST.pack(family, protocol, extensions, 0, states, ends, interface, cookie)
