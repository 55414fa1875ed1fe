"""The sockets of a process, or of the host, each with its other end where that is on this host: its queues, and who holds it.

    fd 3 → socket:[815] → sock_diag → 127.0.0.1:40312 → 127.0.0.1:8000 → the reverse of it → socket:[816] → pid 42

A descriptor names an inode; sock_diag knows the inode's connection; the same four numbers in reverse are the other end, whose
inode leads back through /proc/*/fd to a process. The other end may live in another network namespace (a container behind a
bridge): those of the local processes are searched when the address is of a kind that can be there.
"""

import os
from _socket import inet_ntop
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct as Packing
from typing import NamedTuple

from msgspec.structs import replace

from pellucid.kernel import ends, fds, sockdiag
from pellucid.kernel.ends import Network
from pellucid.kernel.sockdiag import (
    INET,
    INET6,
    LISTEN,
    MAPPED,
    STATES,
    SYN_SENT,
    TCP,
    UDP,
    Inet,
    Unix,
    plain,
    plain_ends,
)
from pellucid.model import Gap, Socket, Tcp, Timer
from pellucid.observe import networks
from pellucid.observe.networks import TABLE_OF, TABLES

_UNIX_KINDS = {1: "unix", 2: "unix-dgram", 5: "unix-seqpacket"}
_TIMERS: tuple[Timer, ...] = ("none", "retransmit", "keepalive", "time-wait", "probe")
_UNCONNECTED = 7  # TCP_CLOSE; ss(8) calls it UNCONN where there is nothing to close
_PROTOCOLS = {(TCP, INET): "tcp", (TCP, INET6): "tcp6", (UDP, INET): "udp", (UDP, INET6): "udp6"}
_NO_PORT = bytes(2)
_PORTS = Packing(">HH").unpack_from
_Fields = tuple[None, str, str, str, str, int, int, int, int, Timer, int, int, Tcp | None]
_NOT_YET_ACCEPTED = frozenset({"ESTABLISHED", "CLOSE_WAIT", "SYN_RECV"})


def sockets(
    pid: int | None, inodes: set[int] | None = None, far: bool = True, *, whole: bool = True
) -> tuple[tuple[Socket, ...], tuple[Gap, ...]]:
    """The sockets of `pid`, one a descriptor, lowest first; all of our network namespace when it is None.

    `inodes` keeps only those. `far` also finds the other ends, the listening sockets and the processes that hold them, which
    takes a pass over the descriptors of all processes. Without `whole`, for a list, the processes at the other ends are told and not how
    these ends see the connection themselves, nor the counters of TCP and who accepted it. Sockets that are neither TCP, UDP nor unix are listed with their kind as
    `proto` ("netlink", "packet", "other") and state "", as are those that are in no table: not connected, or made in another
    namespace. NoSuchProcess; NotPermitted where the descriptors of `pid` may not be listed.
    """
    if pid is None:
        network = ends.look(TABLES, None if inodes is None else frozenset(inodes), far)
        holders, hidden = _holders(network, {}) if far else ({}, ())
        join = _Join(network, {}, holders, whole=whole)
        found = [join.inet(one) for one in network.inet] + [join.unix(one) for one in network.unix]
        unheld = _unheld(join, found, hidden, whole_host=True) if far else ()
        return tuple(sorted(found, key=_order)), (*network.gaps, *unheld)
    held = networks.held(pid, inodes)
    network = networks.look(pid, held, far)
    elsewhere, unsearched = networks.elsewhere(pid, network) if far else ({}, ())
    holders, hidden = _holders(network, elsewhere) if far else ({}, ())
    join = _Join(network, elsewhere, holders, whole=whole)
    known = {one.inode: join.inet(one) for one in network.inet} | {one.inode: join.unix(one) for one in network.unix}
    found = [_of_descriptor(pid, one, known.get(one.inode)) for one in held]
    unheld = _unheld(join, found, hidden, whole_host=False) if far else ()
    return tuple(found), tuple(dict.fromkeys((*network.gaps, *unsearched, *unheld)))


def _of_descriptor(pid: int, held: networks.Held, known: Socket | None) -> Socket:
    """What is known of the socket, as this descriptor of `pid`; its kind alone where no table has it."""
    if known is not None:
        return replace(known, fd=held.fd, pids=known.pids or (pid,))
    name = TABLE_OF.get(held.kind) or held.kind.decode(errors="replace").removeprefix("AF_").lower() or "other"
    return Socket(
        fd=held.fd, proto=name, state="", local="", remote="", rx_queue=0, tx_queue=0, inode=held.inode, pids=(pid,)
    )


