"""Where a symbol lies in an ELF file, or in the image of one that a process has mapped: elf(5).

Two ways lead to a symbol. The dynamic one (PT_DYNAMIC, DT_GNU_HASH, DT_SYMTAB) is what the loader uses: stripping leaves it,
and it lies in memory too, so that an image can be asked whose file is gone, replaced or in another container; a lookup takes
about ten small reads. The static one (.symtab) is in the file alone, and often stripped from it; it also has the names that
an executable does not export. `_PyRuntime` is in the first wherever CPython is linked with --export-dynamic, its default.

All of it is foreign data, so each length is bounded, and what does not add up raises `NotElf`.
"""

import os
from collections.abc import Callable, Iterable
from struct import Struct, error

from pellucid.kernel.memory import TOP, Memory, Unreadable

MAX_TABLE = 1 << 26  # bytes of .symtab or .strtab: a debug build of a large program has some 10 MB
MAX_HEADERS = 4096  # program or section headers
MAX_CHAIN = 4096  # symbols of one hash bucket, places of one text
MAX_DYNAMIC = 1 << 16  # bytes of PT_DYNAMIC: a large library has some 50 entries of 16
PAGE = 4096

Read = Callable[[int, int], bytes]

_HEADER = Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = Struct("<IIQQQQQQ")
_SECTION = Struct("<IIQQQQIIQQ")
_SYMBOL = Struct("<IBBHQQ")
_DYNAMIC = Struct("<qQ")
_GNU_HASH = Struct("<4I")
_U32 = Struct("<I")

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 0, 5, 6, 0x6FFFFEF5
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11


class NotElf(Exception):  # noqa: N818
    """It is no ELF image for a 64-bit little-endian machine, or its tables do not add up; the text says what."""


def symbols(path: str, names: Iterable[str]) -> dict[str, int]:
    """The virtual addresses of `names` in the file `path`, as linked; absent ones are left out. Raises OSError, NotElf."""
    wanted = list(names)
    with ElfFile(path) as elf:
        found = elf.exported(wanted)
        missing = [name for name in wanted if name not in found]
        return found | elf.static(missing) if missing else found


def paths(pid: int, start: int, end: int, path: str) -> tuple[str, str]:
    """Where to open a mapped file from here: in the process's own root, and, also when it is deleted, by its mapping.

    The second needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE (proc_pid_map_files(5)).
    """
    return f"/proc/{pid}/root{path}", f"/proc/{pid}/map_files/{start:x}-{end:x}"


