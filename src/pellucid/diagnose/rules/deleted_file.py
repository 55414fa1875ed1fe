"""A large deleted file is still open: its room on the disk comes back when the last descriptor is closed (unlink(2)).

A program's own temporary file is deleted on purpose, as soon as it is open (tempfile.TemporaryFile, O_TMPFILE): that is told as
information, by its place and name.
"""

from collections.abc import Iterator

from pellucid.diagnose.sizes import size
from pellucid.model import Finding, OpenFile, Ref, Snapshot

_PLACES = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/")
_MOST = 3


def holds_a_deleted_file(seen: Snapshot) -> Iterator[Finding]:
    pid = seen.process.pid
    for file in seen.resources.deleted[:_MOST]:
        temporary = _temporary(file)
        room = size(file.allocated or 0)
        yield Finding(
            rule="deleted-file",
            severity="info" if temporary else "notice",
            title=f"{room} of disk are held by a deleted file",
            sentence=f"pid {pid} has {file.path} open on fd {file.fd}; it was deleted, and its {room} stay in use until pid {pid} and all others "
            f"that have it close it" + (" (a temporary file, by its place or name)." if temporary else "."),
            evidence=(
                Ref(
                    source=f"/proc/{pid}/fd/{file.fd}", said=f"{file.path} (deleted), {file.allocated} bytes allocated"
                ),
            ),
            next=(f"pellucid recover {pid}", f"pellucid files {file.path}"),
            confidence="certain",
        )


def _temporary(file: OpenFile) -> bool:
    name = file.path.rpartition("/")[2]
    return file.path.startswith(_PLACES) or name.startswith(("tmp", "#", ".nfs")) or name.endswith((".tmp", ".temp"))
