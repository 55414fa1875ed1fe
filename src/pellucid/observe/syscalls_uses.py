"""What a program reads, writes, creates, renames, deletes and connects to, with sizes.

Bytes are counted in the kernel by descriptor; which path or address a descriptor stands for is followed here, from the calls
that make, copy and close descriptors. When a number is given out again, what went through it before comes with that very
record, so no byte is put to the wrong file. Not seen: what is written to memory that a file is mapped into, what io_uring
moves, and descriptors that came with a message (SCM_RIGHTS), which are named by /proc when their bytes are told.
"""

import os
import time
from typing import NamedTuple

from pellucid.kernel import decode, syscalls
from pellucid.kernel.decode_flags import words
from pellucid.kernel.traced import Called, Forked, Moved
from pellucid.model.errors import LookError
from pellucid.model.syscalls import FileUse, NetUse
from pellucid.observe.syscalls_calls import Calls
from pellucid.observe.syscalls_places import place
from pellucid.observe.syscalls_things import Connection, File, Opened, Pipe, Socket, Table, change, is_new

_O_CREAT, _O_EXCL, _O_TRUNC, _O_APPEND, _O_DIRECTORY = os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY
_O_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY
_DUPLICATES = (0, 1030)  # F_DUPFD, F_DUPFD_CLOEXEC
_MAP_SHARED, _PROT_WRITE = 1, 2
_AT_REMOVEDIR = 0x200
_INTERNET = {2: "", 10: "", 1: "unix", 16: "netlink"}
MAX_USES = 1 << 17


class Key(NamedTuple):
    role: str
    protocol: str
    address: str


