"""Python stacks of system calls: what the tracer has to know to walk them, and which frames its addresses are.

The walk is made while the thread is in its call (`kernel.bpf_python`); here its result gets names and lines. The process may
have ended since, so everything comes from what was copied then; only of a code object that was not copied whole the rest is
asked from the process itself, while it is there.
"""

from struct import Struct as Bytes
from struct import error

from msgspec import Struct

from pellucid.kernel import maps
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.kernel.procfs import failed, read_file
from pellucid.kernel.stack_layout import BEFORE_NAMES, CODE_ROOM, FRAME_BYTES, NAMES_BYTES, STATE_BYTES, StackLayout
from pellucid.kernel.traced import FRAME, OWNER_SHIFT, CodeTold, StackTold
from pellucid.model import Frame
from pellucid.model.errors import NotUnderstood
from pellucid.runtimes.cpython import check, locate
from pellucid.runtimes.cpython.codes import MAX_LINETABLE, Code
from pellucid.runtimes.cpython.debug_offsets import MAX_SIZE, Garbled, Layout, layout, published
from pellucid.runtimes.cpython.frames import OWNED_BY_GENERATOR
from pellucid.runtimes.cpython.layouts import table
from pellucid.runtimes.cpython.objects import Objects
from pellucid.runtimes.cpython.recognise import spelt

_U64 = Bytes("<Q")
_U32 = Bytes("<I")
_I32 = Bytes("<i")
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
_MAX_TEXT = 1 << 20
_MOST_UNDECODED = 1 << 13
_ADDRESS = (1 << OWNER_SHIFT) - 1

UNTOLD = Frame("?", "?", "?", None)
"""A frame whose code object found no room in the ring."""


class Build(Struct, frozen=True):
    """A CPython in a process: its name (`CPython 3.13.0`), where its fields lie, and what the tracer needs of that."""

    name: str
    layout: Layout
    stacks: StackLayout


def build_of(memory: Memory, *, named: bool) -> Build | None:
    """The CPython in this process, also while it starts and has no thread yet. None where there is none (yet).

    `named`: look only where a mapped file has `python` in its name, which is quick: for the first moments of a program.
    Raises NoSuchProcess, NotPermitted; NotUnderstood where there is a CPython that can't be read.
    """
    if named and not _names_python(memory.pid):
        return None
    mappings = maps.read(memory.pid, "syscalls")
    for found in locate.runtimes(memory, mappings):
        try:
            head = memory.read_some(found.runtime, MAX_SIZE)
        except Unreadable:
            continue  # its pages are being mapped, or it has just ended
        own = published(head)
        version = own.version if own else found.version
        name = f"CPython {spelt(version)}" if version else f"CPython {locate.told_by_name(mappings) or 'before 3.11'}"
        known = table(version >> 16 & 255) if version and version >> 24 == 3 else None
        if known is None or (own and own.free_threaded):
            raise _unreadable(memory.pid, name, "it is a free-threaded build" if known else "there is no table for it")
        try:
            fitting = layout(known, head)
            return Build(name, fitting, stack_layout(found.runtime, fitting))
        except Garbled as wrong:
            raise _unreadable(memory.pid, name, str(wrong)) from None
    return None


def _names_python(pid: int) -> bool:
    """A quarter of the time that it takes to read the mappings."""
    try:
        return b"python" in read_file(f"/proc/{pid}/maps", 1 << 20)
    except OSError as error:
        raise failed(pid, f"read the mappings of pid {pid}", error, "syscalls") from error


def fits(memory: Memory, build: Build) -> str:
    """What does not add up between the process and the table of its build, "" when all does; Garbled while it starts too."""
    try:
        check.fits(memory, build.layout, build.stacks.runtime)
    except (Garbled, Unreadable) as wrong:
        return str(wrong)
    return ""


def _unreadable(pid: int, name: str, why: str) -> NotUnderstood:
    return NotUnderstood(
        pid,
        tried=f"read the Python lines of pid {pid}",
        said=f"it runs {name}: {why}",
        remedy=f"pellucid info {pid}  (what it is)",
        found=name,
    )


