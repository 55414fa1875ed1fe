"""An asyncio task."""

from msgspec import Struct

from pellucid.model.thread import Frame


class AsyncTask(Struct, frozen=True):
    """`state`: running, ready (it goes on at the loop's next turn) or waiting. `stack`: its chain of awaits, innermost first.

    `awaits` says what it waits for, `asyncio.Lock a`, `gather [2 of 3 pending]: AB, BA`; None unless it waits. `awaited_by` are the
    names of the tasks that wait for it, `held_by` of those inside of an `async with` over the lock that it waits for.
    """

    name: str
    coroutine: str
    state: str
    stack: tuple[Frame, ...]
    awaits: str | None
    awaited_by: tuple[str, ...]
    held_by: tuple[str, ...] = ()
