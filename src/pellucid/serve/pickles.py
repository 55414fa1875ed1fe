"""What a pickle would import, read off without loading it: a pickle is a program, and loading it runs whatever it names.

    would import  preprocessing.PreProcessing   (not installed here)
    would import  sklearn.pipeline.Pipeline
    made by scikit-learn 1.9.1

The walk follows the stack and the memo of the pickle machine (Lib/pickletools.py describes each opcode), so that a name which was put aside
and fetched again later is seen too. A name that is computed while loading can't be read off, nor what follows the raw arrays that joblib writes
in between: that is told.
"""

import bz2
import lzma
import pickletools
import zlib
from importlib.util import find_spec
from typing import Any

from msgspec import Struct

MOST_UNPACKED = 256 << 20
"""Bytes of a compressed pickle that are looked at."""
_ZLIB_OR_GZIP = 47
_MARK = object()
_UNKNOWN = object()
_TEXT = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
)
_RUNS_ANYTHING = frozenset(
    {
        "os",
        "posix",
        "nt",
        "subprocess",
        "sys",
        "runpy",
        "importlib",
        "shutil",
        "socket",
        "pty",
        "ctypes",
        "code",
        "webbrowser",
        "pip",
        "pickle",
        "_pickle",
        "dill",
        "cloudpickle",
        "marshal",
        "types",
        "pdb",
        "pydoc",
        "timeit",
        "cProfile",
        "profile",
        "multiprocessing",
    }
)
_RAW = "ArrayWrapper"
"""joblib's classes of which one says: here come the bytes of an array. Numbers may look like opcodes, its end too."""
_BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "getattr", "open", "breakpoint", "input"})


class Global(Struct, frozen=True):
    """`module.name` that loading would import. `missing`: no such module here; `dangerous`: it can run anything."""

    module: str
    name: str
    missing: bool
    dangerous: bool

    def __str__(self) -> str:
        marks = [
            text
            for text, is_so in (("not installed here", self.missing), ("can run anything", self.dangerous))
            if is_so
        ]
        return f"{self.module}.{self.name}" + (f"  ({'; '.join(marks)})" if marks else "")


class Preflight(Struct, frozen=True):
    """`unreadable` says why the rest could not be read; "" where all was."""

    globals: tuple[Global, ...]
    sklearn: str
    unreadable: str = ""

    def lines(self) -> list[str]:
        told = [f"would import  {one}" for one in self.globals]
        if self.sklearn:
            told.append(f"made by scikit-learn {self.sklearn}")
        if self.unreadable:
            told.append(f"not all of it can be read: {self.unreadable}")
        return told


def preflight(content: bytes) -> Preflight:
    """Walk the pickle; nothing of it is loaded or imported."""
    walk = _Walk()
    unreadable = ""
    place = 0
    try:
        content = _unpacked(content)
        for opcode, argument, position in pickletools.genops(content):
            walk.step(opcode, argument)
            place = position or 0
    except Exception as error:  # noqa: BLE001  whatever garbage raises in the walk: it is no pickle that we can read
        unreadable = f"{type(error).__name__}: {error}"
    else:
        if place + 1 < len(content):
            unreadable = f"{len(content) - place - 1} bytes follow its end"
    if any(_RAW in f"{module}.{name}" for module, name in walk.found):
        unreadable = "raw arrays lie within it, and what follows the first of them is not seen"
    if walk.computed:
        unreadable = unreadable or f"names that are computed while loading: {walk.computed}"
    return Preflight(tuple(_global(*pair) for pair in sorted(walk.found)), walk.sklearn, unreadable)


def _unpacked(content: bytes) -> bytes:
    """What joblib has compressed (joblib/compressor.py), as far as it is not far larger than any model. Raises what the decompressors raise."""
    if content[:1] == b"x" or content[:2] == b"\x1f\x8b":
        return zlib.decompressobj(_ZLIB_OR_GZIP).decompress(content, MOST_UNPACKED)
    if content[:3] == b"BZh":
        return bz2.BZ2Decompressor().decompress(content, MOST_UNPACKED)
    if content[:2] == b"\x5d\x00" or content[:6] == b"\xfd7zXZ\x00":
        return lzma.LZMADecompressor().decompress(content, MOST_UNPACKED)
    return content


class _Walk:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.found: set[tuple[str, str]] = set()
        self.computed = 0
        self.sklearn = ""
        self._version_next = False

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _TEXT:
            self._text(str(argument))
        elif name in {"GLOBAL", "INST"}:
            self.found.add(tuple(str(argument).split(" ", 1)))  # type: ignore[arg-type]
            self._generic(opcode)
        elif name == "STACK_GLOBAL":
            module, attribute = self.stack[-2], self.stack[-1]
            if isinstance(module, str) and isinstance(attribute, str):
                self.found.add((module, attribute))
            else:
                self.computed += 1
            self._generic(opcode)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self.memo[int(argument)] = self.stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self.stack.append(self.memo[int(argument)])
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        elif name in {"EXT1", "EXT2", "EXT4"}:
            self.computed += 1
            self.stack.append(_UNKNOWN)
        else:
            self._generic(opcode)

    def _text(self, text: str) -> None:
        self.stack.append(text)
        if self._version_next:
            self.sklearn = text
        self._version_next = text == "_sklearn_version"

    def _generic(self, opcode: pickletools.OpcodeInfo) -> None:
        """Take what the opcode takes and put what it puts."""
        before = opcode.stack_before
        if pickletools.markobject in before:
            while self.stack.pop() is not _MARK:
                pass
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            self.stack.pop()
        for put in opcode.stack_after:
            self.stack.append(_MARK if put is pickletools.markobject else _UNKNOWN)


def _global(module: str, name: str) -> Global:
    top = module.partition(".")[0]
    try:
        missing = bool(module) and find_spec(top) is None
    except (ImportError, ValueError):
        missing = True
    parts = {
        top,
        *name.split("."),
    }  # since protocol 4 a name may lead on: `joblib.os.system` of a module that has joblib
    dangerous = not parts.isdisjoint(_RUNS_ANYTHING) or (
        top in {"builtins", "__builtin__"} and not parts.isdisjoint(_BUILTINS)
    )
    return Global(module, name, missing, dangerous)
