"""A file system that it writes to has no room left: write(2) fails there with ENOSPC, or nothing new can be created (no inodes).

Only file systems on which it has a file open for writing are looked at. A little room is no finding: programs work with it.
"""

from collections.abc import Iterator

from pellucid.diagnose.sizes import size
from pellucid.model import Disk, Finding, Ref, Snapshot

_BLOCK = 4096


def writes_to_a_full_disk(seen: Snapshot) -> Iterator[Finding]:
    pid = seen.process.pid
    for disk in seen.resources.disks:
        full = disk.free_bytes < _BLOCK
        no_inodes = disk.inodes > 0 and disk.free_inodes == 0
        if not full and not no_inodes:
            continue
        what = f"the file system of {disk.path} ({disk.filesystem}, {size(disk.total_bytes)})"
        yield Finding(
            rule="disk-full",
            severity="critical",
            title=f"{what} is full" if full else f"{what} has no inode left",
            sentence=f"pid {pid} has {disk.path} open for writing, and {what} has "
            + (
                "no free block for this user: writes that need one fail with ENOSPC (No space left on device)."
                if full
                else "no free inode: no file can be created there, though there is room for data."
            ),
            evidence=(Ref(source=f"statvfs of {disk.path}", said=_numbers(disk)),),
            next=("pellucid files --deleted", f"df -h -i {disk.path.rpartition('/')[0] or '/'}"),
            confidence="certain",
        )


def _numbers(disk: Disk) -> str:
    return f"{disk.free_bytes} of {disk.total_bytes} bytes free, {disk.free_inodes} of {disk.inodes} inodes"
