"""What a tracer tells of system calls, whichever way it sees them: through BPF programs, perf events or ptrace.

Times are nanoseconds of CLOCK_MONOTONIC. Pids are as this process sees them.
"""

from errno import EBADF, EFAULT, ENOTSOCK
from struct import Struct as Packing

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import syscalls

GETSOCKOPT = syscalls.number("getsockopt")
SOL_SOCKET, SO_ERROR = 1, 4  # include/uapi/asm-generic/socket.h
_OF_ITSELF = frozenset({EBADF, EFAULT, ENOTSOCK})
"""With these getsockopt itself fails, asked for this option."""

COMPAT = 1 << 16
"""Added to the number of a call of a 32-bit program."""


class Moved(Struct, frozen=True, gc=False):
    """What went through a descriptor."""

    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    written_bytes: int = 0

    def plus(self, more: "Moved") -> "Moved":
        return Moved(
            self.reads + more.reads,
            self.read_bytes + more.read_bytes,
            self.writes + more.writes,
            self.written_bytes + more.written_bytes,
        )


def asks_for_error(number: int, arguments: tuple[int, ...]) -> bool:
    """getsockopt(fd, SOL_SOCKET, SO_ERROR, ...)."""
    return number == GETSOCKOPT and arguments[1] & 0xFFFFFFFF == SOL_SOCKET and arguments[2] & 0xFFFFFFFF == SO_ERROR


class Called(Struct, frozen=True, gc=False):
    """A call that has ended.

    `result` is negative for an error: -2 is ENOENT. `path`, `second` and `address` are what its arguments pointed to, None
    where it has no such argument or it could not be read. `stack` names a `StackTold`, 0 for none. Failed calls with the same
    `key` are equal and told once: `Tracer.failures` counts them; 0 stands for itself alone.
    `moved` went through the descriptor that this call closed, or through an older one of the number that it returned.
    """

    pid: int
    tid: int
    number: int
    arguments: tuple[int, ...]
    result: int
    ended_ns: int
    duration_ns: int
    path: bytes | None = None
    second: bytes | None = None
    address: bytes | None = None
    stack: int = 0
    key: int = 0
    slow: bool = False
    moved: Moved | None = None

    @property
    def failed(self) -> bool:
        return -4096 < self.result < 0

    @property
    def in_background(self) -> bool:
        """It told how a connect ended that had been given back at once (EINPROGRESS): then `result` is that error (SO_ERROR, socket(7))."""
        return self.failed and asks_for_error(self.number, self.arguments) and -self.result not in _OF_ITSELF

    def at(self, stack: int) -> "Called":
        """The same call, made by that stack."""
        return replace(self, stack=stack)


class Forked(Struct, frozen=True, gc=False):
    """`pid` has made `child`: by fork, vfork or clone."""

    pid: int
    child: int
    at_ns: int


class Executed(Struct, frozen=True, gc=False):
    """`pid` has become another program."""

    pid: int
    at_ns: int


class Exited(Struct, frozen=True, gc=False):
    """The first thread of `pid` has ended: the process too, unless other threads of it go on."""

    pid: int
    at_ns: int


FRAME = Packing("<QQQ")
"""A Python frame in a `StackTold`: the identity of its code object (`CodeTold`), the address of that, and its instruction with the
frame's owner in the top byte. Kept packed: of thousands of stacks, some hundred are asked for."""
OWNER_SHIFT = 56


class StackTold(Struct, frozen=True, gc=False):
    """The stack that calls name by `stack`: `FRAME` after `FRAME`, innermost first; `cut` where it has more than are read."""

    stack: int
    pid: int
    frames: bytes
    cut: bool


class CodeTold(Struct, frozen=True, gc=False):
    """A code object as bytes: `head` is all before its instructions, then its file, name and qualified name (str objects) and
    the content of its line table. `whole` where nothing of it was too long or unreadable.
    """

    identity: int
    pid: int
    address: int
    head: bytes
    file: bytes
    name: bytes
    qualname: bytes
    table: bytes
    whole: bool


Told = Called | Forked | Executed | Exited | StackTold | CodeTold


class Total(Struct, frozen=True, gc=False):
    """All calls of one number by one process with one stack."""

    pid: int
    number: int
    stack: int
    calls: int
    errors: int
    total_ns: int
    max_ns: int


class Failure(Struct, frozen=True, gc=False):
    """Equal failed calls."""

    count: int
    total_ns: int
    max_ns: int
    last_ns: int


class Unfinished(Struct, frozen=True, gc=False):
    """A call that had begun and not ended when the trace did."""

    pid: int
    tid: int
    number: int
    since_ns: int
    path: bytes | None


class Wanted(Struct, frozen=True, gc=False):
    """What is to be read of a call, by the positions of its arguments; None for no such argument.

    `path`, `second`: strings. `address`: a struct sockaddr. `reads`, `writes`: the descriptors that bytes come from and go to.
    `closes`: the descriptor that is closed, by close or because dup2 takes its number. `tell`: a `Called` for every call; `every`: also for each of equal failed ones.
    """

    path: int | None = None
    second: int | None = None
    address: int | None = None
    reads: int | None = None
    writes: int | None = None
    closes: int | None = None
    fd_first: bool = False
    makes_fd: bool = False
    tell: bool = False
    every: bool = False


class Watch(Struct, frozen=True):
    """What a tracer is asked for.

    `wanted`: by call number. `slow_ns`: tell calls that took so long, None for none. `every_line`: attribute all calls to
    stacks, not only those that are told. `descriptors`: count the bytes that go through each.
    """

    wanted: dict[int, Wanted]
    slow_ns: int | None = None
    every_line: bool = False
    descriptors: bool = False
