"""Python stacks of system calls: what the tracer has to know to walk them, and what frames its addresses are.

The walk is made while the thread is in its call (`kernel.bpf_python`); here its result gets names and lines. The process may
have ended since, so everything comes from what was copied then; only what a code object had too much of is asked from the
process itself, while it is there.
"""

from struct import Struct as Bytes
from struct import error

from pellucid.kernel.bpf_python import FRAME_BYTES, NAMES_BYTES, StackLayout
from pellucid.kernel.bpf_records import CODE_ROOM
from pellucid.kernel.memory import Unreadable
from pellucid.kernel.traced import CodeTold, RawFrame
from pellucid.model import Frame
from pellucid.runtimes.cpython.codes import Code
from pellucid.runtimes.cpython.debug_offsets import Garbled, Layout
from pellucid.runtimes.cpython.frames import OWNED_BY_GENERATOR
from pellucid.runtimes.cpython.process import CPython

_U64 = Bytes("<Q")
_U32 = Bytes("<I")
_I32 = Bytes("<i")
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
_MAX_TEXT = 1 << 20


def stack_layout(runtime: int, layout: Layout) -> StackLayout:
    """What the tracer needs of the build whose _PyRuntime is at `runtime`. Raises Garbled where it is not built as expected."""
    names = layout["code_object.filename"]
    order = [layout[f"code_object.{name}"] - names for name in ("filename", "name", "qualname", "linetable")]
    if order != list(range(0, NAMES_BYTES, 8)):
        raise Garbled(f"the names of a code object lie {order} bytes apart")
    by_cframe = layout.minor < 13
    found = StackLayout(
        runtime=runtime,
        interpreters_head=layout["runtime_state.interpreters_head"],
        interpreter_next=layout["interpreter_state.next"],
        threads_head=layout["interpreter_state.threads_head"],
        thread_next=layout["thread_state.next"],
        native_id=layout["thread_state.native_thread_id"],
        thread_frame=layout["thread_state.cframe" if by_cframe else "thread_state.current_frame"],
        by_cframe=int(by_cframe),
        cframe_frame=layout["cframe.current_frame"] if by_cframe else 0,
        frame_code=layout["interpreter_frame.executable"],
        frame_previous=layout["interpreter_frame.previous"],
        frame_instruction=layout["interpreter_frame.instr_ptr"],
        frame_owner=layout["interpreter_frame.owner"],
        code_names=names,
        code_size=layout["code_object.co_code_adaptive"],
    )
    within_frame = max(found.frame_code, found.frame_previous, found.frame_instruction) + 8
    if max(within_frame, found.frame_owner + 1) > FRAME_BYTES or found.code_size > CODE_ROOM:
        raise Garbled("its frames or code objects are larger than any version's")
    return found


class Naming:
    """The names and lines of one build's code objects. `cpython` is asked for what was not copied whole; None when it is gone."""

    def __init__(self, layout: Layout, cpython: CPython | None) -> None:
        self._layout = layout
        self._cpython = cpython
        self._codes: dict[int, Code | None] = {}

    def told(self, code: CodeTold) -> None:
        """Keep a code object under its identity."""
        try:
            self._codes[code.identity] = self._read(code)
        except (error, UnicodeDecodeError, Unreadable):
            self._codes[code.identity] = None

    def frame(self, raw: RawFrame) -> Frame | None:
        """The frame, None where CPython itself would not show it. Raises KeyError where its code object was not told."""
        code = self._codes[raw.identity]
        if code is None:
            return None
        unit = (raw.instruction - raw.code - self._layout["code_object.co_code_adaptive"]) >> 1
        if unit < code.first_traceable and raw.owner != OWNED_BY_GENERATOR:
            return None  # it has not begun: Include/internal/pycore_frame.h, _PyFrame_IsIncomplete
        return Frame(code.name, code.qualname, code.file, code.lines.at(unit))

    def _read(self, told: CodeTold) -> Code | None:
        layout = self._layout
        if self._cpython is not None and not self._is_code(_U64.unpack_from(told.head, layout["pyobject.ob_type"])[0]):
            return None
        table = told.table
        if not told.whole and self._cpython is not None:
            again = self._cpython.codes.code(told.address)
            if again is not None:
                return again
        first = _I32.unpack_from(told.head, layout["code_object.firstlineno"])[0]
        traceable = _I32.unpack_from(told.head, layout["code_object.firsttraceable"])[0]
        texts = (self._text(told.name), self._text(told.qualname), self._text(told.file))
        return Code((told.address, first), texts, traceable, table)

    def _is_code(self, kind: int) -> bool:
        """Whether the type at `kind` is `code`; true also where it can no longer be asked."""
        assert self._cpython is not None
        try:
            return self._cpython.objects.type_name(kind) == "code"
        except Unreadable:
            return True

    def _text(self, raw: bytes) -> str:
        """A str object as bytes; it ends with `…` where not all of it was copied."""
        layout = self._layout
        length: int = _U64.unpack_from(raw, layout["unicode_object.length"])[0]
        state: int = _U32.unpack_from(raw, layout["unicode_object.state"])[0]
        width = state >> layout["unicode_object.kind_bit"] & 7
        if width not in _CODECS or length > _MAX_TEXT or not state >> layout["unicode_object.compact_bit"] & 1:
            return "?"
        ascii_only = state >> layout["unicode_object.ascii_bit"] & 1
        start = layout["unicode_object.asciiobject_size" if ascii_only else "unicode_object.compactunicodeobject_size"]
        content = raw[start : start + length * width]
        content = content[: len(content) // width * width]
        text = content.decode(_CODECS[width], "replace")
        return text if len(text) >= length else text + "…"