def stack_layout(runtime: int, found: Layout) -> StackLayout:
    """What the tracer needs of the build whose _PyRuntime is at `runtime`. Raises Garbled where it is not built as expected."""
    names = found["code_object.filename"]
    order = [found[f"code_object.{name}"] - names for name in ("filename", "name", "qualname", "linetable")]
    if order != list(range(0, NAMES_BYTES, 8)) or names - found["code_object.firstlineno"] not in range(
        4, BEFORE_NAMES
    ):
        raise Garbled(f"the names of a code object lie {order} bytes apart")
    by_cframe = found.minor < 13
    counter, least = _code_counter(found)
    stacks = StackLayout(
        runtime=runtime,
        interpreters_head=found["runtime_state.interpreters_head"],
        interpreter_next=found["interpreter_state.next"],
        threads_head=found["interpreter_state.threads_head"],
        thread_next=found["thread_state.next"],
        native_id=found["thread_state.native_thread_id"],
        state_interpreter=found["thread_state.interp"],
        code_counter=counter,
        code_counter_least=least,
        thread_frame=found["thread_state.cframe" if by_cframe else "thread_state.current_frame"],
        by_cframe=int(by_cframe),
        cframe_frame=found["cframe.current_frame"] if by_cframe else 0,
        frame_code=found["interpreter_frame.executable"],
        frame_previous=found["interpreter_frame.previous"],
        frame_instruction=found["interpreter_frame.instr_ptr"],
        frame_owner=found["interpreter_frame.owner"],
        code_names=names,
        code_size=found["code_object.co_code_adaptive"],
    )
    within_frame = max(stacks.frame_code, stacks.frame_previous, stacks.frame_instruction) + 8
    if max(within_frame, stacks.frame_owner + 1) > FRAME_BYTES or stacks.code_size > CODE_ROOM:
        raise Garbled("its frames or code objects are larger than any known version's")
    if max(stacks.thread_frame, stacks.native_id, stacks.state_interpreter) + 8 > STATE_BYTES:
        raise Garbled("its thread states are larger than any known version's")
    return stacks


def _code_counter(found: Layout) -> tuple[int, int]:
    """`StackLayout.code_counter` and `code_counter_least`; no build publishes where 3.13 has its own, so a small one is not believed.

    3.14: `_code_object_generation`, Include/internal/pycore_interp_structs.h; 3.13: `func_state.next_version`, pycore_interp.h. 3.12 counts
    in a variable that no struct has (`_Py_next_func_version`), 3.11 not at all.
    """
    if found.minor >= 14:
        return found["interpreter_state.code_object_generation"], 1
    return found.get("interpreter_state.next_code_version") or 0, 256


