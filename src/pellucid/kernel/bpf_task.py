"""Where the kernel keeps a task's ids: found by looking at ourselves, so that no debug information is needed.

The tracepoint sched_process_fork gives programs two struct task_struct, whose fields lie elsewhere in every kernel build.
`pid` and `tgid` are neighbours in it (include/linux/sched.h), so a place in our own task_struct that holds our thread id and our
process id side by side is theirs. Where ids are small other fields may happen to hold the same two numbers; so two threads look, whose
two ids differ, and the place is the first that is right for both.
"""

import threading
from struct import Struct as Packing

from pellucid.kernel import bpf
from pellucid.kernel.bpf_assembler import (
    GET_CURRENT_PID_TGID,
    GET_CURRENT_TASK,
    MAP_LOOKUP,
    PROBE_READ_KERNEL,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R10,
    Assembler,
)

_PAGE = 4096
_PAGES = 4  # struct task_struct is 7 to 12 KiB long, CONFIG_* decides
_IDS = 8  # before the copy: what the helper says our ids are


class NotFound(Exception):  # noqa: N818
    """Our ids are not in the first 16 KiB of our task_struct."""


def ids_offset() -> int:
    """The offset of `pid` in struct task_struct; `tgid` follows it. Raises OSError, Refused, NotFound."""
    places = _from_a_thread() & _from_a_thread()
    if not places:
        raise NotFound
    return min(places)


def _from_a_thread() -> set[int]:
    found: list[set[int] | Exception] = []

    def look() -> None:
        try:
            found.append(_look())
        except (OSError, bpf.Refused) as error:
            found.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    (places,) = found
    if isinstance(places, Exception):
        raise places
    return places


def _look() -> set[int]:
    """Every place with the ids of this thread."""
    with (
        bpf.Map(bpf.ARRAY, 4, _IDS + _PAGES * _PAGE, 1, name=b"task") as copy,
        bpf.Program("task", _copy_own_task(copy.fd)) as program,
    ):
        program.run()
        seen = copy.get(bytes(4)) or bytes(_IDS)
    both: int = Packing("<Q").unpack_from(seen)[0]
    pattern = Packing("<II").pack(both & 0xFFFFFFFF, both >> 32)
    return {at - _IDS for at in range(_IDS, len(seen) - _IDS, 4) if seen[at : at + _IDS] == pattern}


def _copy_own_task(map_fd: int) -> bytes:
    code = Assembler()
    code.store(R10, -4, 0, 4)
    code.map_address(R1, map_fd)
    code.address(R2, R10, -4)
    code.call(MAP_LOOKUP)
    code.jump_if(R0, "==", 0, "out")
    code.move(R6, R0)
    code.call(GET_CURRENT_PID_TGID)
    code.store(R6, 0, R0)
    code.call(GET_CURRENT_TASK)
    code.move(R7, R0)
    for page in range(_PAGES):  # page by page: the last ones may not be readable
        code.address(R1, R6, _IDS + page * _PAGE)
        code.move(R2, _PAGE)
        code.address(R3, R7, page * _PAGE)
        code.call(PROBE_READ_KERNEL)
    code.label("out")
    code.leave(0)
    return code.assembled()
