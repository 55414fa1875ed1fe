"""A thread, from two sides: what the kernel says of the task, and what the interpreter says of its stack."""

from msgspec import Struct
from msgspec.structs import replace

from pellucid.model.wait import Wait

JDK = ("java.", "jdk.", "java/", "javax/", "jdk/", "sun/", "com/sun/")
"""How the files of the JDK's own classes begin: with their module, or (JDK 8, generated classes) with their package."""


class Frame(Struct, frozen=True):
    """One Python (or Java) call. `line` is None where the instruction has none."""

    function: str
    qualname: str
    file: str
    line: int | None

    def __str__(self) -> str:
        return f"{self.function} ({self.file.rpartition('/')[2]}:{self.line or '?'})"

    @property
    def starts(self) -> bool:
        """The few lines that an installer made to start a package's program (`bin/pip`, `bin/gunicorn`), or the whole of a script there."""
        folder, _, name = self.file.rpartition("/")
        return self.function == "<module>" and "." not in name and folder.endswith("/bin")

    @property
    def packaged(self) -> bool:
        """Code of an installed package."""
        return "/site-packages/" in self.file or "/dist-packages/" in self.file

    @property
    def own(self) -> bool:
        """Code of the program (also what was given by `-c` or typed), neither of the standard library nor of a package."""
        file = self.file
        if file.startswith("<"):
            return file in {"<string>", "<stdin>"}
        if file.startswith(JDK) or self.starts:
            return False
        return not (self.packaged or "/lib/python3" in file)


class Call(Struct, frozen=True):
    """The system call that a task sits in, as in /proc/PID/task/TID/syscall (proc_pid_syscall(5)).

    `number` is None when the task runs in user space, -1 when it is blocked outside a system call (a page fault).
    """

    name: str
    number: int | None
    arguments: tuple[int, ...] = ()
    stack_pointer: int = 0
    instruction: int = 0


class Task(Struct, frozen=True):
    """One kernel task of a process at one moment. None is "could not be read".

    `asleep_s`: seconds since it last left a CPU, from se.exec_start of /proc/PID/task/TID/sched (kernel/sched/debug.c),
    None while it runs. `cpu_s` has nanosecond resolution where schedstat can be read, else clock ticks.
    """

    tid: int
    name: str
    state: str
    call: Call | None
    wchan: str | None
    """The kernel function it sleeps in; read where the call does not tell enough (a page fault, disk sleep), else ""."""
    cpu_s: float
    switches: int | None
    """Voluntary context switches: the same number at two looks means that it never woke between them."""
    asleep_s: float | None = None


class Stack(Struct, frozen=True):
    """What the runtime says of one of its threads. `frames` are innermost first.

    `moving`: the two copies never agreed within the bound; `frames` then holds only the outer part that did.
    """

    tid: int
    ident: int
    name: str
    frames: tuple[Frame, ...]
    interpreter: int = 0
    moving: bool = False
    holds_gil: bool | None = None
    wants_gil: bool | None = None


class Seen(Struct, frozen=True):
    """How often `frame` was innermost, in the samples taken between the two looks."""

    frame: Frame
    times: int


class Thread(Struct, frozen=True):
    """A task joined with its stack, and what it waits for. `frames` is empty for a thread that runs no Python."""

    tid: int
    name: str
    state: str
    frames: tuple[Frame, ...]
    wait: Wait | None
    task: Task
    moving: bool = False
    holds_gil: bool | None = None
    wants_gil: bool | None = None
    interpreter: int = 0
    python: bool = False
    """The runtime knows this thread (also when its stack was empty or moving)."""
    seen: tuple[Seen, ...] = ()
    """Where it was between the looks, most often first; empty when it slept or there was one look."""
    samples: int = 0
    cpu_share: float | None = None
    """CPU seconds per second between the two looks."""
    steady: bool | None = None
    """Whether the runtime itself says that it did not go on between the looks; None where that is the kernel's to say."""
    gil_waits: int = 0
    """In how many of the samples it waited for the GIL, and in how many it had it."""
    gil_holds: int = 0

    def between(
        self, *, cpu_share: float, seen: tuple[Seen, ...], samples: int, gil_waits: int, gil_holds: int
    ) -> "Thread":
        """The same thread with what happened to it between two looks."""
        return replace(self, cpu_share=cpu_share, seen=seen, samples=samples, gil_waits=gil_waits, gil_holds=gil_holds)
