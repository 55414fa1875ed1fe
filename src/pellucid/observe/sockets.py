"""The sockets of a process, or of the host, each with its other end where that is on this host: its queues, and who holds it.

    fd 3 → socket:[815] → sock_diag → 127.0.0.1:40312 → 127.0.0.1:8000 → the reverse of it → socket:[816] → pid 42

A descriptor names an inode; sock_diag knows the inode's connection; the same four numbers in reverse are the other end, whose
inode leads back through /proc/*/fd to a process. The other end may live in another network namespace (a container behind a
bridge): those of the local processes are searched when the address is of a kind that can be there.
"""

import os
from _socket import inet_ntop
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from pellucid.kernel import ends, fds, namespaces, nets, procfs, sockdiag
from pellucid.kernel.ends import Network
from pellucid.kernel.sockdiag import INET6, LISTEN, SYN_SENT, TCP, Inet, Unix, plain_ends
from pellucid.model import Gap, Socket, Timer

MAX_NETWORKS = 32
"""Network namespaces that are searched for other ends, beside that of the process."""

_TABLES = (*ends.TABLES, "unix")
_TABLE_OF = {b"TCP": "tcp", b"TCPv6": "tcp6", b"UDP": "udp", b"UDPv6": "udp6", b"UNIX": "unix", b"UNIX-STREAM": "unix"}
"""system.sockprotoname of a socket (net/socket.c, sockfs_xattr_get; the names are those of /proc/net/protocols)."""
_UNIX_KINDS = {1: "unix", 2: "unix-dgram", 5: "unix-seqpacket"}
_TIMERS: tuple[Timer, ...] = ("none", "retransmit", "keepalive", "time-wait", "probe")
_UNCONNECTED = 7  # TCP_CLOSE; ss(8) calls it UNCONN where there is nothing to close
_NOT_YET_ACCEPTED = frozenset({"ESTABLISHED", "CLOSE_WAIT", "SYN_RECV"})
_Holders = Mapping[int, tuple[int, ...]]


class _Held(msgspec.Struct, frozen=True):
    """A descriptor that is a socket; `kind` is its system.sockprotoname, b"" where the kernel does not tell."""

    fd: int
    inode: int
    kind: bytes


class _Seen(msgspec.Struct, frozen=True):
    """All that was read: the target's network, the other ends found in others (by the near end), and who holds which inode."""

    network: Network
    elsewhere: dict[bytes, Network]
    holders: _Holders

    def around(self, near: Inet) -> Network:
        """The network in which the other end of `near` is."""
        return self.elsewhere.get(plain_ends(near), self.network)


def sockets(
    pid: int | None, inodes: set[int] | None = None, far: bool = True
) -> tuple[tuple[Socket, ...], tuple[Gap, ...]]:
    """The sockets of `pid`, one a descriptor, lowest first; all of our network namespace when it is None.

    `inodes` keeps only those. `far` also finds the other ends, the listening sockets and the processes that hold them, which
    takes a pass over the descriptors of all processes. Sockets that are neither TCP, UDP nor unix are listed with their kind as
    `proto` ("netlink", "packet", "other") and state "", as are those that are in no table: not connected, or made in another
    namespace. NoSuchProcess; NotPermitted where the descriptors of `pid` may not be listed.
    """
    if pid is None:
        network = ends.look(_TABLES, None if inodes is None else frozenset(inodes), far)
        seen, gaps = _joined(network, {}, far)
        found = [_inet(one, seen) for one in network.inet] + [_unix(one, seen) for one in network.unix]
        hidden = gaps if any(_without_holder(one, whole_host=True) for one in found) else ()
        return tuple(sorted(found, key=_order)), (*network.gaps, *hidden)
    held = _held(pid, inodes)
    network = _look(pid, held, far)
    elsewhere, unsearched = _elsewhere(pid, network) if far else ({}, ())
    seen, gaps = _joined(network, elsewhere, far)
    by_inode = {one.inode: _inet(one, seen) for one in network.inet} | {
        one.inode: _unix(one, seen) for one in network.unix
    }
    mine = () if far else (pid,)
    found = [
        msgspec.structs.replace(known, fd=one.fd, pids=known.pids or mine)
        if (known := by_inode.get(one.inode)) is not None
        else Socket(
            fd=one.fd,
            proto=_proto(one.kind),
            state="",
            local="",
            remote="",
            rx_queue=0,
            tx_queue=0,
            inode=one.inode,
            pids=(pid,),
        )
        for one in held
    ]
    hidden = gaps if any(_without_holder(one, whole_host=False) for one in found) else ()
    return tuple(found), tuple(dict.fromkeys((*network.gaps, *unsearched, *hidden)))