def _holders(
    network: Network, elsewhere: Mapping[bytes, Network]
) -> tuple[dict[int, tuple[int, ...]], tuple[Gap, ...]]:
    """Who holds each inode that was seen; gaps: whose descriptors could not be listed."""
    seen = {one.peer or 0 for one in network.unix}
    for each in {id(one): one for one in (network, *elsewhere.values())}.values():
        seen.update(one.inode for one in (*each.inet, *each.far.values(), *each.listeners))
        seen.update(one.inode for one in (*each.unix, *each.far_unix.values()))
    seen.discard(0)
    return fds.socket_holders(seen, "sockets")


def _unheld(join: "_Join", found: Iterable[Socket], hidden: tuple[Gap, ...], whole_host: bool) -> tuple[Gap, ...]:
    """Why some process that holds a socket, or its other end, is not known; nothing when all are."""
    alone = join.without_peer
    unknown = [
        one
        for one in found
        if (whole_host and one.inode and not one.pids) or (alone and (one.inode, one.local, one.remote) in alone)
    ]
    if not unknown or hidden:
        return hidden if unknown else ()
    what = f"who holds {len(unknown)} socket{'s' if len(unknown) > 1 else ''} or their other ends, among them {unknown[0].local}"
    return (Gap(what, "no process that is seen from here: it is in another pid namespace, or has closed it meanwhile"),)


class _OnPort(NamedTuple):
    """The sockets that listen on one port, and those of them that take what comes to an address, as far as that was asked."""

    listeners: list[Inet]
    by_address: dict[tuple[int, bytes], list[Inet]]


