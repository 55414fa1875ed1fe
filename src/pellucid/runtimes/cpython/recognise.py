"""Is it a CPython that can be read? Found, understood and checked before anything is told of it.

What is not understood is refused rather than guessed, and the refusal says what was found: a version without a table, a
free-threaded build, a table that does not fit the build in front of it, another runtime, none at all.
"""

from pellucid.kernel import maps
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model.errors import NotUnderstood
from pellucid.runtimes.cpython import check, locate
from pellucid.runtimes.cpython.debug_offsets import MAX_SIZE, Garbled, layout, published
from pellucid.runtimes.cpython.layouts import TABLES, table
from pellucid.runtimes.cpython.process import CPython

_LEVELS = {0xA: "a", 0xB: "b", 0xC: "rc"}


def attach(pid: int, command: str = "stacks") -> CPython:
    """The CPython in process `pid`. Raises NotUnderstood, and NoSuchProcess or NotPermitted where it can't be looked at.

    `command` is what the remedy repeats.
    """
    mappings = maps.read(pid, command, files=True)
    memory = Memory.open(pid, command)
    try:
        return _attach(memory, mappings)
    except BaseException:
        memory.close()
        raise


def _attach(memory: Memory, mappings: tuple[Mapping, ...]) -> CPython:
    refusal: NotUnderstood | None = None
    for found in locate.runtimes(memory, mappings):
        try:
            return _understood(memory, found, mappings)
        except NotUnderstood as error:
            refusal = refusal or error  # another copy of _PyRuntime may be the one that runs
    raise refusal or _none_found(memory.pid, mappings)


def _understood(memory: Memory, found: locate.Found, mappings: tuple[Mapping, ...]) -> CPython:
    """A CPython whose version is known and whose table fits. Raises NotUnderstood."""
    pid = memory.pid
    try:
        head = memory.read_some(found.runtime, MAX_SIZE)
    except Unreadable as gone:
        raise _not_understood(pid, f"_PyRuntime of {found.path} can't be read: {gone}") from None
    own = published(head)
    version = own.version if own else found.version
    if version is None:
        told = locate.told_by_name(mappings)
        name = f"CPython {told}" if told else "a CPython older than 3.11"
        raise _not_understood(pid, f"it runs {name} ({found.path}): {_readable()}", name)
    name = f"CPython {spelt(version)}"
    known = table(version >> 16 & 255) if version >> 24 == 3 else None
    if known is None:
        raise _not_understood(pid, f"it runs {name} ({found.path}): {_readable()}", name)
    if own and own.free_threaded:
        raise _not_understood(
            pid, f"it runs {name}, a free-threaded build ({found.path}): builds with a GIL can be read", name
        )
    try:
        fitting = layout(known, head)
        check.fits(memory, fitting, found.runtime)
        return CPython(memory, name, found.path, found.runtime, fitting)
    except (Garbled, Unreadable) as wrong:
        raise _not_understood(pid, f"it runs {name} ({found.path}), but not as its table says: {wrong}", name) from None


def _none_found(pid: int, mappings: tuple[Mapping, ...]) -> NotUnderstood:
    told = locate.told_by_name(mappings)
    if told:
        return _not_understood(
            pid,
            f"it runs CPython {told}, which has no _PyRuntime that could be found: {_readable()}",
            f"CPython {told}",
        )
    pypy = next((mapping.path for mapping in mappings if "pypy" in mapping.path.rpartition("/")[2]), None)
    return _not_understood(pid, f"it runs PyPy ({pypy})" if pypy else "no CPython found in its mappings")


def _not_understood(pid: int, said: str, found: str = "") -> NotUnderstood:
    return NotUnderstood(
        pid,
        tried=f"find the Python stacks of pid {pid}",
        said=said,
        remedy=f"pellucid info {pid}  (what it is)",
        found=found,
    )


def _readable() -> str:
    return f"there are tables for 3.{min(TABLES)} to 3.{max(TABLES)}"


def spelt(version: int) -> str:
    """`3.13.0` or `3.15.0b2` for PY_VERSION_HEX (Include/patchlevel.h)."""
    level = _LEVELS.get(version >> 4 & 15)
    return f"{version >> 24}.{version >> 16 & 255}.{version >> 8 & 255}" + (f"{level}{version & 15}" if level else "")
