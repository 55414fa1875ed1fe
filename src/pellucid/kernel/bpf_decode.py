"""The records that our programs leave in the ring, as values.

What comes here was written by our programs, out of foreign memory: the numbers that frame a record are ours, its content is
not. A record that is too short for what it says of itself is left out and counted.
"""

from struct import Struct as Packing
from struct import error as TooShort  # noqa: N812  what it means here

from pellucid.kernel.bpf_records import (
    CALL,
    CALLED,
    CODE,
    CODE_HEAD,
    EXECUTED,
    EXITED,
    FORK,
    FORKED,
    FRAME,
    HEAD,
    MAX_FRAMES,
    SEEN,
    STACK,
    STACK_HEAD,
    TABLE_ROOM,
)
from pellucid.kernel.traced import Called, CodeTold, Executed, Exited, Forked, Moved, StackTold, Told

_KIND = Packing("<I")


class Decoder:
    """Decodes records, and learns from them which pid, as we see it, belongs to which of the kernel's own numbers."""

    def __init__(self) -> None:
        self.pids: dict[int, int] = {}
        self.tgids: dict[int, int] = {}
        self.garbled = 0
        self._born: dict[int, tuple[int, int]] = {}

    def record(self, raw: bytes) -> Told | None:
        """What one record tells; None for what is only for the decoder."""
        try:
            kind = _KIND.unpack_from(raw)[0]
            if kind == STACK:
                return _stack(raw)
            if kind == CALLED:
                return _called(raw)
            if kind == CODE:
                return _code(raw)
            _, tgid, pid, _, at = HEAD.packing.unpack_from(raw)
            if kind == FORKED:
                return self._forked(raw)
            if kind == SEEN:
                return self._seen(tgid, pid)
        except TooShort:
            self.garbled += 1
            return None
        if kind == EXECUTED:
            return Executed(pid, at)
        if kind == EXITED:
            return Exited(pid, at)
        self.garbled += 1
        return None

    def _forked(self, raw: bytes) -> Forked | None:
        """In a pid namespace the child's number there shows at its first call only."""
        _, _, pid, _, at, child, known = FORK.packing.unpack_from(raw)
        if not known:
            self._born[child] = (pid, at)
            return None
        self.tgids[known] = child
        return Forked(pid, known, at)

    def _seen(self, tgid: int, pid: int) -> Told:
        self.pids[tgid] = pid
        self.tgids[pid] = tgid
        parent = self._born.pop(tgid, None)
        if parent is not None:
            return Forked(parent[0], pid, parent[1])
        return Executed(pid, 0)  # a process that was awaited: nothing is known of its program yet


def _called(raw: bytes) -> Called:
    (
        _, _, pid, tid, at, duration, stack, key, number, slow,
        r10, r9, r8, result, _, dx, si, di, _, _, _,
        reads, read_bytes, writes, written_bytes, path, second, address, _,
    ) = CALL.packing.unpack_from(raw)  # fmt: skip
    begin = CALL.size
    middle = begin + path
    end = middle + second
    return Called(
        pid,
        tid,
        number,
        (di, si, dx, r10, r8, r9),
        result - (1 << 64) if result >> 63 else result,
        at,
        duration,
        raw[begin : middle - 1] if path else None,
        raw[middle : end - 1] if second else None,
        raw[end : end + address] if address else None,
        stack,
        key,
        bool(slow),
        Moved(reads, read_bytes, writes, written_bytes) if reads or writes else None,
    )


def _stack(raw: bytes) -> StackTold:
    _, _, pid, _, _, stack, count, _ = STACK_HEAD.packing.unpack_from(raw)
    frames = raw[STACK_HEAD.size : STACK_HEAD.size + min(count, MAX_FRAMES) * FRAME.size]
    if len(frames) % FRAME.size:
        raise TooShort
    return StackTold(stack, pid, frames, cut=count >= MAX_FRAMES)


def _code(raw: bytes) -> CodeTold:
    _, _, pid, _, _, identity, address, size, torn, head, file, name, qualname = CODE_HEAD.packing.unpack_from(raw)
    table = raw[CODE_HEAD.size : CODE_HEAD.size + min(size, TABLE_ROOM)]
    whole = not torn and size == len(table)
    return CodeTold(identity, pid, address, head, file, name, qualname, table, whole)
