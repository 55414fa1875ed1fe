"""Where `_PyRuntime` lies in a process, and which version of CPython that is.

`_PyRuntime` is the one variable from which all interpreters and threads can be reached (Python/pylifecycle.c). It lies in
libpython, in the python binary, or in any program that CPython was linked into; `Py_Version` (3.11) lies beside it.
"""

from collections.abc import Iterator

from msgspec import Struct

from pellucid.kernel import elf
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory, Unreadable

_RUNTIME, _VERSION = "_PyRuntime", "Py_Version"
_SECTION = ".PyRuntime"  # 3.13: GENERATE_DEBUG_SECTION in Include/internal/pycore_debug_offsets.h
MAX_FILES = 4096


class Found(Struct, frozen=True):
    """One `_PyRuntime`: its address, the file that it lies in, and PY_VERSION_HEX where the file tells it."""

    runtime: int
    path: str
    version: int | None


def runtimes(memory: Memory, mappings: tuple[Mapping, ...]) -> Iterator[Found]:
    """Every `_PyRuntime`, the likeliest first: libpython's, the python binary's, then that of any other mapped program.

    More than one can be there: a program may have a copy of libpython's that it never uses.
    """
    files = _images(mappings)
    exported = False
    for image in files:
        try:
            found = elf.mapped(memory, image.start)
            places = found.exported((_RUNTIME, _VERSION))
        except elf.NotElf:
            continue  # a mapped file that is no program
        if _RUNTIME in places:
            exported = True
            yield _found(memory, image, places, found.bias(image.start))
    if not exported:
        for image in files:
            if "python" in image.path.rpartition("/")[2] or image is files[0]:
                yield from _in_file(memory, image)


def _in_file(memory: Memory, image: Mapping) -> Iterator[Found]:
    """What only the file tells: the static symbols, which an executable may not export, and the section."""
    in_root, by_mapping = elf.paths(memory.pid, image.start, image.end, image.path)
    for path in (by_mapping,) if image.deleted else (in_root, by_mapping):
        try:
            with elf.ElfFile(path) as found:
                places = found.static((_RUNTIME, _VERSION))
                section = None if places else found.section(_SECTION)
                bias = found.bias(image.start)
        except (OSError, elf.NotElf):
            continue  # no permission for map_files, or no such file in that root: the other way may lead there
        if section is not None:
            places = {_RUNTIME: section[0]}
        if _RUNTIME in places:
            yield _found(memory, image, places, bias)
        return


def _found(memory: Memory, image: Mapping, places: dict[str, int], bias: int) -> Found:
    version = None
    if _VERSION in places:
        try:
            version = memory.u32(places[_VERSION] + bias)
        except Unreadable:
            version = None  # the head of _PyRuntime may tell it
    return Found(places[_RUNTIME] + bias, image.path, version)


def _images(mappings: tuple[Mapping, ...]) -> list[Mapping]:
    """The first mapping of each program or library, the likeliest home of CPython first."""
    programs = {
        (mapping.device, mapping.inode) for mapping in mappings if mapping.of_file and "x" in mapping.permissions
    }
    starts: dict[tuple[str, int], Mapping] = {}
    for mapping in mappings:
        key = (mapping.device, mapping.inode)
        if mapping.offset == 0 and key in programs and key not in starts and len(starts) < MAX_FILES:
            starts[key] = mapping
    return sorted(starts.values(), key=_unlikeliness)


def _unlikeliness(image: Mapping) -> int:
    name = image.path.rpartition("/")[2]
    if name.startswith("libpython"):
        return 0
    return 1 if name.startswith("python") else 2


def told_by_name(mappings: tuple[Mapping, ...]) -> str:
    """The version in the name of a mapped file: `2.7` for libpython2.7.so.1.0, "" where none has one."""
    for image in _images(mappings):
        name = image.path.rpartition("/")[2]
        _, python, version = name.partition("python")
        digits = version.partition(".so")[0].partition("-")[0].rstrip("abdmtu")
        if python and digits.replace(".", "").isdigit():
            return digits
    return ""
