"""Where the sockets of a process are asked for: its own network namespace, and those of others that may have the far ends."""

import os
from collections.abc import Callable
from functools import partial

import msgspec

from pellucid.kernel import ends, namespaces, nets, procfs
from pellucid.kernel.ends import Network
from pellucid.kernel.sockdiag import TCP, plain_ends
from pellucid.model import Gap

MAX_NETWORKS = 32
"""Network namespaces that are searched for other ends, beside that of the process."""

TABLES = (*ends.TABLES, "unix")
TABLE_OF = {b"TCP": "tcp", b"TCPv6": "tcp6", b"UDP": "udp", b"UDPv6": "udp6", b"UNIX": "unix", b"UNIX-STREAM": "unix"}
"""system.sockprotoname of a socket (net/socket.c, sockfs_xattr_get; the names are those of /proc/net/protocols)."""


class Held(msgspec.Struct, frozen=True):
    """A descriptor that is a socket; `kind` is its system.sockprotoname, b"" where the kernel does not tell."""

    fd: int
    inode: int
    kind: bytes


def held(pid: int, inodes: set[int] | None) -> list[Held]:
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


def _one_held(path: str, fd: int, directory: int, inodes: set[int] | None) -> Held | None:
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
    return Held(fd, inode, kind)


def look(pid: int, held: list[Held], far: bool) -> Network:
    """The tables that can have these descriptors, in the network of `pid`. A Gap stands in it where that can't be entered."""
    tables = [TABLE_OF.get(one.kind) for one in held if not one.kind or one.kind in TABLE_OF]
    asked = frozenset(TABLES if None in tables else filter(None, tables))
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


def elsewhere(pid: int, network: Network) -> tuple[dict[bytes, Network], tuple[Gap, ...]]:
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