class Elf:
    """One ELF file or mapped image. All addresses that it takes and gives are as linked: add `bias(base)` for the real ones."""

    __slots__ = ("_base", "_loads", "_programs", "_read", "_sections", "first_address")

    def __init__(self, read: "Read", base: int | None = None) -> None:
        """`read(position, size)` gives exactly `size` bytes: of the file, or, with `base`, of the image mapped at `base`."""
        self._read = read
        self._base = base
        try:
            head = _HEADER.unpack(read(0, _HEADER.size))
            if head[0][:6] != b"\x7fELF\x02\x01":
                raise NotElf("it has no 64-bit little-endian ELF header")
            at, size, count = head[5], head[9], head[10]
            if size != _PROGRAM.size or not 0 < count <= MAX_HEADERS:
                raise NotElf("its program headers have an unknown shape")
            self._programs = list(_PROGRAM.iter_unpack(read(at, size * count)))
        except error as cut:
            raise NotElf(f"its headers are garbage: {cut}") from None
        self._sections: tuple[int, int, int, int] = (head[6], head[11], head[12], head[13])
        self._loads = [part for part in self._programs if part[0] == _PT_LOAD]
        if not self._loads:
            raise NotElf("it has nothing to load")
        self.first_address: int = self._loads[0][3] & -PAGE

    def bias(self, base: int) -> int:
        """What to add to an address as linked, when the start of the file is mapped at `base`."""
        return base - self.first_address

    def exported(self, names: Iterable[str]) -> dict[str, int]:
        """The addresses of those of `names` that the dynamic symbols have. Raises NotElf."""
        try:
            tables = self._dynamic()
            if not {_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH} <= tables.keys():
                return {}
            return {name: at for name in names if (at := self._exported(tables, name.encode())) is not None}
        except (error, ZeroDivisionError):
            raise NotElf("its table of exported symbols is garbage") from None

    def _exported(self, tables: dict[int, int], name: bytes) -> int | None:
        """One lookup in DT_GNU_HASH, as glibc does it (elf/dl-lookup.c, do_lookup_x), without the Bloom filter."""
        at = tables[_DT_GNU_HASH]
        buckets, first, bloom, _ = _GNU_HASH.unpack(self._linked(at, _GNU_HASH.size))
        table = at + _GNU_HASH.size + 8 * bloom
        wanted = gnu_hash(name)
        start: int = _U32.unpack(self._linked(table + 4 * (wanted % buckets), 4))[0]
        if start < first:
            return None
        for index in range(start, start + MAX_CHAIN):
            value: int = _U32.unpack(self._linked(table + 4 * (buckets + index - first), 4))[0]
            if value | 1 == wanted | 1:
                symbol = self._linked(tables[_DT_SYMTAB] + index * _SYMBOL.size, _SYMBOL.size)
                text, _, _, section, address, _ = _SYMBOL.unpack(symbol)
                if section and self._linked(tables[_DT_STRTAB] + text, len(name) + 1) == name + b"\0":
                    return int(address)
            if value & 1:  # the last of its bucket
                return None
        return None

    def _dynamic(self) -> dict[int, int]:
        """PT_DYNAMIC: tag to value."""
        found: dict[int, int] = {}
        for kind, _, _, address, _, _, size, _ in self._programs:
            if kind == _PT_DYNAMIC and 0 < size <= MAX_DYNAMIC:
                for tag, value in _DYNAMIC.iter_unpack(self._linked(address, size & -_DYNAMIC.size)):
                    if tag == _DT_NULL:
                        break
                    found[tag] = self._unrelocated(value)
                break
        return found

    def _unrelocated(self, value: int) -> int:
        """In memory glibc has added the bias to these pointers (elf/get-dynamic-info.h); musl leaves them as linked."""
        return value - self.bias(self._base) if self._base is not None and value >= self._base else value

    def _linked(self, address: int, size: int) -> bytes:
        """`size` bytes from an address as linked."""
        if self._base is not None:
            return self._read(address - self.first_address, size)
        for _, _, offset, start, _, in_file, _, _ in self._loads:
            if start <= address < start + in_file:
                return self._read(offset + address - start, size)
        raise NotElf(f"nothing is loaded at {address:#x}")

    def static(self, names: Iterable[str]) -> dict[str, int]:
        """The addresses of those of `names` that .symtab has; of a file only, {} where it was stripped. Raises NotElf."""
        headers = self._section_headers()
        for _, kind, _, _, at, size, link, *_ in headers:
            if kind == _SHT_SYMTAB and link < len(headers) and max(size, headers[link][5]) <= MAX_TABLE:
                table = self._read(at, size)
                texts = self._read(headers[link][4], headers[link][5])
                return {name: place for name in names if (place := _in_symtab(table, texts, name.encode())) is not None}
        return {}

    def functions(self) -> tuple[tuple[bytes, bytes], ...]:
        """(table, its strings) of .symtab and .dynsym; of a file only. Raises NotElf."""
        headers = self._section_headers()
        found = []
        for _, kind, _, _, at, size, link, *_ in headers:
            if kind in (_SHT_SYMTAB, _SHT_DYNSYM) and link < len(headers) and max(size, headers[link][5]) <= MAX_TABLE:
                found.append((self._read(at, size), self._read(headers[link][4], headers[link][5])))
        return tuple(found)

    def slide(self, offset: int) -> int:
        """What to add to a position in the file, near `offset`, for the address as linked."""
        for _, _, at, address, _, in_file, _, _ in self._loads:
            if at & -PAGE <= offset < at + in_file:
                return int(address) - int(at)
        raise NotElf(f"nothing is loaded from its byte {offset}")

    def section(self, name: str) -> tuple[int, int] | None:
        """(address as linked, bytes) of the section, None where there is none; of a file only. Raises NotElf."""
        headers = self._section_headers()
        texts_index = self._sections[3]
        if texts_index >= len(headers):
            return None
        _, _, _, _, at, size, *_ = headers[texts_index]
        texts = self._read(at, min(size, MAX_TABLE))
        for text, _, _, address, _, length, *_ in headers:
            if texts[text : text + len(name) + 1] == name.encode() + b"\0":
                return address, length
        return None

    def _section_headers(self) -> "list[tuple[int, ...]]":
        at, size, count, _ = self._sections
        if self._base is not None or not at or size != _SECTION.size or count > MAX_HEADERS:
            return []
        return list(_SECTION.iter_unpack(self._read(at, size * count)))


class ElfFile:
    """An ELF file by its path; a context manager that gives its `Elf`. Raises OSError, NotElf."""

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Elf:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return Elf(self._exactly)
        except BaseException:
            os.close(self._fd)
            raise

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _exactly(self, position: int, size: int) -> bytes:
        found = os.pread(self._fd, size, position) if 0 <= position < TOP and 0 <= size <= MAX_TABLE else b""
        if len(found) != size:
            raise NotElf(f"it ends before byte {position + size}")
        return found


def mapped(memory: Memory, base: int) -> Elf:
    """The image whose first page is mapped at `base`. Its tables are read lazily: raises NotElf, at once or later."""

    def exactly(position: int, size: int) -> bytes:
        try:
            return memory.read(base + position, size)
        except Unreadable as gone:
            raise NotElf(f"its image can't be read: {gone}") from None

    return Elf(exactly, base)


def gnu_hash(name: bytes) -> int:
    """The hash of DT_GNU_HASH (glibc, sysdeps/generic/dl-new-hash.h)."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _in_symtab(table: bytes, texts: bytes, name: bytes) -> int | None:
    """The defined symbol `name` in .symtab: its text may be the tail of a longer one, so each place of it is tried."""
    at = texts.find(name + b"\0")
    for _ in range(MAX_CHAIN):
        if at < 0:
            return None
        place = table.find(_U32.pack(at))
        while place >= 0 and place % _SYMBOL.size:
            place = table.find(_U32.pack(at), place + 1)
        if place >= 0 and place + _SYMBOL.size <= len(table):
            _, _, _, section, address, _ = _SYMBOL.unpack_from(table, place)
            if section:
                return int(address)
        at = texts.find(name + b"\0", at + 1)
    return None
