"""One wait as a sentence: `payer: Lock held (states.py), for 41 s, at states.py:23 in pay, held by MainThread; MainThread has slept ...`."""

from collections.abc import Mapping

from pellucid.diagnose import words
from pellucid.diagnose.chain import chain, waited, who
from pellucid.model.graph import Node
from pellucid.model.sync import Waiting

_ENDS = frozenset({"Thread", "Process", "child", "child process", "end of all threads", "end of its pool"})
_NEEDS = frozenset({"task", "gather", "group", "wait", "wait_for", "thread", "future"})
_SERVES = frozenset({"loop", "service", "worker"})
_CONNECTED = frozenset({"receive", "send", "shared-get", "shared-put", "feeder-send"})


def onward(node: Node, nodes: Mapping[str, Node]) -> str:
    """What the one that it needs waits for in its turn, to the end: `; pay-2 has waited 41 s in recvfrom on fd 5 (tcp ...)`."""
    told = [link for link in chain(nodes, node.key) if link.waiting is not None]
    return "".join(f"; {who(link, alone=link.pid == node.pid)} {waited(link.waiting)}" for link in told if link.waiting)


def row(waiting: Waiting) -> str:
    detail = f" [{waiting.detail}]" if waiting.detail else ""
    thing = f"{waiting.kind} {waiting.object}" if waiting.object else waiting.kind
    daemon = " (daemon)" if waiting.daemon else ""
    what = "task " if waiting.what == "task" else "greenlet " if waiting.what == "greenlet" else ""
    parts = [f"{what}{waiting.thread}{daemon}: {thing}{detail}"]
    if waiting.since_s is not None:
        parts.append(f"for {words.duration(waiting.since_s)}")
    if waiting.left_s is not None:
        parts.append(
            f"gives up in {words.duration(waiting.left_s)}"
            if waiting.kind != "sleep"
            else f"wakes in {words.duration(waiting.left_s)}"
        )
    if waiting.at:
        parts.append(f"at {waiting.at}")
    if waiting.holders:
        parts.append(by_whom(waiting))
    if waiting.stopped and waiting.kind != "stopped":
        parts.append("stopped")
    if not waiting.steady:
        parts.append("woke during the look")
    return ", ".join(parts)


def by_whom(waiting: Waiting) -> str:
    """`held by pay-2`; where nobody is known to hold it, those who could end the wait."""
    known = [one for one in waiting.holders if one.confidence != "possible"]
    shown = known or list(waiting.holders)
    if waiting.role == "blocked-loop":
        verb = "held up by"
    elif waiting.role in {"future", "futures", "pool"} and waiting.what == "thread" and known:
        verb = "computed by"
    elif waiting.kind in _ENDS or waiting.role in _NEEDS:
        verb = "needs"
    elif waiting.role in _SERVES:
        verb = "could be woken by"
    elif waiting.kind in {"pipe", "socket", "poll"} or waiting.role in _CONNECTED:
        verb = "other end"
    elif waiting.role == "proxy":
        verb = "served by"
    else:
        verb = "held by" if known else "could be woken by"
    names = [one.name + (" (likely)" if one.confidence == "likely" else "") for one in shown[:4]]
    return f"{verb} {', '.join(names)}{f' and {len(shown) - 4} more' if len(shown) > 4 else ''}"