class Naming:
    """The names and lines of code objects, by their identity; each is decoded once, and what was copied whole only when it is asked for.

    While the program runs that is one thing less which its tracer does beside it.
    """

    def __init__(self) -> None:
        self._undecoded: dict[int, tuple[CodeTold, Build]] = {}
        self._codes: dict[int, tuple[Code, int] | None] = {}
        self._frames: dict[tuple[int, int], Frame | None] = {}
        self._types: dict[int, tuple[Memory, set[int]]] = {}

    def told(self, code: CodeTold, build: Build, memory: Memory | None) -> None:
        """Keep a code object. `memory` of its process is asked for what was not copied whole; None when it has ended."""
        types = self._types_of(code.pid, memory) if memory else set()
        sure = code.whole and (memory is None or _kind(code, build.layout) in types)
        if sure and len(self._undecoded) < _MOST_UNDECODED:
            self._undecoded[code.identity] = (code, build)
            self._codes[code.identity] = None
        else:
            self._decode(code, build, memory, types)

    def _decode(self, code: CodeTold, build: Build, memory: Memory | None, types: set[int]) -> None:
        try:
            found = _read(code, build.layout, memory, types)
        except (error, UnicodeDecodeError, Unreadable):
            found = None
        start = code.address + build.layout["code_object.co_code_adaptive"]
        self._codes[code.identity] = (found, start) if found else None

    def _types_of(self, pid: int, memory: Memory) -> set[int]:
        """Addresses of the type `code`, mostly one, in the program that has this memory."""
        known = self._types.get(pid)
        if known is None or known[0] is not memory:
            known = self._types[pid] = (memory, set())
        return known[1]

    def frames(self, stack: StackTold) -> tuple[Frame, ...]:
        """The frames of a stack, innermost first; `UNTOLD` stands for those whose code object was not told."""
        found = []
        for identity, _, instruction in FRAME.iter_unpack(stack.frames):
            key = (identity, instruction)
            frame = self._frames[key] if key in self._frames else self._frame(identity, instruction)
            if frame is not None:
                found.append(frame)
        return tuple(found)

    def _frame(self, identity: int, instruction: int) -> Frame | None:
        """None for what CPython itself would not show."""
        if identity not in self._codes:
            return UNTOLD
        if identity in self._undecoded:
            code, build = self._undecoded.pop(identity)
            self._decode(code, build, None, set())
        known = self._codes[identity]
        frame = None
        if known is not None:
            decoded, start = known
            unit = ((instruction & _ADDRESS) - start) >> 1
            # A frame that has not begun is not shown: Include/internal/pycore_frame.h, _PyFrame_IsIncomplete.
            if unit >= decoded.first_traceable or instruction >> OWNER_SHIFT == OWNED_BY_GENERATOR:
                frame = Frame(decoded.name, decoded.qualname, decoded.file, decoded.lines.at(unit))
        self._frames[identity, instruction] = frame
        return frame


def _read(told: CodeTold, found: Layout, memory: Memory | None, types: set[int]) -> Code | None:
    """None where something else than a code object was copied. `types` are known to be `code`; what is seen to be it is added.

    Raises Unreadable, struct.error.
    """
    kind = _kind(told, found)
    lines = told.table
    if memory is not None and not (told.whole and kind in types):
        objects = Objects(memory, found)
        try:
            if objects.type_name(kind) != "code":
                return None
            types.add(kind)
            if not told.whole:
                at: int = _U64.unpack_from(told.head, found["code_object.linetable"])[0]
                lines = objects.data(at, MAX_LINETABLE)
        except Unreadable:
            pass  # it has ended meanwhile: the copy is what there is
    first: int = _I32.unpack_from(told.head, found["code_object.firstlineno"])[0]
    traceable: int = _I32.unpack_from(told.head, found["code_object.firsttraceable"])[0]
    texts = (_text(told.name, found), _text(told.qualname, found), _text(told.file, found))
    return Code((told.address, first), texts, traceable, lines, 0)


def _kind(told: CodeTold, found: Layout) -> int:
    """The address of its type; 0 where so little was copied that it has none."""
    at = found["pyobject.ob_type"]
    kind: int = _U64.unpack_from(told.head, at)[0] if len(told.head) >= at + 8 else 0
    return kind


def _text(raw: bytes, found: Layout) -> str:
    """A str object as bytes; the text ends with `…` where not all of it was copied."""
    length: int = _U64.unpack_from(raw, found["unicode_object.length"])[0]
    state: int = _U32.unpack_from(raw, found["unicode_object.state"])[0]
    width = state >> found["unicode_object.kind_bit"] & 7
    if width not in _CODECS or length > _MAX_TEXT or not state >> found["unicode_object.compact_bit"] & 1:
        return "?"
    is_ascii = state >> found["unicode_object.ascii_bit"] & 1
    start = found["unicode_object.asciiobject_size" if is_ascii else "unicode_object.compactunicodeobject_size"]
    content = raw[start : start + length * width]
    text = content[: len(content) // width * width].decode(_CODECS[width], "replace")
    return text if len(text) >= length else text + "…"