def _held(pid: int, inodes: set[int] | None) -> list[_Held]:
    """The descriptors of `pid` that are sockets, lowest first. NoSuchProcess, NotPermitted."""
    path = f"/proc/{pid}/fd"
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = [
                _one_held(path, fd, directory, inodes) for fd in sorted(int(name) for name in os.listdir(directory))
            ]
        finally:
            os.close(directory)
    except OSError as error:
        raise procfs.failed(pid, f"list the descriptors of pid {pid} ({path})", error, "sockets") from error
    return [one for one in found if one is not None]


def _one_held(path: str, fd: int, directory: int, inodes: set[int] | None) -> _Held | None:
    try:
        target = os.readlink(str(fd), dir_fd=directory)
    except FileNotFoundError:  # closed meanwhile: it is no descriptor of the process any more
        return None
    if not target.startswith("socket:["):
        return None
    inode = int(target[8:-1])
    if inodes is not None and inode not in inodes:
        return None
    try:
        kind = os.getxattr(f"{path}/{fd}", "system.sockprotoname").rstrip(b"\0")
    except OSError:  # closed meanwhile, or the kernel does not tell: every table is looked through
        kind = b""
    return _Held(fd, inode, kind)


def _look(pid: int, held: list[_Held], far: bool) -> Network:
    """The tables that can have these descriptors, in the network of `pid`. A Gap stands in it where that can't be entered."""
    tables = [_TABLE_OF.get(one.kind) for one in held if not one.kind or one.kind in _TABLE_OF]
    asked = frozenset(_TABLES if None in tables else filter(None, tables))
    wanted = frozenset(one.inode for one in held)
    if not asked:
        return Network()
    if namespaces.same(pid, "net") is not False:  # unreadable: of another user, most likely here
        return ends.look(asked, wanted, far)
    return _asked_in(pid, partial(ends.look, asked, wanted, far))


def _asked_in(pid: int, ask: Callable[[], Network]) -> Network:
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Network).decode
    answer = namespaces.in_network_of(pid, lambda: encode(ask()))
    return Network(gaps=(answer,)) if isinstance(answer, Gap) else decode(answer)


def _elsewhere(pid: int, network: Network) -> tuple[dict[bytes, Network], tuple[Gap, ...]]:
    """The other ends that are in another network namespace of this host, by the near end."""
    alone = [
        one
        for one in network.inet
        if one.protocol == TCP
        and one.remote_port
        and plain_ends(one) not in network.far
        and one.remote_address not in network.own
    ]
    near = tuple(one for one in alone if nets.private(one.remote_address))
    if not alone or (not near and namespaces.same(pid, "net") is not False):
        return {}, ()
    found: dict[bytes, Network] = {}
    others, gaps = _networks(pid)
    for other in others:
        if other == os.getpid():  # any address may be one of this host's own, and asking here costs little
            there = ends.find(alone)
        elif near:
            there = _asked_in(other, partial(ends.find, near))
        else:
            continue
        gaps += there.gaps
        found |= dict.fromkeys(there.far, there)
        near = tuple(one for one in near if plain_ends(one) not in found)
    return found, tuple(gaps) if near else ()


def _networks(pid: int) -> tuple[list[int], list[Gap]]:
    """One process of each other network namespace, ours first, at most MAX_NETWORKS; and what could not be searched."""
    searched = _network(pid)
    found: dict[str, int] = {}
    hidden = 0
    for other in (os.getpid(), *procfs.pids()):
        name = _network(other)
        if name is None:
            hidden += 1
        elif name and name != searched:
            found.setdefault(name, other)
    gaps = []
    if hidden:
        gaps.append(
            Gap(
                f"the network namespaces of {hidden} processes, where the other end may be",
                "they belong to other users",
                f"sudo pellucid sockets {pid}",
            )
        )
    if len(found) > MAX_NETWORKS:
        gaps.append(
            Gap(
                f"{len(found) - MAX_NETWORKS} of {len(found)} network namespaces",
                f"at most {MAX_NETWORKS} are searched",
            )
        )
    return list(found.values())[:MAX_NETWORKS], gaps


