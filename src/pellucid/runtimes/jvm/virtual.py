"""Virtual threads (Java 21 and later): the JVM writes all of its threads as JSON into a file, which is read and removed.

A thread dump has only those virtual threads that run on a carrier at that moment; the others are objects of the heap. Thread.dump_to_file
(jdk.internal.vm.ThreadDumper) walks them, in Java, in the JVM itself, while the program goes on: the stacks are of one moment each.
"""

import os
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from pellucid.model import Frame
from pellucid.model.errors import NotUnderstood
from pellucid.runtimes.jvm.attach import Attach
from pellucid.runtimes.jvm.threads import frame, parse

MAX_BYTES = 1 << 28
_LIMIT_S = 60.0


class VirtualThread(Struct, frozen=True):
    """`state` as java.lang.Thread.State, "" where that JVM does not tell it (before 24). `waits_for`: the object, where it is told."""

    number: int
    name: str
    state: str
    frames: tuple[Frame, ...]
    waits_for: str


def virtual_threads(attach: Attach) -> tuple[VirtualThread, ...]:
    """All of them. Raises NotUnderstood for a JVM that has none, and what `Attach` raises."""
    pid = attach.pid
    inside = f"/tmp/.pellucid-threads-{uuid.uuid4().hex}"
    path = f"/proc/{pid}/root{inside}"
    try:
        answer = attach.ask("jcmd", f"Thread.dump_to_file -format=json {inside}", limit_s=_LIMIT_S)
        if answer.code or not os.path.exists(path):
            raise NotUnderstood(
                pid,
                tried=f"list the virtual threads of pid {pid}",
                said=f"{attach.jvm.name} has none that could be listed (they came with Java 21): {answer.text.strip().splitlines()[0][:120] if answer.text.strip() else 'no answer'}",
                remedy=f"pellucid stacks {pid}",
                found=attach.jvm.name,
            )
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES)
    finally:
        if os.path.lexists(path):
            os.unlink(path)
    platform = {thread.number for thread in parse(attach.ask("threaddump").text).threads}
    return tuple(threads(msgspec.json.decode(text), platform))


def threads(document: Any, platform: set[int | None]) -> list[VirtualThread]:
    """Those of the document that are virtual: marked so (24), or no threads of the platform."""
    found = []
    for container in document["threadDump"]["threadContainers"]:
        for one in container["threads"]:
            number = int(one["tid"])
            if one.get("virtual", number not in platform) is not True:
                continue
            found.append(
                VirtualThread(
                    number=number,
                    name=one.get("name") or "",
                    state=one.get("state") or "",
                    frames=tuple(_frame(text) for text in one.get("stack", ())),
                    waits_for=_waits_for(one),
                )
            )
    return found


def _frame(text: str) -> Frame:
    """`java.base/java.lang.Thread.sleep(Thread.java:509)`, `Virtual.park(Virtual.java:10)`."""
    call, _, where = text.rstrip(")").partition("(")
    module, slash, name = call.rpartition("/")
    return frame(name if slash else call, f"{module}/{where}" if slash else where)


def _waits_for(one: dict[str, Any]) -> str:
    blocker = one.get("parkBlocker")
    told = blocker.get("object") if isinstance(blocker, dict) else blocker
    return str(told or one.get("blockedOn") or one.get("waitingOn") or "")
