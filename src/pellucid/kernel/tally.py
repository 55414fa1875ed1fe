"""The counts of a tracer that gets every call itself: what the BPF programs keep in maps, kept in dictionaries.

Equal failed calls are told once here too, under the same conditions, so that a report reads the same whoever looked.
"""

from collections.abc import Iterator

from pellucid.kernel.traced import Called, Failure, Moved, Total, Watch

MAX_KEPT = 1 << 16


class Tally:
    """Counts calls and decides which of them are worth telling."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._totals: dict[tuple[int, int, int], list[int]] = {}
        self._failures: dict[int, list[int]] = {}
        self._keys: dict[tuple[object, ...], int] = {}
        self._moved: dict[tuple[int, int], Moved] = {}
        self.lost: dict[str, int] = {}

    def interest(self, call: Called) -> bool:
        """Whether the call will be told if it is the first of its kind: then its stack is worth reading whole."""
        wanted = self._watch.wanted.get(call.number)
        return call.failed or self.is_slow(call.duration_ns) or (wanted is not None and wanted.tell)

    def is_slow(self, duration_ns: int) -> bool:
        return self._watch.slow_ns is not None and duration_ns >= self._watch.slow_ns

    def count(self, call: Called) -> Called | None:
        """Add the call to all counts; the record that is due, None where none is."""
        self._total(
            call.pid,
            call.number,
            call.stack,
            1,
            int(call.failed and not call.in_background),
            call.duration_ns,
            call.duration_ns,
        )
        return self.notice(call)

    def notice(self, call: Called) -> Called | None:
        """As `count`, for a call that is in the totals already."""
        wanted = self._watch.wanted.get(call.number)
        moved = self._count_moved(call) if self._watch.descriptors else None
        told = wanted is not None and wanted.tell
        slow = self.is_slow(call.duration_ns)
        key = 0
        new = True
        if call.failed:
            key, new = self._failure(call, fd_first=wanted is not None and wanted.fd_first)
        if not (slow or (told and not call.failed) or (call.failed and (new or (wanted is not None and wanted.every)))):
            return None
        return Called(
            call.pid,
            call.tid,
            call.number,
            call.arguments,
            call.result,
            call.ended_ns,
            call.duration_ns,
            call.path,
            call.second,
            call.address,
            call.stack,
            key,
            slow,
            moved,
        )

    def _total(self, pid: int, number: int, stack: int, calls: int, errors: int, total_ns: int, max_ns: int) -> None:
        counts = self._totals.get((pid, number, stack))
        if counts is None:
            if len(self._totals) >= MAX_KEPT:
                self.lose("totals", calls)
                return
            counts = self._totals[pid, number, stack] = [0, 0, 0, 0]
        counts[0] += calls
        counts[1] += errors
        counts[2] += total_ns
        counts[3] = max(counts[3], max_ns)

    def add(self, total: Total) -> None:
        """Counts that somebody has summed up already."""
        self._total(total.pid, total.number, total.stack, total.calls, total.errors, total.total_ns, total.max_ns)

    def _failure(self, call: Called, *, fd_first: bool) -> tuple[int, bool]:
        """(number of the failures equal to this one, whether it is the first of them)."""
        descriptor = call.arguments[0] if fd_first else 0
        same = (call.pid, call.number, call.result, call.stack, descriptor, call.path, call.second, call.address)
        return self.fail(same, 1, call.duration_ns, call.duration_ns, call.ended_ns)

    def fail(self, same: tuple[object, ...], count: int, total_ns: int, max_ns: int, last_ns: int) -> tuple[int, bool]:
        """Count failures that are equal in all of `same`."""
        key = self._keys.get(same)
        if key is None:
            if len(self._keys) >= MAX_KEPT:
                return 0, True
            key = self._keys[same] = len(self._keys) + 1
            self._failures[key] = [count, total_ns, max_ns, last_ns]
            return key, True
        counts = self._failures[key]
        counts[0] += count
        counts[1] += total_ns
        counts[2] = max(counts[2], max_ns)
        counts[3] = last_ns
        return key, False

    def _count_moved(self, call: Called) -> Moved | None:
        """Count the bytes of a read or write; give what went through a descriptor whose number this call frees or takes."""
        wanted = self._watch.wanted.get(call.number)
        if wanted is None or call.failed:
            return None
        if wanted.reads is not None:
            self._move(call, wanted.reads, Moved(1, call.result, 0, 0))
        if wanted.writes is not None:
            self._move(call, wanted.writes, Moved(0, 0, 1, call.result))
        if wanted.makes_fd:
            return self._moved.pop((call.pid, call.result), None)
        if wanted.closes is not None:
            return self._moved.pop((call.pid, call.arguments[wanted.closes] & 0xFFFFFFFF), None)
        return None

    def _move(self, call: Called, argument: int, moved: Moved) -> None:
        key = (call.pid, call.arguments[argument] & 0xFFFFFFFF)
        before = self._moved.get(key, Moved())
        self._moved[key] = before.plus(moved)

    def lose(self, what: str, count: int = 1) -> None:
        self.lost[what] = self.lost.get(what, 0) + count

    def totals(self) -> Iterator[Total]:
        for (pid, number, stack), counts in self._totals.items():
            yield Total(pid, number, stack, *counts)

    def failures(self) -> dict[int, Failure]:
        return {key: Failure(*counts) for key, counts in self._failures.items()}

    def moved(self) -> dict[tuple[int, int], Moved]:
        return dict(self._moved)