class _Join:
    """Raw records to sockets with their other ends. Each record is made into a Socket once: it is one's near and another's far."""

    def __init__(
        self,
        network: Network,
        elsewhere: Mapping[bytes, Network],
        holders: Mapping[int, tuple[int, ...]],
        *,
        whole: bool,
    ) -> None:
        """Without `whole` the other ends are not made, nor is it told what TCP has counted and who accepted."""
        self.network = network
        self.elsewhere = elsewhere
        self.holders = holders
        self.whole = whole
        self.without_peer: set[tuple[int, str, str]] = set()
        """Inode, local and remote address of those whose other end is here, and is held by nobody who is seen."""
        self._made: dict[int, Socket] = {}
        self._known: dict[int, _Fields] = {}
        self._ports: dict[int, dict[bytes, _OnPort]] = {}
        self._own = frozenset(as_told for address in network.own for as_told in _as_told(address))

    def inet(self, near: Inet) -> Socket:
        """A TCP or UDP socket with its other end."""
        if near.ends[2:4] == _NO_PORT:
            return self._alone(near)
        key = plain_ends(near)
        network = self.elsewhere.get(key, self.network) if self.elsewhere else self.network
        far = network.far.get(key)
        listening = self._listening(network, near.family, near.ends[20:36], near.ends[2:4])
        if far is not None and far.state == LISTEN:  # it listens for the connection that is still being made
            listening, far = [far, *(one for one in listening if one.inode != far.inode)], None
        waits: Sequence[Inet] = ()
        if listening and (
            near.state == SYN_SENT if far is None else not far.inode and _state(far) in _NOT_YET_ACCEPTED
        ):
            waits = listening
        peers = self._who(waits) if waits else self.holders.get(far.inode, ()) if far is not None else ()
        accepted = self._accepted(near, bool(listening)) if self.whole and near.protocol == TCP else None
        made = Socket(
            *self._fields(near),
            peers[0] if peers else None,
            peers,
            self._alone(far) if self.whole and far is not None else None,
            self._alone(waits[0]) if waits else None,
            self.holders.get(near.inode, ()),
            accepted,
            (near.family, near.ends[20:36]) in self._own,
        )
        if not peers and (waits[0].inode if waits else far is not None and far.inode):
            self.without_peer.add((made.inode, made.local, made.remote))
        return made

    def unix(self, near: Unix) -> Socket:
        """A unix socket with its other end."""
        far = self.network.far_unix.get(near.inode)
        waits = far is not None and far.state == LISTEN
        peers = self.holders.get(far.inode if far is not None else near.peer or 0, ())
        other = self._alone_unix(far) if far is not None else None
        if other is not None and other.inode and not peers:
            self.without_peer.add((near.inode, _name(near.name), other.local))
        return replace(
            self._alone_unix(near),
            remote=other.local if other is not None else "",
            peer_pid=peers[0] if peers else None,
            peer_pids=peers,
            far=None if waits else other,
            listener=other if waits else None,
        )

    def _listening(self, network: Network, family: int, address: bytes, port: bytes) -> Sequence[Inet]:
        """`ends.listening`, looked up once for each address and port: a server has thousands of connections to the same."""
        ports = self._ports.get(id(network))
        if ports is None:
            ports = self._ports[id(network)] = _by_port(network.listeners)
        on_port = ports.get(port)
        if on_port is None:
            return ()  # the end of a client
        known = on_port.by_address.get((family, address))
        if known is None:
            at = plain(address) if family == INET6 else address[:4]
            known = ends.listening(on_port.listeners, at, int.from_bytes(port, "big"))
            on_port.by_address[family, address] = known
        return known

    def _accepted(self, near: Inet, listened_there: bool) -> bool | None:
        if self._listening(self.network, near.family, near.ends[4:20], near.ends[:2]):
            return True
        return False if listened_there else None

    def _who(self, several: Iterable[Inet]) -> tuple[int, ...]:
        """Who holds them: those of the first one first."""
        return tuple(dict.fromkeys(pid for one in several for pid in self.holders.get(one.inode, ())))

    def _alone(self, one: Inet) -> Socket:
        made = self._made.get(id(one))
        if made is None:
            made = self._made[id(one)] = Socket(*self._fields(one), pids=self.holders.get(one.inode, ()))
        return made

    def _fields(self, one: Inet) -> _Fields:
        """The first fields of a Socket, up to `tcp`: what it is by itself. Positions, since names take as long as all the rest."""
        known = self._known.get(id(one))
        if known is not None:
            return known
        ends, family, protocol = one.ends, one.family, one.protocol
        local_port, remote_port = _PORTS(ends)
        known = (
            None,
            _PROTOCOLS[protocol, family],
            STATES.get(one.state, "") if protocol == TCP else _state(one),
            f"{_spelled(family, ends[4:20])}:{local_port}",
            f"{_spelled(family, ends[20:36])}:{remote_port}" if remote_port else "",
            one.rx_queue,
            one.tx_queue,
            one.inode,
            one.uid,
            _TIMERS[one.timer] if one.timer < len(_TIMERS) else "none",
            one.expires_ms,
            one.retransmits,
            sockdiag.tcp(one.info) if self.whole else None,
        )
        if self.whole:  # else it is asked for once
            self._known[id(one)] = known
        return known

    def _alone_unix(self, one: Unix) -> Socket:
        return Socket(
            fd=None,
            proto=_UNIX_KINDS.get(one.type, "unix"),
            state=_state(one),
            local=_name(one.name),
            remote="",
            rx_queue=one.rx_queue,
            tx_queue=one.tx_queue,
            inode=one.inode,
            uid=one.uid,
            pids=self.holders.get(one.inode, ()),
            loopback=True,
        )


def _state(one: Inet | Unix) -> str:
    if one.state == _UNCONNECTED and not (isinstance(one, Inet) and one.protocol == TCP):
        return "UNCONN"
    return STATES.get(one.state, "")


def _by_port(listeners: Iterable[Inet]) -> dict[bytes, _OnPort]:
    found: dict[bytes, _OnPort] = {}
    for one in listeners:
        found.setdefault(one.ends[:2], _OnPort([], {})).listeners.append(one)
    return found


def _as_told(address: bytes) -> tuple[tuple[int, bytes], ...]:
    """An address of four or sixteen bytes as sockets of each family have it, in sixteen."""
    if len(address) == 4:
        return (INET, address + bytes(12)), (INET6, MAPPED + address)
    return ((INET6, address),)


@lru_cache(1 << 14)
def _spelled(family: int, address: bytes) -> str:
    return f"[{inet_ntop(family, address)}]" if family == INET6 else inet_ntop(family, address[:4])


def _name(name: bytes) -> str:
    """A path, or an abstract name with @ for each of its NULs, as /proc/net/unix writes it (net/unix/af_unix.c, unix_seq_show)."""
    return os.fsdecode(name.replace(b"\0", b"@") if name.startswith(b"\0") else name.rstrip(b"\0"))


def _order(socket: Socket) -> tuple[str, bool, str, str, int]:
    return socket.proto, socket.state != "LISTEN", socket.local, socket.remote, socket.inode
