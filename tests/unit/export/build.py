"""Profiles to export: one of a program with two processes and three threads, and one made to do harm."""

from pellucid.model import Frame, Gap, Process
from pellucid.model.profile import NO_STACK, Profile, Run, StackNode, Taking, Track

MS = 1_000_000


def taking(**changed):
    told = {"interval_ns": 10 * MS, "asked": 100, "taken": 97, "missed": 2, "unstable": 1, "failed": 1}
    return Taking(**{**told, "cpu_s": 0.01, "wall_s": 1.0, **changed})


def ordinary() -> Profile:
    """100 samples of 10 ms: main → work → parse 60, main → work → render 30 (two lines of it), main 10; a worker that waits; a child."""
    frames = (
        Frame("<module>", "<module>", "/srv/app/main.py", 30),
        Frame("work", "Job.work", "/srv/app/main.py", 12),
        Frame("parse", "parse", "/srv/app/parsing.py", 7),
        Frame("render", "render", "/usr/lib/python3/dist-packages/jinja2/runtime.py", 99),
        Frame("render", "render", "/usr/lib/python3/dist-packages/jinja2/runtime.py", 101),
        Frame("wait", "Event.wait", "/usr/lib/python3.13/threading.py", 655),
    )
    stacks = (
        StackNode(NO_STACK, 0),
        StackNode(0, 1),
        StackNode(1, 2),
        StackNode(1, 3),
        StackNode(1, 4),
        StackNode(NO_STACK, 5),
    )
    main = Track(
        pid=400,
        tid=400,
        name="MainThread",
        process="app",
        runtime="CPython 3.13.0",
        runs=(
            Run(0, 2, 40, 400 * MS, "running"),
            Run(400 * MS, 2, 20, 200 * MS, "running"),
            Run(600 * MS, 3, 20, 200 * MS, "running"),
            Run(800 * MS, 4, 9, 90 * MS, "running"),
            Run(890 * MS, 1, 1, 10 * MS, "running", moving=True),
            Run(900 * MS, 0, 10, 100 * MS, "running"),
        ),
    )
    worker = Track(400, 401, "worker", "app", "CPython 3.13.0", (Run(0, 5, 100, 1000 * MS, "waiting"),))
    child = Track(410, 410, "MainThread", "child", "CPython 3.11.7", (Run(500 * MS, NO_STACK, 5, 50 * MS, "gil"),))
    return Profile(
        mode="wall",
        command="python app/main.py",
        began_at=1_790_000_000.5,
        duration_ns=1000 * MS,
        frames=frames,
        stacks=stacks,
        tracks=(main, worker, child),
        taking=taking(),
        gaps=(Gap("pid 411", "it ended before it could be read"),),
    )


HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">\x1b[31mred\x1b[0m\u202egnp.exe;\n\u2028 {title} &amp; \udcff é 日本"


def hostile() -> Profile:
    """Every text that a process can choose is one that could do something: end an element, colour a terminal, turn the text around."""
    frame = Frame(HOSTILE, HOSTILE, f"/tmp/{HOSTILE}.py", 1)
    track = Track(1, 1, HOSTILE, HOSTILE, "CPython 3.13.0", (Run(0, 0, 3, 30 * MS),))
    return Profile(
        mode="cpu",
        command=HOSTILE,
        began_at=0.0,
        duration_ns=30 * MS,
        frames=(frame,),
        stacks=(StackNode(NO_STACK, 0),),
        tracks=(track,),
        taking=taking(slowdown=1.01, slowdown_how=HOSTILE),
        gaps=(Gap(HOSTILE, HOSTILE, HOSTILE),),
        process=Process(1, 0, HOSTILE, (HOSTILE,), "runs", 0, "root", 0.0, 0, 1, HOSTILE),
    )


def empty() -> Profile:
    """No thread was seen."""
    return Profile(
        mode="gil",
        command="",
        began_at=0.0,
        duration_ns=0,
        frames=(),
        stacks=(),
        tracks=(),
        taking=taking(asked=0, taken=0),
        gaps=(Gap("all threads", "none of them had the GIL"),),
    )


def recursion(depth: int = 20_000) -> Profile:
    """One stack of `depth` frames of one function."""
    return Profile(
        mode="wall",
        command="deep",
        began_at=0.0,
        duration_ns=10 * MS,
        frames=(Frame("deeper", "deeper", "/srv/deep.py", 3),),
        stacks=tuple(StackNode(number - 1, 0) for number in range(depth)),
        tracks=(Track(9, 9, "MainThread", "deep", "CPython 3.13.0", (Run(0, depth - 1, 1, 10 * MS),)),),
        taking=taking(),
        gaps=(),
    )
