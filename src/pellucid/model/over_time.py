"""What longer looks saw of a process: what only shows when it is watched for a second or two, by `why`."""

from msgspec import Struct

from pellucid.model.collector import JvmWatched
from pellucid.model.file import FileGroup
from pellucid.model.gap import Gap
from pellucid.model.holder import Suspect, TypeGrowth
from pellucid.model.hot_time import HotTime
from pellucid.model.thread import Frame


class RepeatedError(Struct, frozen=True):
    """Equal failed system calls within the window, `count` of them: the same call, error, path and Python line.

    `what` is what a descriptor or an address stands for, where there is no path. `line` is the program's own line, the innermost frame
    where it has none on the stack, None where the stack could not be read. `certain` is False where the path was read after the call.
    """

    name: str
    error: str
    path: str | None
    what: str
    call: str
    """`openat(AT_FDCWD, "/etc/x", O_RDONLY)`."""
    count: int
    pid: int
    program: str
    line: Frame | None
    stack: tuple[Frame, ...]
    certain: bool = True
    holders: tuple[str, ...] = ()
    """Of an address that is in use: `pid 42 (python server.py)`, who has it."""


class Opener(Struct, frozen=True):
    """A place that made descriptors within the window: `fds` are the numbers that it was the last to make, closed since or not.

    `name` of the call, and its stack, innermost first, empty where it could not be read.
    """

    name: str
    stack: tuple[Frame, ...]
    fds: tuple[int, ...]


class Calls(Struct, frozen=True):
    """`repeated`: failed calls that are not known to be harmless, the most frequent first; `harmless` is how many others failed.

    `lost` calls are missing from the counts. `backend`: bpf or perf, which reads no Python lines.
    """

    seconds: float
    repeated: tuple[RepeatedError, ...]
    opened: tuple[Opener, ...]
    harmless: int
    lost: int
    backend: str


class Descriptors(Struct, frozen=True):
    """How many descriptors it had at even times of the window, first and last included; and what the new ones are, most first.

    `opened` is how many numbers are new, though others may have been closed; of very many, some are looked at. The `fds` of a group are all of those. `limit`: RLIMIT_NOFILE,
    None where there is none.
    """

    seconds: float
    counts: tuple[int, ...]
    opened: int
    limit: int | None
    new: tuple[FileGroup, ...]

    @property
    def grown(self) -> int:
        return self.counts[-1] - self.counts[0]


class MemoryGrowth(Struct, frozen=True):
    """Private memory (RssAnon and VmSwap): `bytes` at the seconds `at_s`; and what it is, where it was seen growing.

    `types`: by two censuses `types_s` seconds apart, what grew most first; empty where none were made: `why_no_types` says why.
    `suspects`: who holds what grew, most first; empty where that was not looked for (it takes longer than a census) or nobody was found.
    """

    seconds: float
    bytes: tuple[int, ...]
    at_s: tuple[float, ...]
    types: tuple[TypeGrowth, ...] = ()
    types_s: float = 0.0
    python_bytes: int = 0
    """By how much the Python objects grew between the two censuses, of `private_bytes` that private memory did."""
    private_bytes: int = 0
    suspects: tuple[Suspect, ...] = ()
    why_no_types: str = ""
    limit_bytes: int | None = None
    """Of its cgroup, the least in reach, of which `group_bytes` are used."""
    group_bytes: int = 0

    @property
    def per_s(self) -> float:
        return (self.bytes[-1] - self.bytes[0]) / self.seconds if self.seconds else 0.0


class OverTime(Struct, frozen=True):
    """All over the same `seconds`. None stands for a look that could not be made: then a gap says why.

    `gaps` has what needs a permission that is not there. All else that was not seen is in the gaps of the snapshot.
    """

    seconds: float
    calls: Calls | None = None
    descriptors: Descriptors | None = None
    time: HotTime | None = None
    memory: MemoryGrowth | None = None
    jvm: JvmWatched | None = None
    gaps: tuple[Gap, ...] = ()
