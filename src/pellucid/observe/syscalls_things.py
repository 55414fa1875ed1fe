"""What was done with one path, or with one address, while it is being found out."""

from pellucid.kernel.birth import born_at
from pellucid.kernel.traced import Moved

_SLACK_S = 0.05  # between the clock of file systems, which ticks, and ours


class File:
    """What was done with one path so far."""

    __slots__ = (
        "appended", "changed", "created", "deleted", "executed", "kind", "mapped", "moved", "opened_at", "opens", "path", "pids",
        "renamed_from", "stack", "truncated",
    )  # fmt: skip

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.opens = self.executed = self.mapped = 0
        self.created: bool | None = False
        """None: it may have been there before."""
        self.opened_at = 0.0
        """When it was opened to be made, in seconds since the epoch."""
        self.truncated = self.appended = self.deleted = self.changed = False
        self.renamed_from: str | None = None
        self.moved = Moved()
        self.stack = 0
        self.pids: set[int] = set()


class Connection:
    """What went to or came from one address in one role."""

    __slots__ = ("address", "count", "errors", "moved", "pids", "protocol", "role", "stack")

    def __init__(self, role: str, protocol: str, address: str) -> None:
        self.role = role
        self.protocol = protocol
        self.address = address
        self.count = 0
        self.errors: dict[str, int] = {}
        self.moved = Moved()
        self.stack = 0
        self.pids: set[int] = set()


class Socket:
    """A socket before it is connected: only its protocol is known."""

    __slots__ = ("connection", "local", "protocol")

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.local = ""
        self.connection: Connection | None = None


class Pipe:
    """One end of a pipe or socket pair: what goes through it stays among the processes."""


Opened = File | Socket | Pipe
Table = dict[int, Opened]


def change(file: File) -> str:
    """What became of the file, in a word."""
    if file.deleted and file.created:
        return "created and deleted"
    if file.deleted:
        return "written and deleted" if file.moved.writes else "deleted"
    if file.created:
        return "created"
    if file.renamed_from is not None:
        return "renamed"
    if file.truncated:
        return "replaced"
    if file.moved.writes:
        return "appended" if file.appended else "written"
    return "changed" if file.changed else ""


def is_new(there: str, here: str, opened_at: float) -> bool | None:
    """Whether the file was born at this very open, None where its file system doesn't tell, or it is gone already."""
    born = born_at(there) or born_at(here)
    return None if born is None else born >= opened_at - _SLACK_S
