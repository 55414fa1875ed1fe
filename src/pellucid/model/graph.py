"""Who waits for whom: a node for each thread, task, greenlet and process, and what could let it go on.

`mode` says what a node needs: "and" all of its wakers (the thread that holds the lock), "or" any one of them (whoever might put into
the queue), "live" nothing (it runs, it wakes by itself, or somebody outside of what we see may wake it), "dead" something that no longer exists.
"""

from typing import Literal

from msgspec import Struct

from pellucid.model.finding import Confidence
from pellucid.model.gap import Gap
from pellucid.model.sync import Waiting

Mode = Literal["and", "or", "live", "dead"]
NodeKind = Literal["thread", "process", "task", "greenlet", "any"]
"""any: whichever thread of the process; it is alive once one of them is."""


class Waker(Struct, frozen=True):
    """The node `key` could end the wait. `because` says how that is known: `inside "with" at bank.py:5`.

    certain: it has to (a field in memory, a kernel fact); likely: code says so; possible: nothing speaks against it.
    """

    key: str
    confidence: Confidence = "certain"
    because: str = ""


class Node(Struct, frozen=True):
    """One thing that can wait. `key` is unique in its graph: `41/45` a thread, `41` a process, `41/any` whichever
    of its threads, `41/task/7f01` a task.

    `parks`: it waits for work or for a signal to go on, and a healthy program may do so for ever.
    `fate`: for mode dead, why nothing can wake it, in words.
    """

    key: str
    kind: NodeKind
    pid: int
    name: str
    mode: Mode
    tid: int | None = None
    wakers: tuple[Waker, ...] = ()
    waiting: Waiting | None = None
    parks: bool = False
    fate: str = ""
    fate_rule: str = ""
    confidence: Confidence = "certain"


class Graph(Struct, frozen=True):
    """All that was seen; a waker whose key is no node was not seen, and counts as alive. `pids`: the processes looked at.

    `children`: those of them that were looked at because they descend from the process that was asked for, and not because a wait leads there.
    """

    nodes: tuple[Node, ...] = ()
    pids: tuple[int, ...] = ()
    gaps: tuple[Gap, ...] = ()
    children: tuple[int, ...] = ()

    def node(self, key: str) -> Node | None:
        return next((node for node in self.nodes if node.key == key), None)
