"""The environment of a process, as it was started and as it is now, secrets hidden.

    ~ MODEL=v2   (at start: v1)
    + OMP_NUM_THREADS=4
      DATABASE_URL=postgres://app:***@db/loans

/proc/PID/environ is the memory that execve(2) filled; it never learns of a putenv. What the program's C library goes by is its
variable `environ` (environ(7)), an array of pointers that setenv(3) moves when it grows: it is found by its symbol, read from memory,
and read again when it moved meanwhile. A Python program has a third one, os.environ: it is told where it differs from that of the C
library at two readings.
"""

import time
from struct import iter_unpack

from msgspec.structs import replace

from pellucid.kernel import access, elf, maps, procfs
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Gap, Process, Variable, redact
from pellucid.model.errors import LookError, NotPermitted
from pellucid.model.report import EnvReport

MAX_VARIABLES = 1 << 14
MAX_BYTES = 1 << 21
"""Of one string: execve(2) takes at most 128 kB, setenv(3) any length."""

_TRIES = 3
_CHUNK = 512  # pointers a read
_SYMBOLS = ("environ", "__environ")


def environment(pid: int, *, show_secrets: bool = False) -> EnvReport:
    """Every variable of start or now, by name. Raises NoSuchProcess, NotPermitted, and NotUnderstood for what has none."""
    process = procfs.process(pid)
    if process.state == "zombie" or procfs.stat(pid).kernel_thread:
        raise access.no_memory(process)
    start, gaps = _at_start(pid)
    current = _now(process)
    if isinstance(current, Gap):
        gaps.append(current)
    now = start if isinstance(current, Gap) else current
    other = _differing(pid, now) if isinstance(current, dict) else {}
    names = sorted(start.keys() | now.keys() | other.keys())
    return EnvReport(
        process=process,
        taken_at=time.time(),
        gaps=tuple(gaps),
        variables=tuple(
            _with_python(_variable(name, start.get(name), now.get(name), show_secrets), other, show_secrets)
            for name in names
        ),
    )


def _with_python(variable: Variable, other: dict[str, str | None], show_secrets: bool) -> Variable:
    if variable.name not in other:
        return variable
    text = other[variable.name]
    shown, hidden = (text, False) if show_secrets or text is None else redact.value(variable.name, text)
    if hidden and shown == variable.now:
        shown = f"{shown} (another value)"
    return replace(variable, python=shown, differs=True, redacted=variable.redacted or hidden)


def _differing(pid: int, now: dict[str, str]) -> dict[str, str | None]:
    """What os.environ has, of the variables that it and the C library differ in at two readings; empty for what is no such Python."""
    from pellucid.runtimes import cpython
    from pellucid.runtimes.cpython.environ import environ

    try:
        with cpython.attach(pid) as python:
            python.read()
            first = _differences(environ(python), now)
            if not first:
                return {}
            again = _now(procfs.process(pid))
            second = _differences(environ(python), again) if isinstance(again, dict) else {}
    except (LookError, Unreadable):  # no CPython that is known here; or its dict moved: nothing is claimed then
        return {}
    return {name: value for name, value in first.items() if name in second and second[name] == value}


def _differences(python: dict[str, str] | None, libc: dict[str, str]) -> dict[str, str | None]:
    if python is None:
        return {}
    return {name: python.get(name) for name in python.keys() | libc.keys() if python.get(name) != libc.get(name)}


def _variable(name: str, start: str | None, now: str | None, show_secrets: bool) -> Variable:
    if show_secrets:
        return Variable(name, start, now)
    shown, hidden = zip(*(redact.value(name, text or "") for text in (start, now)), strict=True)
    first, last = None if start is None else shown[0], None if now is None else shown[1]
    if start is not None and now is not None and start != now and first == last:
        last = f"{last} (another value than at start)"
    return Variable(name, first, last, redacted=any(hidden))


def parse(strings: list[bytes]) -> dict[str, str]:
    """`NAME=value` strings; of two with one name the first counts, as for getenv(3)."""
    found: dict[str, str] = {}
    for text in strings:
        name, equals, value = text.decode("utf-8", "replace").partition("=")
        if equals and name:
            found.setdefault(name, value)
    return found


