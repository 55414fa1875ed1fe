"""Both ends of the sockets of one network namespace: `look` for those of a process, `find` for far ends known from elsewhere.

The other end of a TCP connection is the socket with the same four numbers in reverse; that of a unix socket is named by
UNIX_DIAG_PEER. A connection that nobody accepted yet has a far end without an inode: then the listening socket, in whose queue
it is, matters. All asking is done in the namespace of the process that runs this; `kernel.namespaces` runs it in others.
"""

from collections.abc import Collection, Iterable
from typing import TypeVar

import msgspec

from pellucid.kernel import nets, sockdiag
from pellucid.kernel.netlink import Garbled, refusal
from pellucid.kernel.sockdiag import (
    INET,
    INET6,
    LISTEN,
    SYN_SENT,
    TCP,
    UDP,
    Exact,
    Inet,
    Unix,
    plain,
    plain_ends,
    reversed_ends,
)
from pellucid.model import Gap

TABLES = {"tcp": (INET, TCP), "tcp6": (INET6, TCP), "udp": (INET, UDP), "udp6": (INET6, UDP)}
"""What `look` takes as `tables`, beside "unix"."""

T = TypeVar("T")
_NO_PORT = bytes(2)


class Network(msgspec.Struct, frozen=True):
    """What one network namespace tells of the sockets that were asked for."""

    inet: tuple[Inet, ...] = ()
    unix: tuple[Unix, ...] = ()
    far: dict[bytes, Inet] = {}
    """The other ends, by `plain_ends` of the near one; for a connection still being made, the socket that listens for it."""
    far_unix: dict[int, Unix] = {}
    """The other ends, by the inode of the near one; for a connection that nobody accepted, the socket that listens for it."""
    listeners: tuple[Inet, ...] = ()
    own: frozenset[bytes] = frozenset()
    """The remote addresses that belong to this namespace."""
    gaps: tuple[Gap, ...] = ()


def look(tables: Collection[str], inodes: frozenset[int] | None, far: bool) -> Network:
    """The sockets of these `tables`: all, or those with these inodes; with `far` also their other ends and the listeners."""
    gaps: list[Gap] = []
    states = sockdiag.ALL_STATES if inodes is None else sockdiag.WITH_INODE
    inet = [
        one for name in TABLES if name in tables for one in _kept(sockdiag.inet(*TABLES[name], states, inodes), gaps)
    ]
    unix = _kept(sockdiag.unix(sockdiag.ALL_STATES, inodes), gaps) if "unix" in tables else ()
    if not far:
        return Network(inet=tuple(inet), unix=unix, gaps=tuple(gaps))
    tcp = [one for one in inet if one.protocol == TCP]
    udp = [one for one in inet if one.protocol == UDP]
    ends: dict[bytes, Inet] = {}
    own: frozenset[bytes] = frozenset()
    listeners = _listeners(gaps) if tcp else ()
    try:
        ends = _pairs(tcp) if inodes is None else _exact(tcp)
        alone = [one for one in inet if plain_ends(one) not in ends and one.remote_port]
        own = nets.own({one.remote_address for one in alone})
        lost = [one for one in alone if one.protocol == TCP and one.state != SYN_SENT and one.remote_address in own]
        if inodes is not None and lost:  # a socket bound to an interface is not found by its addresses alone
            ends |= _paired(lost, _all(TCP, gaps))
    except (OSError, Garbled) as error:
        gaps.append(_unanswered("the other ends of TCP connections", error))
    if any(one.remote_port for one in udp):
        ends |= _receivers(udp, udp if inodes is None else _all(UDP, gaps))
    return Network(
        inet=tuple(inet),
        unix=unix,
        far=ends,
        far_unix=_far_unix(unix, inodes is None, gaps),
        listeners=listeners,
        own=own.union(_remote_addresses(one for one in tcp if plain_ends(one) in ends)),
        gaps=tuple(gaps),
    )


def find(near: Iterable[Inet]) -> Network:
    """The other ends, in this namespace, of TCP connections seen in another one; empty when it has none of them."""
    gaps: list[Gap] = []
    try:
        far = _exact(near)
    except (OSError, Garbled) as error:
        return Network(gaps=(_unanswered("the other ends of TCP connections", error),))
    return Network(far=far, listeners=_listeners(gaps) if far else (), gaps=tuple(gaps))


def listening(listeners: Iterable[Inet], address: bytes, port: int) -> list[Inet]:
    """The sockets among `listeners` that take what comes to this address and port.

    Several may share them (SO_REUSEPORT): that with the longest queue is first, since the kernel does not tell whose turn it is.
    """
    fitting = [one for one in listeners if one.local_port == port and _takes(one, address)]
    return sorted(fitting, key=lambda one: (any(one.local_address), one.rx_queue), reverse=True)


