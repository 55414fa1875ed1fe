"""The names of what threads wait for, for a single look: `Lock self.lock (ThreadPool.lock)`, held by `visitor_1`.

The holders are those of this process, told from one reading of the memory; what changed during it may be told wrongly, and what
never goes on is for `waits` and `why` to say, which look twice.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pellucid.model import Gap, Holder, Stack, Thread
from pellucid.model.sync import Blocked
from pellucid.observe.stacks import Look
from pellucid.runtimes.cpython import CPython
from pellucid.runtimes.cpython.sync import Sights

if TYPE_CHECKING:
    from pellucid.observe.jvm_waits import JavaSights


def named(look: Look, threads: tuple[Thread, ...], stacks: Mapping[int, Stack]) -> tuple[Thread, ...]:
    """The same threads; those that wait for a thing of the program have its name and its holders in their wait."""
    java = look.java
    if java is not None:
        return tuple(_named_by_java(look, java, thread) for thread in threads)
    if not isinstance(look.runtime, CPython) or not any(
        thread.wait and thread.wait.kind == "lock" for thread in threads
    ):
        return threads
    sights = Sights(look.runtime, stacks.values())
    if sights.unread:
        look.gaps.append(Gap(f"what {len(sights.unread)} Python threads hold", "their stacks did not hold still"))
    return tuple(_named(look.pid, thread, sights) for thread in threads)


def _named(pid: int, thread: Thread, sights: Sights) -> Thread:
    wait = thread.wait
    if wait is None or wait.kind != "lock" or wait.address is None:
        return thread
    blocked = sights.blocked(thread.tid, wait.address)
    if blocked is None or blocked.sync is None:
        return thread
    return replace(thread, wait=replace(wait, object=str(blocked.sync), holders=_holders(pid, blocked, sights)))


def _named_by_java(look: Look, java: "JavaSights", thread: Thread) -> Thread:
    wait, blocked = thread.wait, java.blocked(thread.tid)
    if wait is None or wait.kind != "lock" or blocked is None or blocked.sync is None:
        return thread
    holders = tuple(
        Holder(look.pid, held.tid, java.name(held.tid), held.confidence) for held in blocked.holders if held.tid
    )
    return replace(thread, wait=replace(wait, object=str(blocked.sync), holders=holders))


def _holders(pid: int, blocked: Blocked, sights: Sights) -> tuple[Holder, ...]:
    return tuple(
        Holder(pid, held.tid, sights.threads[held.tid].name, held.confidence)
        for held in blocked.holders
        if held.tid is not None and held.tid in sights.threads
    )
