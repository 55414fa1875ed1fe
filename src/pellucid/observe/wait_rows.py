"""One row of `pellucid waits`: a thread with the thing it waits for by its name, since when, at which line, and who could end it."""

import time
from collections.abc import Mapping

from pellucid.model import Holder, Wait
from pellucid.model.graph import Waker
from pellucid.model.sync import Blocked, Held, Waiting
from pellucid.observe.blocked import Seen

_KINDS = {"gil": "GIL"}
_SERVE = frozenset({"loop", "service", "worker"})  # that they are woken from within is how they work
_STOPPED = frozenset({"stopped", "traced"})


class Rows:
    """Tells the waits of the processes that were looked at."""

    def __init__(self, seen: Mapping[int, Seen]) -> None:
        self._seen = seen

    def of(self, each: Seen, tid: int, wait: Wait | None, wakers: tuple[Waker, ...], *, steady: bool) -> Waiting | None:
        """The row of one thread, None for one that runs; `wakers` are those that its node has in the graph."""
        stopped = each.tasks[tid].state in _STOPPED
        if wait is None:
            return self._halted(each, tid) if stopped else None
        blocked = each.blocked.get(tid)
        sync = blocked.sync if blocked else None
        polls = blocked is not None and wait.kind == "sleep"  # it looks now and then whether its child has ended
        held = [one for one in blocked.holders if one.tid != tid or one.confidence == "certain"] if blocked else []
        holders = [self._holder(each, one) for one in held]
        if wait.kind == "gil":
            holders += (Holder(each.pid, one, each.name(one), "likely") for one in each.with_gil() if one != tid)
        if sync is None or (blocked is not None and blocked.role not in _SERVE):
            holders += self._itself(each, wakers)
        holders += self._others(each, wakers, {(one.pid, one.tid) for one in holders})
        return Waiting(
            thread=each.name(tid),
            kind=sync.kind if sync else _KINDS.get(wait.kind, wait.kind),
            object=(sync.name if sync else None) or _words(wait),
            since_s=None if polls else wait.since_s,
            holders=tuple(holders),
            at=blocked.at if blocked else each.place(tid),
            pid=each.pid,
            tid=tid,
            call=wait.call,
            detail=sync.detail if sync else "",
            timed=wait.timed,
            left_s=None if stopped else self._left(wait, blocked),
            daemon=each.daemon(tid),
            steady=steady,
            evidence=blocked.evidence if blocked else (),
            role=blocked.role if blocked else wait.watched[0].wants if wait.watched else wait.kind,
            sync=sync,
            process=each.process_name,
            stopped=stopped,
        )

    def _left(self, wait: Wait, blocked: Blocked | None) -> float | None:
        if blocked is None or wait.kind != "sleep":
            return wait.left_s
        return max(0.0, blocked.until - time.monotonic()) if blocked.until is not None else None

    def _halted(self, each: Seen, tid: int) -> Waiting:
        """It ran when its process was stopped."""
        return Waiting(
            thread=each.name(tid),
            kind="stopped",
            object=None,
            since_s=None,
            holders=(),
            at=each.place(tid),
            pid=each.pid,
            tid=tid,
            daemon=each.daemon(tid),
            process=each.process_name,
            stopped=True,
        )

    def _holder(self, each: Seen, held: Held) -> Holder:
        name = each.name(held.tid) if held.tid is not None else "a thread that is not in this process"
        certain = held.confidence == "certain" and (held.tid is None or each.steady(held.tid))
        # A holder that moved during the look had it at one moment, and may have given it back since.
        return Holder(
            each.pid,
            held.tid,
            name,
            "certain" if certain else held.confidence if held.confidence == "possible" else "likely",
        )

    def _itself(self, each: Seen, wakers: tuple[Waker, ...]) -> list[Holder]:
        """The process, where nobody else is concerned: it has the other end of its own pipe, or the lock on a file of its own."""
        if wakers and all(waker.key == f"{each.pid}/any" and waker.because for waker in wakers):
            return [Holder(each.pid, None, "this process itself", wakers[0].confidence)]
        return []

    def _others(self, each: Seen, wakers: tuple[Waker, ...], known: set[tuple[int, int | None]]) -> list[Holder]:
        """Those of other processes, and threads to be joined, that the wait needs; the likeliest word for each comes first."""
        found: dict[tuple[int, int | None], Holder] = {}
        for waker in wakers:
            pid_text, _, rest = waker.key.partition("/")
            pid = int(pid_text) if pid_text.isdigit() else 0
            other = self._seen.get(pid)
            if rest.isdigit():
                tid: int | None = int(rest)
                name = other.name(int(rest)) if other else f"tid {rest}"
                if pid != each.pid:
                    name = f"{name} of {other.called if other else f'pid {pid}'}"
            elif pid and pid != each.pid:
                tid, name = None, other.called if other else f"pid {pid}"
            else:
                continue
            if (pid, tid) not in known:
                found.setdefault((pid, tid), Holder(pid, tid, name, waker.confidence))
        return list(found.values())


def _words(wait: Wait) -> str | None:
    if not wait.watched:
        return None
    first = wait.watched[0]
    return f"fd {first.fd} ({first.what})" + (f" and {len(wait.watched) - 1} more" if len(wait.watched) > 1 else "")