class Uses:
    """Collects from the records of one look."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        calls.followed = self._path_of
        self._tables: dict[int, Table] = {}
        self._files: dict[str, File] = {}
        self._connections: dict[Key, Connection] = {}
        self._listening: list[tuple[Socket, Called]] = []
        self._handlers = {
            **dict.fromkeys(("open", "openat", "creat", "openat2"), self._open),
            **dict.fromkeys(("dup", "fcntl"), self._duplicate),
            **dict.fromkeys(("dup2", "dup3"), self._duplicate),
            **dict.fromkeys(("rename", "renameat", "renameat2"), self._rename),
            **dict.fromkeys(("unlink", "unlinkat", "rmdir"), self._unlink),
            **dict.fromkeys(("mkdir", "mkdirat", "mknod", "mknodat"), self._make),
            **dict.fromkeys(("link", "linkat", "symlink", "symlinkat"), self._link),
            **dict.fromkeys(
                ("truncate", "chmod", "fchmodat", "fchownat", "lchown", "chown", "utimensat"), self._change
            ),
            **dict.fromkeys(("execve", "execveat"), self._execute),
            **dict.fromkeys(("accept", "accept4"), self._accept),
            "close": self._close,
            **dict.fromkeys(("pipe", "pipe2", "socketpair"), self._pipe),
            "memfd_create": self._memory_file,
            "mmap": self._map,
            "socket": self._socket,
            "connect": self._connect,
            "bind": self._bind,
            "listen": self._listen,
            "getsockname": self._own_address,
            "sendto": self._send,
        }

    def begin(self, pid: int) -> None:
        """The descriptors that it has already."""
        table = self._tables[pid] = {}
        try:
            numbers = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            return  # it has ended, or may not be looked at: then its descriptors are named when they are used
        for fd in numbers:
            target = self._calls.descriptor(pid, fd)
            if target:
                table[fd] = self._existing(target)

    def _existing(self, target: str) -> Opened:
        if target.startswith("socket:"):
            return Socket("")
        if target.startswith(("pipe:", "anon_inode:")):
            return Pipe()
        return self._file(target.removesuffix(" (deleted)"))

    def forked(self, told: Forked) -> None:
        self._tables[told.child] = dict(self._tables.get(told.pid, {}))

    def called(self, call: Called) -> None:
        """One record, in the order in which the calls ended."""
        name = syscalls.name(call.number)
        if call.moved is not None:
            self._told(call, name)
        if call.in_background:
            self._not_connected(call)
        if call.failed and name != "connect":
            return
        handler = self._handlers.get(name)
        if handler is not None:
            handler(call)

    def _told(self, call: Called, name: str) -> None:
        """What went through a descriptor until this call closed it, or gave its number away."""
        assert call.moved is not None
        fd = call.arguments[0] if name == "close" else call.arguments[1] if name in ("dup2", "dup3") else call.result
        self._credit(call.pid, decode.c_int(fd), call.moved)

    def _credit(self, pid: int, fd: int, moved: Moved) -> None:
        table = self._tables.setdefault(pid, {})
        opened = table.get(fd)
        if opened is None:
            target = self._calls.descriptor(pid, fd) or f"<descriptor {fd} of pid {pid}>"
            opened = table[fd] = self._existing(target)
        if isinstance(opened, Pipe):
            return
        if isinstance(opened, File):
            owner: File | Connection = opened
        else:
            if opened.connection is None:
                opened.connection = self._connection("moves", opened.protocol or "socket", opened.local or "?")
            owner = opened.connection
        owner.moved = owner.moved.plus(moved)
        owner.pids.add(pid)

    def rest(self, moved: dict[tuple[int, int], Moved]) -> None:
        """At the end: what went through descriptors that are still open, and which addresses were listened on."""
        for (pid, fd), each in moved.items():
            self._credit(pid, fd, each)
        for socket, call in self._listening:
            self._connection("listens", socket.protocol or "socket", socket.local or "?", call).count += 1

    def _file(self, path: str, kind: str = "file", call: Called | None = None) -> File:
        found = self._files.get(path)
        if found is None:
            if len(self._files) >= MAX_USES:
                return File(path, kind)  # counted nowhere; `files` tells that there were too many
            found = self._files[path] = File(path, kind)
        if call is not None:
            found.pids.add(call.pid)
            found.stack = found.stack or call.stack
        return found

    def _connection(self, role: str, protocol: str, address: str, call: Called | None = None) -> Connection:
        key = Key(role, protocol, address)
        found = self._connections.get(key)
        if found is None:
            found = self._connections[key] = Connection(role, protocol, address)
        if call is not None:
            found.pids.add(call.pid)
            found.stack = found.stack or call.stack
        return found

    def _set(self, call: Called, opened: Opened) -> None:
        self._tables.setdefault(call.pid, {})[call.result] = opened

    def _path_of(self, pid: int, fd: int) -> str:
        """The path that it stands for; "" for none, or where it was there before the look and could not be asked."""
        opened = self._tables.get(pid, {}).get(fd)
        return opened.path if isinstance(opened, File) and opened.path.startswith("/") else ""

    def _path(self, call: Called, *, second: bool = False) -> str:
        return self._calls.path(call, second=second) or "?"

    def _open(self, call: Called) -> None:
        name = syscalls.name(call.number)
        path = self._path(call)
        flags = call.arguments[2 if name == "openat" else 1] if name in ("open", "openat") else 0
        if name == "creat":
            flags = _O_CREAT | _O_TRUNC | os.O_WRONLY
        if name == "openat2":  # its flags lie in memory; what it opened is there to be asked
            path = self._calls.descriptor(call.pid, call.result) or path
        if flags & _O_TMPFILE:
            path = f"{path}/<nameless>"
        file = self._file(path, "directory" if flags & _O_DIRECTORY and not flags & _O_TMPFILE else "file", call)
        file.opens += 1
        if flags & _O_CREAT and file.opens == 1 and not file.truncated and file.created is False:
            file.opened_at = time.time() - (time.monotonic_ns() - call.ended_ns + call.duration_ns) / 1e9
            file.created = True if flags & _O_EXCL else is_new(f"/proc/{call.pid}/root{path}", path, file.opened_at)
        if file.deleted and flags & _O_CREAT:
            file.deleted = False
        file.truncated |= bool(flags & _O_TRUNC)
        file.appended |= bool(flags & _O_APPEND)
        if flags & (os.O_WRONLY | os.O_RDWR):
            file.stack = call.stack or file.stack
        self._set(call, file)

    def _close(self, call: Called) -> None:
        self._tables.get(call.pid, {}).pop(decode.c_int(call.arguments[0]), None)

    def _duplicate(self, call: Called) -> None:
        if syscalls.name(call.number) == "fcntl" and decode.c_int(call.arguments[1]) not in _DUPLICATES:
            return
        table = self._tables.setdefault(call.pid, {})
        opened = table.get(decode.c_int(call.arguments[0]))
        if opened is not None:
            table[call.result] = opened
        else:
            table.pop(call.result, None)

    def _pipe(self, call: Called) -> None:
        """Its two descriptors were written to memory, which was copied as if it were an address."""
        if call.address is not None:
            table = self._tables.setdefault(call.pid, {})
            for at in (0, 4):
                table[int.from_bytes(call.address[at : at + 4], "little")] = Pipe()

    def _memory_file(self, call: Called) -> None:
        self._set(call, self._file(self._calls.descriptor(call.pid, call.result) or "/memfd:?", "memory", call))

    def _map(self, call: Called) -> None:
        _, length, protection, flags, fd, _ = call.arguments
        opened = self._tables.get(call.pid, {}).get(decode.c_int(fd))
        if isinstance(opened, File):
            opened.mapped = max(opened.mapped, length)
            opened.changed |= bool(protection & _PROT_WRITE and flags & _MAP_SHARED)

    def _rename(self, call: Called) -> None:
        """What was done under the old name was done to what now has the new one; so was all below a directory."""
        old, new = self._path(call), self._path(call, second=True)
        for path in [path for path in self._files if path == old or path.startswith(old + "/")]:
            file = self._files.pop(path)
            file.path = new + path[len(old) :]
            self._files[file.path] = file
        file = self._file(new, call=call)
        file.renamed_from = file.renamed_from or old

    def _unlink(self, call: Called) -> None:
        kind = "directory" if syscalls.name(call.number) == "rmdir" else "file"
        if syscalls.name(call.number) == "unlinkat" and call.arguments[2] & _AT_REMOVEDIR:
            kind = "directory"
        self._file(self._path(call), kind, call).deleted = True

    def _make(self, call: Called) -> None:
        kind = "directory" if syscalls.name(call.number).startswith("mkdir") else "special"
        file = self._file(self._path(call), kind, call)
        file.created, file.deleted = True, False

    def _link(self, call: Called) -> None:
        file = self._file(self._path(call, second=True), "link", call)
        file.created, file.deleted = True, False

    def _change(self, call: Called) -> None:
        if call.path is not None:
            self._file(self._path(call), call=call).changed = True

    def _execute(self, call: Called) -> None:
        self._file(self._path(call), call=call).executed += 1

    def _socket(self, call: Called) -> None:
        domain, kind = call.arguments[0] & 0xFFFFFFFF, call.arguments[1] & 0xF
        protocol = _INTERNET.get(domain)
        if protocol is None:
            protocol = (words("domain", domain) or "").removeprefix("AF_").lower()
        elif not protocol:
            protocol = {1: "tcp", 2: "udp"}.get(kind, "raw")
        self._set(call, Socket(protocol))

    def _socket_of(self, call: Called) -> Socket:
        table = self._tables.setdefault(call.pid, {})
        opened = table.get(decode.c_int(call.arguments[0]))
        if not isinstance(opened, Socket):
            opened = table[decode.c_int(call.arguments[0])] = Socket("")
        return opened

    def _connect(self, call: Called) -> None:
        """A connection in the background is one too, until the program asks how it ended."""
        address = decode.socket_address(call)
        if address is None:
            return
        socket = self._socket_of(call)
        socket.connection = found = self._connection("connects", socket.protocol or "socket", address, call)
        error = decode.error_name(call.result)
        if error and error != "EINPROGRESS":
            found.errors[error] = found.errors.get(error, 0) + 1
        else:
            found.count += 1

    def _not_connected(self, call: Called) -> None:
        """Of a connect in the background."""
        found = self._socket_of(call).connection
        if found is not None and found.count:
            error = decode.error_name(call.result)
            found.count -= 1
            found.errors[error] = found.errors.get(error, 0) + 1

    def _bind(self, call: Called) -> None:
        self._socket_of(call).local = decode.socket_address(call) or ""

    def _listen(self, call: Called) -> None:
        """Its address is told at the end: a port that the kernel chose shows only when somebody asks for it."""
        socket = self._socket_of(call)
        if not socket.local or socket.local.endswith(":0"):
            target = self._calls.descriptor(call.pid, decode.c_int(call.arguments[0]))
            socket.local = _local(call.pid, target) or socket.local
        self._listening.append((socket, call))

    def _own_address(self, call: Called) -> None:
        self._socket_of(call).local = decode.socket_address(call) or ""

    def _accept(self, call: Called) -> None:
        listener = self._socket_of(call)
        accepted = Socket(listener.protocol)
        address = decode.socket_address(call) or "?"
        host = address.rpartition(":")[0] if listener.protocol == "tcp" else address  # its port is of no interest
        accepted.connection = self._connection("accepts", listener.protocol or "socket", host or "?", call)
        accepted.connection.count += 1
        self._set(call, accepted)

    def _send(self, call: Called) -> None:
        address = decode.socket_address(call)
        if address is None:
            return
        socket = self._socket_of(call)
        socket.connection = self._connection("sends", socket.protocol or "socket", address, call)
        socket.connection.count += 1

    def files(self) -> tuple[FileUse, ...]:
        """Those that were written, made, renamed or deleted first, the largest first."""
        found = [self._use(file) for file in self._files.values()]
        return tuple(sorted(found, key=lambda use: (not use.change, -use.written_bytes, -use.read_bytes, use.path)))

    def _use(self, file: File) -> FileUse:
        if file.created is None and not file.deleted:  # it has another name by now, or its process had ended
            file.created = is_new(file.path, file.path, file.opened_at)
        moved = file.moved
        return FileUse(
            path=file.path,
            place=place(file.path),
            change=change(file),
            opens=file.opens,
            reads=moved.reads,
            read_bytes=moved.read_bytes,
            writes=moved.writes,
            written_bytes=moved.written_bytes,
            mapped_bytes=file.mapped,
            renamed_from=file.renamed_from,
            executed=file.executed,
            kind=file.kind,
            line=self._calls.line(file.stack),
            pids=tuple(sorted(file.pids)),
        )

    def network(self) -> tuple[NetUse, ...]:
        """Those with the most bytes first."""
        found = [
            NetUse(
                role=each.role,
                protocol=each.protocol,
                address=each.address,
                count=each.count,
                errors=each.errors,
                sent_bytes=each.moved.written_bytes,
                received_bytes=each.moved.read_bytes,
                line=self._calls.line(each.stack),
                pids=tuple(sorted(each.pids)),
            )
            for each in self._connections.values()
        ]
        return tuple(sorted(found, key=lambda use: (-use.sent_bytes - use.received_bytes, use.address)))


def _local(pid: int, target: str) -> str | None:
    """The address of the socket `socket:[123]` of this process, as the kernel tells it now."""
    from pellucid.observe.sockets import sockets

    inode = target.removeprefix("socket:[").removesuffix("]")
    if not inode.isdigit():
        return None
    try:
        found, _ = sockets(pid, inodes={int(inode)}, far=False)
    except LookError:
        return None  # it has ended
    return next((socket.local for socket in found if socket.inode == int(inode)), None)
