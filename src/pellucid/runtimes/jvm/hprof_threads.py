"""The threads of a heap dump: which thread, in which method, holds an object by a local variable.

    root 0x03, 0x02  id  u4 thread  u4 frame         of a thread's frame (counted from the innermost one), of native code called from it
    root 0x08        id  u4 thread  u4 stack         the java.lang.Thread itself
    record 0x05      u4 stack  u4 thread  u4 count  frames         record 0x04  frame  method  signature  file  u4 class  i4 line

hprof_b_spec and heapDumper.cpp (VM_HeapDumper::dump_stack_traces, do_thread). Where the dump was written because memory had ended, the stack of
that thread begins with the constructor of the error, which the numbers of the frames do not count.
"""

import struct

import numpy as np

from pellucid.runtimes.jvm.hprof_heap import PRIMITIVES, ROOTS, Heap, value_of

_LOCAL, _JNI_LOCAL, _NATIVE, _BLOCK, _THREAD = 0x03, 0x02, 0x04, 0x06, 0x08
_OF_THREADS = {_LOCAL, _JNI_LOCAL, _NATIVE, _BLOCK, _THREAD}
_NO_FRAME = 0xFFFFFFFF
_MAX_NAME = 200
_LATIN1 = 0
_CHAR = 5


class Threads:
    """Made once for a dump; `root` says why an object is a root, with its thread and method where it is of one."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._records = heap.root_records()
        self._u4 = struct.Struct(">I").unpack_from
        self._after = 1 + heap.dump.id_size  # the tag and the id
        self._of_serial: dict[int, tuple[int, int]] | None = None

    def root(self, number: int) -> str:
        """`local variable of thread "main" in Orders.load (Orders.java:31)`, `class of the boot loader`; "" for what is no root."""
        record = self._records.get(number)
        if record is None:
            return ""
        tag = int(self._heap.root_tags[record])
        if tag not in _OF_THREADS:
            return ROOTS[tag]
        at = int(self._heap.root_at[record]) + self._after
        (serial,) = self._u4(self._heap.dump.map, at)
        if self._of_serial is None:
            self._of_serial = self._threads()
        thread, stack = self._of_serial.get(serial, (0, 0))
        name = self._name(thread) if thread else ""
        who = f'thread "{name}"' if name else "a thread"
        if tag == _THREAD:
            return who
        place = ""
        if tag in {_LOCAL, _JNI_LOCAL}:
            (frame,) = self._u4(self._heap.dump.map, at + 4)
            place = self._place(stack, frame) if frame != _NO_FRAME else ""
        return ROOTS[tag].removesuffix(" of a thread") + f" of {who}" + (f" in {place}" if place else "")

    def _threads(self) -> dict[int, tuple[int, int]]:
        """(id of the java.lang.Thread, number of its stack) by the number of the thread."""
        found = {}
        for record in np.flatnonzero(self._heap.root_tags == _THREAD).tolist():
            at = int(self._heap.root_at[record]) + self._after
            serial, stack = struct.unpack_from(">II", self._heap.dump.map, at)
            found[serial] = int(self._heap.root_ids[record]), stack
        return found

    def _place(self, stack: int, frame: int) -> str:
        frames = self._heap.dump.stack(stack)
        if frames and frames[0].type_name == "java.lang.OutOfMemoryError" and frames[0].method == "<init>":
            frames = frames[1:]
        return str(frames[frame]) if frame < len(frames) else ""

    def _name(self, id_: int) -> str:
        (number,) = self._heap.ids.numbers(np.array([id_], np.uint64)).tolist()
        return text(self._heap, _field(self._heap, number, "name")) if number >= 0 else ""


def text(heap: Heap, number: int) -> str:
    """What the String with this number says; "" for anything else. Before JDK 9 its characters have two bytes, since then one where they can."""
    if number < 0 or heap.type_name(number) not in {"java.lang.String", "char[]"}:
        return ""
    characters = number if heap.type_name(number) == "char[]" else _field(heap, number, "value")
    if characters < 0 or heap.kind[characters] != PRIMITIVES:
        return ""
    at, wide = int(heap.at[characters]), int(heap.type[characters]) == _CHAR
    raw = heap.dump.map[at : at + min(int(heap.elements[characters]) * (2 if wide else 1), 2 * _MAX_NAME)]
    if wide:
        return raw.decode("utf-16-be", "replace")[:_MAX_NAME]
    return raw.decode("latin-1" if _coder(heap, number) == _LATIN1 else "utf-16-le", "replace")[:_MAX_NAME]


def _coder(heap: Heap, number: int) -> int:
    for field in heap.classes.fields(int(heap.type[number])):
        if field.name == "coder" and field.offset < int(heap.elements[number]):
            return heap.dump.map[int(heap.at[number]) + field.offset]
    return _LATIN1


def _field(heap: Heap, number: int, name: str) -> int:
    """The number of the object that a field of an instance holds; -1 where there is none."""
    for field in heap.classes.fields(int(heap.type[number])) if heap.type[number] >= 0 else ():
        if field.name == name:
            (found,) = heap.ids.numbers(np.array([value_of(heap, number, field)], np.uint64)).tolist()
            return int(found)
    return -1
