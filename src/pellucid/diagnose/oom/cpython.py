"""What Python programs, their libraries and their servers print when memory runs out, and what each of these lines means.

MemoryError is raised when an allocation fails (Objects/obmalloc.c, PyErr_NoMemory in Python/errors.c), and on Linux that is rare:
memory is promised freely and the process is killed when the promise can't be kept. So a MemoryError means one giant request, or a
limit on addresses (RLIMIT_AS, vm.overcommit_memory=2); a death without words means the killer.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from pellucid.model import Confidence, Finding, Ref
from pellucid.model.oom import OomSeen

MAX_LINES = 200_000
_PLACE = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')


class _Message(Struct, frozen=True):
    """`title` and `sentence` may name groups of `pattern`: {pid}."""

    kind: str
    pattern: re.Pattern[str]
    title: str
    sentence: str
    next: tuple[str, ...]
    confidence: Confidence


def messages(seen: OomSeen) -> Iterator[Finding]:
    """One finding for each kind of line that is known, at its last place in the text."""
    told: dict[str, Finding] = {}
    place = ""
    for line in seen.text.splitlines()[-MAX_LINES:]:
        if found := _PLACE.match(line):
            place = f"{found['file']}:{found['line']}" + (f" in {found['function']}" if found["function"] else "")
            continue
        for message in MESSAGES:
            if match := message.pattern.search(line):
                told[message.kind] = _finding(message, match, line.strip(), place)
                break
    yield from told.values()


def _finding(message: _Message, match: re.Match[str], line: str, place: str) -> Finding:
    named = {name: value or "?" for name, value in match.groupdict().items()}
    at = f" It was raised at {place}." if place and message.kind in _RAISED else ""
    return Finding(
        rule=f"oom-{message.kind}",
        severity="critical",
        title=message.title.format(**named),
        sentence=message.sentence.format(**named) + at,
        evidence=(Ref(source="the text", said=line[:300]),),
        next=tuple(command.format(**named) for command in message.next),
        confidence=message.confidence,
    )


_RAISED = {"array", "memory-error", "threads", "enomem"}

MESSAGES: tuple[_Message, ...] = (
    _Message(
        "array",
        re.compile(
            r"MemoryError: Unable to allocate (?P<size>[\d.]+ \w+) for an array with shape (?P<shape>\([^)]*\))(?: and data type (?P<type>\S+))?"
        ),
        "one array was asked for that is too big: {size}, shape {shape}",
        "NumPy asked for {size} at once ({type}) and was refused: no leak, one giant object. The kernel refuses a single request that"
        " is larger than what it could ever give (vm.overcommit_memory 0), or than the limit on addresses (ulimit -v)."
        " Look at the shape: a join or an outer product that multiplies rows, or a wider type than is needed.",
        ("ulimit -v", "cat /proc/sys/vm/overcommit_memory", "free -h"),
        "certain",
    ),
    _Message(
        "gpu",
        re.compile(r"CUDA out of memory\.(?: Tried to allocate (?P<size>[\d.]+ \w+))?"),
        "the memory of the GPU is full, not that of the machine",
        "PyTorch could not get {size} from the GPU. The process itself goes on; smaller batches, or another process on that GPU"
        " (nvidia-smi lists them), decide.",
        ("nvidia-smi",),
        "certain",
    ),
    _Message(
        "shared-memory",
        re.compile(r"out of shared memory|insufficient shared memory \(shm\)"),
        "/dev/shm is full: shared memory between processes, not the heap",
        "The workers of a data loader pass tensors through /dev/shm, which in a container has 64 MB unless it was given more"
        " (docker run --shm-size, an emptyDir of medium Memory).",
        ("df -h /dev/shm", "pellucid files /dev/shm"),
        "certain",
    ),
    _Message(
        "threads",
        re.compile(r"can't start new thread|pthread_create failed|unable to start thread", re.IGNORECASE),
        "no further thread could be started: a limit on threads, or on addresses for their stacks",
        "pthread_create(3) failed. Each thread needs a stack (8 MB of addresses by default, ulimit -s) and one of the pids that the"
        " cgroup (pids.max) and the user (ulimit -u) may have: the heap has nothing to do with it, unless ulimit -v is set.",
        ("ulimit -u -v -s", "pellucid stacks PID", "cat /sys/fs/cgroup/pids.max"),
        "likely",
    ),
    _Message(
        "enomem",
        re.compile(r"\[Errno 12\] Cannot allocate memory"),
        "a system call was refused memory (ENOMEM)",
        "fork, mmap or mlock got ENOMEM: a limit on addresses (ulimit -v), strict overcommit (vm.overcommit_memory 2), too many"
        " mappings (vm.max_map_count), or a fork of a process so big that its copy could not be promised.",
        ("ulimit -v", "cat /proc/sys/vm/overcommit_memory /proc/sys/vm/max_map_count", "grep -i commit /proc/meminfo"),
        "certain",
    ),
    _Message(
        "worker",
        re.compile(r"Worker \(pid:\s*(?P<pid>\d+)\) was sent (?P<signal>SIGKILL)"),
        "gunicorn's worker {pid} was killed with SIGKILL",
        "By whom, gunicorn can't know: the OOM killer sends SIGKILL, and so does gunicorn itself after a timeout, and anybody with"
        " kill -9. The kernel's log and the counters of the cgroup tell.",
        ("pellucid oom {pid}",),
        "possible",
    ),
    _Message(
        "worker",
        re.compile(
            r"DataLoader worker \(pid\(?s?\)? ?(?P<pid>\d+)[^)]*\) (?:is killed by signal: Killed|exited unexpectedly)"
        ),
        "the data loader's worker {pid} was killed",
        "A worker that is killed without a message was most often ended by the OOM killer. The kernel's log tells.",
        ("pellucid oom {pid}",),
        "likely",
    ),
    _Message(
        "worker",
        re.compile(
            r"BrokenProcessPool|TerminatedWorkerError|WorkerLostError: Worker exited prematurely: signal 9|exit codes? of the workers"
        ),
        "a worker process of the pool was killed",
        "The pool saw a worker end without an answer. SIGKILL (exit code -9) without anybody who sent it was the OOM killer;"
        " -11 would be a crash. The kernel's log names the process and says how big it was.",
        ("pellucid oom CGROUP", "dmesg -T | grep -i 'killed process'"),
        "possible",
    ),
    _Message(
        "killed",
        re.compile(
            r"^\s*(?:\S+: )?(?:line \d+:\s*)?(?:\[\d+\]\S*\s+)?(?:\d+\s+)?Killed(?:\s*$|\s\s)|OOMKilled|exit(?:ed with)? (?:code|status):? ?137\b"
        ),
        "the process was killed with SIGKILL (exit status 137 = 128 + 9)",
        "No Python code runs at that moment, so there is no traceback. `OOMKilled` of Kubernetes says that its cgroup was at its limit;"
        " `Killed` of a shell, and 137, say SIGKILL only: the OOM killer, or somebody.",
        ("dmesg -T | grep -i 'killed process'", "pellucid oom CGROUP"),
        "likely",
    ),
    _Message(
        "bad-alloc",
        re.compile(r"std::bad_alloc"),
        "C++ code could not allocate memory",
        "A C++ extension (or the library below it) threw std::bad_alloc: one giant request, or a limit on addresses (ulimit -v)."
        " What was asked for is not in the message; the stack at the abort is.",
        ("ulimit -v", "coredumpctl list"),
        "certain",
    ),
    _Message(
        "memory-error",
        re.compile(r"^\s*(?:\S+: )?(?:\w+\.)*\w*(?<!OutOf)MemoryError\b"),
        "Python could not allocate memory (MemoryError)",
        "On Linux an ordinary leak ends in a kill, not in MemoryError: so it is a limit on addresses (ulimit -v, RLIMIT_AS), strict"
        " overcommit, or one giant request: a bytes, list or str made by a wrong length or a multiplication.",
        ("ulimit -v", "cat /proc/sys/vm/overcommit_memory", "pellucid oom PID  (while it lives)"),
        "likely",
    ),
)