def _network(pid: int) -> str | None:
    """What tells its network namespace from others; None where it may not be read, "" for a process that has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError as error:
        return "" if procfs.gone(error) else None


def _joined(network: Network, elsewhere: dict[bytes, Network], far: bool) -> tuple[_Seen, tuple[Gap, ...]]:
    """With the holders of all sockets, when `far` is asked for; gaps: whose descriptors could not be listed."""
    if not far:
        return _Seen(network, elsewhere, {}), ()
    networks = {id(one): one for one in (network, *elsewhere.values())}.values()
    inodes = {one.peer or 0 for one in network.unix}
    for each in networks:
        inodes.update(one.inode for one in (*each.inet, *each.far.values(), *each.listeners))
        inodes.update(one.inode for one in (*each.unix, *each.far_unix.values()))
    inodes.discard(0)
    held, gaps = fds.holders_and_gaps({f"socket:[{inode}]" for inode in inodes}, "sockets")
    holders = {int(target[8:-1]): tuple(dict.fromkeys(pid for pid, _ in by)) for target, by in held.items() if by}
    return _Seen(network, elsewhere, holders), gaps


def _inet(near: Inet, seen: _Seen) -> Socket:
    """A TCP or UDP socket with its other end."""
    network = seen.around(near)
    far = network.far.get(plain_ends(near))
    port, address = near.remote_port, near.remote_address
    listening = ends.listening(network.listeners, address, port) if port else []
    if far is not None and far.state == LISTEN:  # it listens for the connection that is still being made
        listening, far = [far, *(one for one in listening if one.inode != far.inode)], None
    waits = listening if far is None or (not far.inode and _state(far) in _NOT_YET_ACCEPTED) else []
    if near.state != SYN_SENT and far is None:
        waits = []
    peers = _holders(seen, (one.inode for one in (waits or ([far] if far else []))))
    return msgspec.structs.replace(
        _one_inet(near, seen),
        peer_pid=peers[0] if peers else None,
        peer_pids=peers,
        far=_one_inet(far, seen) if far is not None else None,
        listener=_one_inet(waits[0], seen) if waits else None,
        accepted=_accepted(near, bool(listening), seen) if port and near.protocol == TCP else None,
        loopback=bool(port) and address in seen.network.own,
    )


def _accepted(near: Inet, listened_there: bool, seen: _Seen) -> bool | None:
    if ends.listening(seen.network.listeners, near.local_address, near.local_port):
        return True
    return False if listened_there else None


def _one_inet(one: Inet, seen: _Seen) -> Socket:
    return Socket(
        fd=None,
        proto=("tcp" if one.protocol == TCP else "udp") + ("6" if one.family == INET6 else ""),
        state=_state(one),
        local=_end(one.family, one.ends[4:20], one.local_port),
        remote=_end(one.family, one.ends[20:36], one.remote_port) if one.remote_port else "",
        rx_queue=one.rx_queue,
        tx_queue=one.tx_queue,
        inode=one.inode,
        uid=one.uid,
        timer=_TIMERS[one.timer] if one.timer < len(_TIMERS) else "none",
        timer_ms=one.expires_ms,
        retransmits=one.retransmits,
        tcp=sockdiag.tcp(one.info),
        pids=seen.holders.get(one.inode, ()),
    )


def _unix(near: Unix, seen: _Seen) -> Socket:
    """A unix socket with its other end."""
    far = seen.network.far_unix.get(near.inode)
    waits = far is not None and far.state == LISTEN
    peers = _holders(seen, [far.inode] if far is not None else [near.peer or 0])
    return msgspec.structs.replace(
        _one_unix(near, seen),
        remote=_name(far.name) if far is not None else "",
        peer_pid=peers[0] if peers else None,
        peer_pids=peers,
        far=_one_unix(far, seen) if far is not None and not waits else None,
        listener=_one_unix(far, seen) if far is not None and waits else None,
    )


def _without_holder(socket: Socket, whole_host: bool) -> bool:
    """Some process holds this socket, or its other end, and is not among those whose descriptors could be listed."""
    other = socket.listener or socket.far
    return (other is not None and other.inode != 0 and not socket.peer_pids) or (
        whole_host and socket.inode != 0 and not socket.pids
    )


def _one_unix(one: Unix, seen: _Seen) -> Socket:
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
        pids=seen.holders.get(one.inode, ()),
        loopback=True,
    )


def _holders(seen: _Seen, inodes: Iterable[int]) -> tuple[int, ...]:
    """Who holds them: those of the first one first."""
    return tuple(dict.fromkeys(pid for inode in inodes for pid in seen.holders.get(inode, ())))


def _state(one: Inet | Unix) -> str:
    if one.state == _UNCONNECTED and not (isinstance(one, Inet) and one.protocol == TCP):
        return "UNCONN"
    return sockdiag.STATES.get(one.state, "")


def _end(family: int, address: bytes, port: int) -> str:
    return f"[{inet_ntop(family, address)}]:{port}" if family == INET6 else f"{inet_ntop(family, address[:4])}:{port}"


def _name(name: bytes) -> str:
    """A path, or an abstract name with @ for each of its NULs, as /proc/net/unix writes it (net/unix/af_unix.c, unix_seq_show)."""
    return os.fsdecode(name.replace(b"\0", b"@") if name.startswith(b"\0") else name.rstrip(b"\0"))


def _proto(kind: bytes) -> str:
    """What the kernel calls a kind of socket that no table here has: `netlink`, `packet`, `vsock`; `other` where it does not tell."""
    name = _TABLE_OF.get(kind) or kind.decode(errors="replace").removeprefix("AF_").lower()
    return name or "other"


def _order(socket: Socket) -> tuple[str, bool, str, str, int]:
    return socket.proto, socket.state != "LISTEN", socket.local, socket.remote, socket.inode