def _takes(listener: Inet, address: bytes) -> bool:
    bound = listener.local_address
    if any(bound):
        return bound == address
    return listener.family == INET6 or len(address) == 4  # [::] takes IPv4 too, unless it was told not to


def _exact(near: Iterable[Inet]) -> dict[bytes, Inet]:
    """The other ends, each asked for by its addresses. OSError, Garbled."""
    found: dict[bytes, Inet] = {}
    with Exact() as exact:
        for one in near:
            if not one.remote_port:
                continue
            ends = plain_ends(one)
            far = exact.tcp(reversed_ends(one.ends), one.family)
            if far is None:
                continue
            if plain_ends(far) == reversed_ends(ends):
                found[ends] = far
            elif far.state == LISTEN and one.state == SYN_SENT and nets.own([one.remote_address]):
                found[ends] = far  # one that listens on all addresses is found for addresses of other hosts, too
    return found


def _remote_addresses(sockets: Iterable[Inet]) -> set[bytes]:
    """Each looked at once: most sockets of a host lead to few addresses."""
    by_family = {(one.family, one.ends[20:36]) for one in sockets}
    return {plain(address) if family == INET6 else address[:4] for family, address in by_family}


def _pairs(everything: Iterable[Inet]) -> dict[bytes, Inet]:
    """Of connections whose two ends are both here, the other one of each."""
    by_ends = {plain_ends(one): one for one in everything if one.ends[2:4] != _NO_PORT}
    wanted = ((ends, by_ends.get(reversed_ends(ends))) for ends in by_ends)
    return {ends: far for ends, far in wanted if far is not None}


def _paired(near: Iterable[Inet], everything: Iterable[Inet]) -> dict[bytes, Inet]:
    """The other ends that are among `everything`."""
    by_ends = {plain_ends(one): one for one in everything if one.remote_port}
    wanted = ((ends, by_ends.get(reversed_ends(ends))) for ends in map(plain_ends, near))
    return {ends: far for ends, far in wanted if far is not None}


def _receivers(near: Iterable[Inet], everything: tuple[Inet, ...] | list[Inet]) -> dict[bytes, Inet]:
    """The sockets that receive what connected UDP sockets send: connected back to them, or open to everybody on that port."""
    found = _paired([one for one in near if one.remote_port], everything)
    for one in near:
        if one.remote_port and plain_ends(one) not in found:
            open_to_all = (far for far in everything if not far.remote_port)
            for far in listening(open_to_all, one.remote_address, one.remote_port)[:1]:
                found[plain_ends(one)] = far
    return found


def _far_unix(near: tuple[Unix, ...], everything: bool, gaps: list[Gap]) -> dict[int, Unix]:
    """The peers; of a connection that nobody accepted (its peer has no inode yet) the socket in whose queue it is."""
    found: dict[int, Unix] = {}
    by_inode = {one.inode: one for one in near}
    try:
        with Exact() as exact:
            for one in near:
                if one.peer:
                    far = by_inode.get(one.peer) or (None if everything else exact.unix(one.peer))
                    if far is not None:
                        found[one.inode] = far
    except (OSError, Garbled) as error:
        gaps.append(_unanswered("the other ends of unix sockets", error))
    waiting = {one.inode for one in near if one.peer == 0}
    if waiting:
        for listener in _kept(sockdiag.unix(sockdiag.LISTENING), gaps):
            found |= dict.fromkeys(waiting.intersection(listener.pending), listener)
    return found


def _listeners(gaps: list[Gap]) -> tuple[Inet, ...]:
    return tuple(
        one for name in ("tcp", "tcp6") for one in _kept(sockdiag.inet(*TABLES[name], sockdiag.LISTENING), gaps)
    )


def _all(protocol: int, gaps: list[Gap]) -> tuple[Inet, ...]:
    return tuple(one for family in (INET, INET6) for one in _kept(sockdiag.inet(family, protocol), gaps))


def _kept(read: tuple[tuple[T, ...], tuple[Gap, ...]], gaps: list[Gap]) -> tuple[T, ...]:
    """The records; their gaps are added to `gaps`."""
    gaps += (gap for gap in read[1] if gap not in gaps)
    return read[0]


def _unanswered(what: str, error: OSError | Garbled) -> Gap:
    return Gap(what, refusal(error) if isinstance(error, OSError) else f"netlink answered with {error}")
