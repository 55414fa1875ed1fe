"""Where a process is in machine code: the shared object and the symbol at an address, by its mappings and the symbols of its files.

Symbols are read from the files, `.symtab` and `.dynsym` (elf(5)), once a file; of a stripped file only what it exports is named. The
nearest function that begins at or below the address is taken, where its size says that it reaches so far.
"""

from bisect import bisect_right
from struct import Struct as Bytes

from msgspec import Struct

from pellucid.kernel import elf, maps
from pellucid.kernel.maps import Mapping
from pellucid.model.errors import LookError

MAX_SYMBOLS = 1 << 21

_SYMBOL = Bytes("<IBBHQQ")
_FUNCTIONS = frozenset({2, 10})  # STT_FUNC, STT_GNU_IFUNC


class Native(Struct, frozen=True):
    """`symbol` is "" where none is known; `path` as in the process's own root, "" for code that lies in no file (a JIT's)."""

    path: str
    symbol: str
    offset: int
    """In the file's addresses as linked."""


class Symbols:
    """The functions of one file, by address as linked."""

    def __init__(self, sections: tuple[tuple[bytes, bytes], ...]) -> None:
        """`sections`: (table, its strings) of each symbol table."""
        found: dict[int, tuple[int, bytes, int]] = {}
        for table, texts in sections:
            for text, info, _, section, value, size in _SYMBOL.iter_unpack(table[: len(table) // 24 * 24]):
                if info & 15 in _FUNCTIONS and section and value and len(found) < MAX_SYMBOLS:
                    found.setdefault(value, (size, texts, text))
        self._starts = sorted(found)
        self._found = found

    def at(self, address: int) -> str:
        """The name of the function that `address` lies in, "" for none."""
        number = bisect_right(self._starts, address) - 1
        if number < 0:
            return ""
        start = self._starts[number]
        size, texts, text = self._found[start]
        if size and address >= start + size:
            return ""
        end = texts.find(b"\0", text)
        return texts[text : end if end >= 0 else len(texts)].decode("utf-8", "replace")


class Places:
    """Names addresses of process `pid`. Mappings are read again when an address is met that lies in none."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._mappings: tuple[Mapping, ...] = ()
        self._starts: list[int] = []
        self._files: dict[tuple[str, int], tuple[Symbols, int] | None] = {}
        self._known: dict[int, Native | None] = {}

    def of(self, addresses: set[int]) -> None:
        """Finds out what lies at these, while the process is there; `at` then tells it also when it has ended."""
        new = [address for address in addresses if address not in self._known]
        if not new:
            return
        if any(self._mapping(address) is None for address in new):
            self._read()
        for address in new:
            self._known[address] = self._find(address)

    def at(self, address: int) -> Native | None:
        """What `of` has found out, None for nothing."""
        return self._known.get(address)

    def _read(self) -> None:
        try:
            found = maps.read(self._pid, "profile")
        except LookError:
            return  # it has ended: what is known stays
        self._mappings = tuple(mapping for mapping in found if "x" in mapping.permissions)
        self._starts = [mapping.start for mapping in self._mappings]

    def _mapping(self, address: int) -> Mapping | None:
        number = bisect_right(self._starts, address) - 1
        if number >= 0 and address < self._mappings[number].end:
            return self._mappings[number]
        return None

    def _find(self, address: int) -> Native | None:
        mapping = self._mapping(address)
        if mapping is None:
            return None
        if not mapping.of_file:
            return Native(mapping.path, "", address - mapping.start)
        key = (mapping.device, mapping.inode)
        if key not in self._files:
            self._files[key] = self._open(mapping)
        opened = self._files[key]
        if opened is None:
            return Native(mapping.path, "", address - mapping.start + mapping.offset)
        symbols, slide = opened
        linked = address - mapping.start + mapping.offset + slide
        return Native(mapping.path, symbols.at(linked), linked)

    def _open(self, mapping: Mapping) -> tuple[Symbols, int] | None:
        """(the symbols of the file, what to add to an offset in it for an address as linked); None where it can't be read."""
        for path in elf.paths(self._pid, mapping.start, mapping.end, mapping.path):
            try:
                with elf.ElfFile(path) as image:
                    return Symbols(image.functions()), image.slide(mapping.offset)
            except (OSError, elf.NotElf):
                continue
        return None
