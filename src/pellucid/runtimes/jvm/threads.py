"""A thread dump as values: every thread of a JVM with its frames, the monitor it waits for and those it holds, all at one moment.

    "pay-1" #21 daemon prio=5 os_prio=0 cpu=0.33ms elapsed=0.06s tid=0x00007f984c0bf2c0 nid=0x6d51 waiting for monitor entry  [0x00007f98]
       java.lang.Thread.State: BLOCKED (on object monitor)
        at Bank.transfer(Bank.java:63)
        - waiting to lock <0x00000000ffd1b020> (a java.lang.Object)
        - locked <0x00000000ffd1b010> (a java.lang.Object)

       Locked ownable synchronizers:
        - <0x00000000ffd1b188> (a java.util.concurrent.locks.ReentrantLock$NonfairSync)

The JVM stops all threads while it writes it (VM_PrintThreads), so that what it says holds together: a monitor that one thread waits for
is held by the one that has it locked. Addresses are those of that moment: the collector moves objects.

Sources: JavaThread::print_on (runtime/javaThread.cpp), javaVFrame::print_lock_info_on (runtime/vframe.cpp), DeadlockCycle::print_on_with
(runtime/threadSMR.cpp), JDK 8 to 28.
"""

import re
from typing import Literal

from msgspec import Struct

from pellucid.model import Frame

MAX_THREADS = 1 << 16
MAX_FRAMES = 1 << 12

Way = Literal["enter", "wait", "park"]
"""How a thread waits: to lock a monitor (also again after a wait), to be notified on one, parked for a synchronizer."""


class Thing(Struct, frozen=True):
    """An object that threads wait for or hold, by its address at that moment."""

    address: int
    type: str


class JavaThread(Struct, frozen=True, kw_only=True):
    """`nid`: its thread id in the JVM's own pid namespace, 0 where it has none. `frames` are innermost first.

    `state`: as java.lang.Thread.State, "" for the JVM's own threads. `monitors` and `synchronizers` are what it holds; the latter are told
    only by a dump that was asked for them. `carries`: the number of the virtual thread that runs on it.
    """

    name: str
    number: int | None
    nid: int
    daemon: bool
    state: str
    detail: str
    frames: tuple[Frame, ...]
    way: Way | None = None
    thing: Thing | None = None
    monitors: tuple[Thing, ...] = ()
    synchronizers: tuple[Thing, ...] = ()
    carries: int | None = None

    @property
    def java(self) -> bool:
        """It runs Java; the JVM's own (compiler, collector) have no state or no frames."""
        return bool(self.frames)

    @property
    def footprint(self) -> tuple[object, ...]:
        """What stays the same as long as it does not move, also when objects do."""
        return self.state, self.detail, self.frames, self.way, self.thing.type if self.thing else ""


class Dump(Struct, frozen=True):
    """`deadlocks`: the names of the threads in each cycle that the JVM itself found. `held_by`: address of a synchronizer to the name of
    the thread that has it, as told of the deadlocks.
    """

    threads: tuple[JavaThread, ...]
    deadlocks: tuple[tuple[str, ...], ...]
    held_by: dict[int, str]
    with_synchronizers: bool

    def by_nid(self) -> dict[int, JavaThread]:
        return {thread.nid: thread for thread in self.threads if thread.nid}


