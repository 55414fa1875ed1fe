"""The greenlets of a process that are switched out: where they are, what they seem to wait for, and who holds it."""

from pellucid.model import Holder
from pellucid.model.graph import Node, Waker
from pellucid.model.sync import Sync, Waiting
from pellucid.model.tree import Leaf
from pellucid.runtimes.cpython.greenlets import SwitchedOut, again, greenlets, holds_of
from pellucid.runtimes.cpython.holders import Hold
from pellucid.runtimes.cpython.sight import place_of
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.standard_library import own_frame
from pellucid.runtimes.cpython.sync import Sights

_LOCKS = frozenset({"Semaphore", "BoundedSemaphore", "RLock", "DummySemaphore"})


class GreenletLook:
    """All of them at one moment."""

    def __init__(self, sights: Sights) -> None:
        self._sights = sights
        self.all = greenlets(sights)
        self.steady: frozenset[int] = frozenset()
        self._by_address = {one.address: one for one in self.all}
        self._holds: dict[int, list[Hold]] = {}
        for one in self.all:
            for hold in holds_of(one, sights):
                self._holds.setdefault(hold.thing, []).append(hold)

    def look_again(self) -> None:
        self._sights.values.forget()
        self.steady = again(self.all, self._sights)

    def _sync(self, one: SwitchedOut) -> Sync:
        if one.on is None:
            return Sync("switched out")
        address, kind = one.on
        if kind == "timer":
            return Sync("sleep")
        if kind == "greenlet":
            other = self._by_address.get(address)
            return Sync("greenlet", other.name if other else None, "", address)
        main = self._sights.registry.module("__main__")
        name = self._sights.spelling.of(address, _outside(one), main)
        return Sync(f"gevent.{kind}", name or self._sights.spelling.of(address, one.frames), "", address)

    def _at(self, one: SwitchedOut) -> str:
        return place_of(own_frame(_outside(one)) or one.frames[0])

    def _held(self, one: SwitchedOut) -> list[Hold]:
        if one.on is None or one.on[1] not in _LOCKS:
            return []
        held = self._holds.get(one.on[0], [])
        owner = one.owner if one.owner in self._by_address and one.owner != one.address else 0
        if owner and all(hold.who != owner for hold in held):
            return [*held, Hold(owner, one.on[0], "", None, one.frames[0])]
        return held

    def nodes(self, pid: int, process: str) -> list[Node]:
        """As nodes of the graph of waits. That a greenlet waits for what its call works on is likely, and so is the holder's part."""
        return [self._node(one, pid, process) for one in self.all]

    def _node(self, one: SwitchedOut, pid: int, process: str) -> Node:
        sync, held = self._sync(one), self._held(one)
        steady = one.address in self.steady
        wakers = tuple(Waker(f"{pid}/greenlet/{hold.who:x}", "likely", _because(hold)) for hold in held)
        if wakers:
            wakers += (Waker(f"{pid}/hub", "possible", "whoever releases it"),)
        return Node(
            key=f"{pid}/greenlet/{one.address:x}",
            kind="greenlet",
            pid=pid,
            name=one.name,
            mode="or" if wakers and steady and not one.timed else "live",
            wakers=wakers,
            waiting=Waiting(
                thread=one.name,
                kind=sync.kind,
                object=sync.name,
                since_s=None,
                holders=tuple(Holder(pid, None, self._by_address[hold.who].name, "likely") for hold in held),
                at=self._at(one),
                pid=pid,
                tid=None,
                what="greenlet",
                steady=steady,
                timed=one.timed,
                sync=sync,
                process=process,
            ),
        )

    def leaves(self) -> list[Leaf]:
        return [Leaf("greenlet", one.name, None, str(self._sync(one)), self._at(one)) for one in self.all]


def _outside(one: SwitchedOut) -> list[Slots]:
    """Its frames without those of gevent."""
    return [frame for frame in one.frames if "/gevent/" not in frame.file]


def _because(hold: Hold) -> str:
    if not hold.file:
        return "owner of the RLock"
    return f"inside its `with` at {hold.file.rpartition('/')[2]}:{hold.line if hold.line is not None else '?'}"