def _at_start(pid: int) -> tuple[dict[str, str], list[Gap]]:
    tried = f"read the environment of pid {pid} (/proc/{pid}/environ)"
    try:
        text = procfs.read_file(f"/proc/{pid}/environ", MAX_BYTES * 4)
    except OSError as error:
        raise procfs.failed(pid, tried, error, "env") from error
    strings = [one for one in text.split(b"\0") if one]
    gaps = []
    if any(b"=" not in one for one in strings) or (text and not strings):
        why = "the program wrote over it, as those do that set a title for ps"
        gaps.append(Gap(f"a part of the environment that pid {pid} was started with", why))
    return parse(strings), gaps


def _now(process: Process) -> dict[str, str] | Gap:
    pid = process.pid
    what = f"the environment of pid {pid} as it is now (what follows is as it was started)"
    try:
        with Memory.open(pid, "env") as memory:
            variable = _environ(pid, memory)
            return (
                _strings(memory, variable)
                if variable
                else Gap(what, "no C library with a symbol `environ` was found in it")
            )
    except NotPermitted as error:
        return Gap(what, error.said, error.remedy)
    except Unreadable as error:
        return Gap(what, f"it kept changing while it was read ({error})")


def _environ(pid: int, memory: Memory) -> int | None:
    """The address of `environ`. The executable comes first: one that is not PIE holds the variable of its C library itself (a copy relocation)."""
    for image in sorted(_images(maps.read(pid, "env")), key=_rank):
        try:
            linked = elf.mapped(memory, image.start)
            found = linked.exported(_SYMBOLS) or _static(pid, image)
        except (elf.NotElf, OSError):  # the next image may have it; `environment` tells when none has
            continue
        if found:
            return linked.bias(image.start) + next(iter(found.values()))
    return None


def _static(pid: int, image: Mapping) -> dict[str, int]:
    """A statically linked program exports nothing; its file may still name its symbols."""
    return elf.symbols(elf.paths(pid, image.start, image.end, image.path)[0], _SYMBOLS) if _rank(image) == 0 else {}


def _images(mapped: tuple[Mapping, ...]) -> list[Mapping]:
    """The first mapping of each file that has code in it: its ELF header. The first file of all is the executable, or nearly so."""
    with_code = {one.path for one in mapped if one.of_file and "x" in one.permissions}
    first: dict[str, Mapping] = {}
    for one in mapped:
        if one.path in with_code and one.offset == 0:
            first.setdefault(one.path, one)
    return list(first.values())


def _rank(image: Mapping) -> int:
    """Executables first, then C libraries (glibc, musl), then other libraries."""
    name = image.path.rpartition("/")[2]
    if name.startswith(("libc.so", "libc-", "ld-musl", "libc.musl")):
        return 1
    return 2 if ".so" in name else 0


def _strings(memory: Memory, variable: int) -> dict[str, str]:
    """The strings that `environ` points to, from a reading during which it did not move. Raises Unreadable."""
    for attempt in range(_TRIES):
        try:
            array = memory.u64(variable)
            pointers = _pointers(memory, array)
            found = parse([_string(memory, pointer) for pointer in pointers])
            if memory.u64(variable) == array and _pointers(memory, array) == pointers:
                return found
        except Unreadable:
            if attempt == _TRIES - 1:
                raise
    raise Unreadable(variable, 8, 0)


def _pointers(memory: Memory, array: int) -> list[int]:
    """Up to the NULL that ends the array; `environ` itself is NULL after clearenv(3)."""
    found: list[int] = []
    while array and len(found) < MAX_VARIABLES:
        chunk = memory.read_some(array + 8 * len(found), 8 * _CHUNK)
        for (pointer,) in iter_unpack("<Q", chunk[: len(chunk) & -8]):
            if not pointer:
                return found
            found.append(pointer)
        if len(chunk) < 8:
            raise Unreadable(array, 8, 0)
    return found


def _string(memory: Memory, address: int) -> bytes:
    """Up to its NUL, read in growing pieces."""
    found = b""
    size = 256
    while len(found) < MAX_BYTES:
        piece = memory.read_some(address + len(found), size)
        text, end, _ = piece.partition(b"\0")
        found += text
        if end:
            return found
        size = min(2 * size, 1 << 16)
    return found