_HEAD = re.compile(
    r'^"(?P<name>[^\n]*?(?:\n(?!")[^\n]*?)*?)"(?: #(?P<number>\d+))?(?: \[(?P<task>\d+)\])?(?P<daemon> daemon)?(?: prio=\d+)?'
    r"(?: os_prio=-?\d+)?(?: cpu=[\d.,]+ms)?(?: elapsed=[\d.,]+s)?(?: allocated=\S+)?(?: defined_classes=\d+)?"
    r" tid=0x[0-9a-f]+(?: nid=(?P<nid>0x[0-9a-f]+|\d+))?(?P<rest>[^\n]*)$",
    re.MULTILINE,
)
_STATE = re.compile(r"^   java\.lang\.Thread\.State: (\w+)(?: \((.*)\))?$", re.MULTILINE)
_LINE = re.compile(
    r"^\tat (?P<call>[^\n(]+)\((?P<where>[^\n]*)\)$"
    r"|^\t- (?P<way>waiting to lock|waiting on|waiting to re-lock in wait\(\)|parking to wait for|locked|eliminated) +"
    r"<(?P<address>0x[0-9a-f]+)> \(a (?P<type>[^\n]*)\)$"
    r"|^\t- <(?P<owned>0x[0-9a-f]+)> \(a (?P<owned_type>[^\n]*)\)$",
    re.MULTILINE,
)
_CARRIES = re.compile(r"^   Carrying virtual thread #(\d+)", re.MULTILINE)
_MOUNTED = re.compile(r"^   Mounted virtual thread #\d+$", re.MULTILINE)
_SYNCHRONIZERS = "   Locked ownable synchronizers:"
_DEADLOCK = re.compile(r"^Found one Java-level deadlock:\n=+\n(.*?)^Java stack information", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(
    r'^"(?P<name>[^\n]*)":\n  waiting (?:to lock monitor 0x[0-9a-f]+(?: \(object (?P<object>0x[0-9a-f]+), a [^\n]*\))?'
    r"|for ownable synchronizer (?P<synchronizer>0x[0-9a-f]+), \(a [^\n]*\)|[^\n]*),?\n"
    r'  which is held by (?:"(?P<holder>[^\n]*)"|[^\n]*)$',
    re.MULTILINE,
)


def parse(text: str, *, with_synchronizers: bool = False) -> Dump:
    """The dump that `threaddump` answers. Text that is none has no threads."""
    end = text.find("\nFound one Java-level deadlock:")
    body = text if end < 0 else text[:end]
    heads = list(_HEAD.finditer(body))[:MAX_THREADS]
    threads = []
    for at, head in enumerate(heads):
        stop = heads[at + 1].start() if at + 1 < len(heads) else len(body)
        threads.append(_thread(head, body[head.end() : stop]))
    knots: list[tuple[str, ...]] = []
    held: dict[int, str] = {}
    for found in _DEADLOCK.finditer(text):
        members = list(_MEMBER.finditer(found[1]))
        knots.append(tuple(member["name"] for member in members))
        for member in members:
            if member["synchronizer"] and member["holder"]:
                held[int(member["synchronizer"], 16)] = member["holder"]
    return Dump(tuple(threads), tuple(knots), held, with_synchronizers)


def _thread(head: re.Match[str], body: str) -> JavaThread:
    state = _STATE.search(body)
    stacks, _, owned = body.partition(_SYNCHRONIZERS)
    # A carrier's own frames come first, then those of the virtual thread that is mounted on it (since JDK 24).
    carrier, mounted = _split(stacks)
    frames: list[Frame] = []
    monitors: list[Thing] = []
    way: Way | None = None
    thing: Thing | None = None
    for line in _LINE.finditer(mounted or carrier):
        if line["call"] is not None:
            if len(frames) < MAX_FRAMES:
                frames.append(frame(line["call"], line["where"]))
        elif line["way"] is not None:
            one = Thing(int(line["address"], 16), line["type"])
            told = _WAYS.get(line["way"])
            if told is None:
                monitors.append(one)
            elif thing is None:
                way, thing = told, one
    carries = _CARRIES.search(stacks)
    synchronizers = [
        Thing(int(line["owned"], 16), line["owned_type"]) for line in _LINE.finditer(owned) if line["owned"] is not None
    ]
    if way == "wait" and thing is not None:
        # Object.wait() has let go of the monitor; the frame that locked it is told as holding it all the same.
        monitors = [one for one in monitors if one.address != thing.address]
    rest = head["rest"].partition("[")[0].strip()
    return JavaThread(
        name=head["name"],
        number=int(head["number"]) if head["number"] else None,
        nid=int(head["nid"] or head["task"] or "0", 0),  # a carrier of a virtual thread has only the latter
        daemon=head["daemon"] is not None,
        state=state[1] if state else "",
        detail=(state[2] or "") if state else rest,
        frames=tuple(frames),
        way=way,
        thing=thing,
        monitors=tuple(dict.fromkeys(monitors)),
        synchronizers=tuple(synchronizers),
        carries=int(carries[1]) if carries else None,
    )


_WAYS: dict[str, Way] = {
    "waiting to lock": "enter",
    "waiting to re-lock in wait()": "enter",
    "waiting on": "wait",
    "parking to wait for": "park",
}


def _split(stacks: str) -> tuple[str, str]:
    found = _MOUNTED.search(stacks)
    return (stacks, "") if found is None else (stacks[: found.start()], stacks[found.end() :])


def frame(call: str, where: str) -> Frame:
    """`Bank.transfer`, `Bank.java:63` → a frame whose file is `Bank.java`; `java.base/java/lang/Thread.java` for the JDK's own.

    `where` is `module@version/File.java:12`, `Native Method` or `Unknown Source` in the last part (JDK 8 has no module).
    """
    module, slash, source = where.rpartition("/")
    type_name, _, method = call.rpartition(".")
    package, _, simple = type_name.rpartition(".")
    name, colon, number = source.rpartition(":")
    if not colon or not number.isdigit():
        name, number = source, ""
    if not name.endswith((".java", ".kt", ".scala", ".groovy", ".clj")):
        name = simple.partition("$")[0] + ".java"
    loader_and_module = module.partition("@")[0].rpartition("/")[2] if slash else ""
    parts = [loader_and_module, package.replace(".", "/"), name]
    return Frame(
        function=method,
        qualname=call,
        file="/".join(part for part in parts if part),
        line=int(number) if number else None,
    )
