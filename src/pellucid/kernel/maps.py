"""What is mapped where in a process: /proc/PID/maps (proc_pid_maps(5)), one `Mapping` a line."""

import os

from msgspec import Struct

MAX_BYTES = 1 << 26  # a process with more than some 600,000 mappings: vm.max_map_count is 65,530 unless raised

_ANONYMOUS = " 00:00 0 "  # no device, no inode


class Mapping(Struct, frozen=True):
    """Addresses `start` to `end` (exclusive). `permissions` as in `r-xp`; `device` is major:minor in decimal.

    `path` is "" for anonymous memory, `[heap]`, `[stack]`, `[vdso]`, ..., else the file as named in the process's own root.
    """

    start: int
    end: int
    permissions: str
    offset: int
    device: str
    inode: int
    path: str
    deleted: bool

    @property
    def of_file(self) -> bool:
        return self.inode != 0


def read(pid: int, command: str = "why", *, files: bool = False) -> tuple[Mapping, ...]:
    """All mappings, lowest address first; `files`: those of a file, without the stacks of a thousand threads.

    Raises NoSuchProcess or NotPermitted.
    """
    try:
        text = _whole(f"/proc/{pid}/maps")
    except OSError as error:
        from pellucid.kernel.access import refused  # its checks are needed only when the kernel refused

        raise refused(pid, f"read the mappings of pid {pid} (/proc/{pid}/maps)", error, command) from error
    devices: dict[str, str] = {}
    lines = text.split("\n")
    return tuple([mapping(line, devices) for line in lines if line and not (files and _ANONYMOUS in line)])


def mapped(pid: int, ending: str) -> bool:
    """A file whose path ends so is mapped. False also where the mappings may not be read."""
    try:
        return any(line.endswith(ending) for line in _whole(f"/proc/{pid}/maps").split("\n"))
    except OSError:
        return False


def _whole(path: str) -> str:
    """The file in large reads: between two of them the process may map or unmap, within one it is consistent by line."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        total = 0
        while total < MAX_BYTES and (part := os.read(fd, 1 << 20)):
            parts.append(part)
            total += len(part)
        whole, _, _ = b"".join(parts).rpartition(b"\n")
        return whole.decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def mapping(line: str, devices: dict[str, str]) -> Mapping:
    """One line. `devices` keeps the spelling of those that were seen: most lines have one of a few."""
    addresses, permissions, offset, device, inode, *named = line.split(None, 5)
    start, _, end = addresses.partition("-")
    decimal = devices.get(device)
    if decimal is None:
        major, _, minor = device.partition(":")
        decimal = devices[device] = f"{int(major, 16)}:{int(minor, 16)}"
    path = named[0] if named else ""
    deleted = path.endswith(" (deleted)")
    if deleted or "\\" in path:
        path = _unescaped(path.removesuffix(" (deleted)"))
    return Mapping(int(start, 16), int(end, 16), permissions, int(offset, 16), decimal, int(inode), path, deleted)


def _unescaped(path: str) -> str:
    r"""A newline in a name is written as \012, and nothing else is escaped (fs/proc/task_mmu.c, show_map_vma)."""
    return path.replace("\\012", "\n")
