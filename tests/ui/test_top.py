"""`pellucid top`: what a person reads on it, of fixed values and of a real process, and what hostile names do to it."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

textual = pytest.importorskip("textual", reason="*** textual is not installed (pellucid[ui])")

from pellucid.present.tui import plain  # noqa: E402  after the skip
from pellucid.present.tui.app import TopApp  # noqa: E402
from pellucid.present.tui.source import Live  # noqa: E402
from pellucid.present.view.board import Own  # noqa: E402
from pellucid.present.view.columns import line as text  # noqa: E402
from pellucid.present.view.deep import Deep  # noqa: E402
from pellucid.present.view.groups import Line as Frame  # noqa: E402
from pellucid.present.view.groups import Shown  # noqa: E402
from pellucid.present.view.memory_live import Level, Point  # noqa: E402
from pellucid.present.view.told import Failed, NotSeen, Told  # noqa: E402
from pellucid.present.view.top import SORTS, Line, Need, Top, cells, columns, matches, ordered  # noqa: E402
from tests.conftest import TARGETS  # noqa: E402

LIMIT_S = 60.0
MARK = f"zq{os.getpid():x}qz"
"""A word in the command of our target that stands in no other's."""
STUCK = Line(
    "", 8774, "worker-2", "asleep in recvfrom", 0.0, 1 << 30, 4, "Python 3.13", "app", "python worker.py", "critical"
)
BUSY = Line("", 8801, "worker-3", "running", 0.97, 4 << 30, 9, "Python 3.13", "app", "python worker.py", "warning")
JAVA = Line("gpu-07", 42, "java", "asleep in futex", 0.01, 600 << 20, 40, "JVM 17", "kafka", "java -jar kafka.jar")
NEEDS = (
    Need(
        "",
        8774,
        "worker-2",
        "critical",
        "2 threads wait for the Lock of predict-0",
        "They have waited 4 min.",
        "pellucid why 8774",
        3.0,
    ),
    Need("", 8801, "worker-3", "warning", "heap leak", "dict grows.", "pellucid why 8801", 41.0),
)
GROUPS = (
    Shown("predict-1, predict-2", ("predict-1", "predict-2"), (2, 3), "waits for Lock features.py:12, for 4 min 12 s", "lock", 252.0, False, False, False,
          (Frame("handle", "app/api.py:41", True), Frame("run", "threading.py:982", False))),
    Shown("MainThread", ("MainThread",), (1,), "runs", "running", None, False, True, True, (Frame("serve", "app/api.py:9", True),)),
)  # fmt: skip
FINDING = Told(
    "deadlock", "critical", "stuck or failing", "certain", "2 threads wait for each other", "For 4 min.", (), (), ()
)


class Fixed:
    """The same values at each look."""

    def __init__(self, lines=(STUCK, BUSY, JAVA), needs=NEEDS, deep=None, hosts=("gpu-07",)):
        self.hosts = hosts
        self.lines, self.needs = lines, needs
        self.shown = deep or Deep(
            8774,
            0.0,
            runtime="CPython 3.13.0",
            findings=(FINDING,),
            threads=3,
            groups=GROUPS,
            not_seen=(NotSeen("1 thread", "it has ended", ""),),
        )
        self.ended = False

    def begin(self):
        self.ended = False

    def end(self):
        self.ended = True

    def top(self, pattern, sort):
        lines = [line for line in self.lines if matches(line, pattern)]
        return Top(
            0.0,
            self.needs,
            ordered(lines, pattern, sort),
            len(self.lines),
            Own(0.004, 41 << 20, 0.0, 0),
            ("host gpu-08: no answer",),
        )

    def line(self, pid):
        return next((line for line in self.lines if line.pid == pid and not line.host), None)

    def deep(self, pid):
        return self.shown

    def memory(self, pid):
        return tuple(
            Point(
                float(at), (10 + at) << 20, 1 << 20, 0, 0, (Level("young", 5, 700),), "objects", (("generation 0", 3),)
            )
            for at in range(5)
        )


def driven(source, act, size=(100, 30), **options):
    """What `act(pilot, text)` returns; `text()` is the screen as a person reads it."""

    async def run():
        app = TopApp(source, interval=0.5, **options)

        def text():
            return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())

        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            return await act(pilot, text)

    return asyncio.run(asyncio.wait_for(run(), LIMIT_S * 2))


async def shows(pilot, text, *wanted):
    """Wait until all of it is to be read."""
    until = asyncio.get_running_loop().time() + LIMIT_S
    while missing := [one for one in wanted if one not in text()]:
        assert asyncio.get_running_loop().time() < until, f"{missing} is not on the screen:\n{text()}"
        await pilot.pause(0.05)
    return text()


KEPT = Path(__file__).parent / "screens"
FOOTER = re.compile(" (\u23ce open|esc back) ")
DRAWN = re.compile("[\u2500-\u259f]")
"""Lines, corners and bars: how a theme of textual draws them is not ours."""


def same_as_kept(name, screen):
    """The screen is the one in screens/NAME.txt, but for its footer (textual's) and what is drawn. KEEP_SCREENS=1 writes it anew."""
    lines = [DRAWN.sub(" ", line).rstrip() for line in screen.splitlines() if not FOOTER.match(line)]
    seen = re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", "\n".join(lines).rstrip() + "\n")
    kept = KEPT / f"{name}.txt"
    if os.environ.get("KEEP_SCREENS"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(seen)
    assert seen == kept.read_text()


async def rests(pilot, text, *wanted):
    """As `shows`, once the screen does not change any more."""
    screen = await shows(pilot, text, *wanted)
    for _ in range(50):
        before = screen
        await pilot.pause(0.15)
        screen = await shows(pilot, text, *wanted)
        if screen == before:
            return screen
    pytest.fail(f"it changes all the time:\n{screen}")


@pytest.mark.parametrize("size", [(80, 24), (60, 20)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_screens_look_as_they_did(size):
    """To see what a change does to them: KEEP_SCREENS=1, and git diff tests/ui/screens."""

    async def act(pilot, text):
        found = {"list": await shows(pilot, text, "worker-3")}
        await pilot.press("question_mark")
        found["help"] = await rests(pilot, text, "top --plain")
        await pilot.press("escape", "enter")
        found["now"] = await rests(pilot, text, "STACK predict-1", "not seen")
        await pilot.press("4")
        found["memory"] = await rests(pilot, text, "collections:", "enter begins")
        await pilot.press("3")
        found["time"] = await rests(pilot, text, "enter begins", "pellucid profile")
        return found

    for name, screen in driven(Fixed(), act, size=size).items():
        same_as_kept(f"{name}-{size[0]}", screen)


def test_a_screen_full_of_processes():
    """200 of them, whose names are as long as the kernel lets them be."""
    many = tuple(
        Line("", 1000 + at, f"worker-{at:03}-abcde", "asleep in poll", 0.0, at << 20, 2, "Python 3.13", "app", "python -m worker")
        for at in range(200)
    )  # fmt: skip

    async def act(pilot, text):
        await shows(pilot, text, "200 processes")
        await pilot.press("end")
        await shows(pilot, text, "worker-000-abcd")
        await pilot.press("slash", *"worker-17")
        return await rests(pilot, text, "10 shown", "worker-179")

    same_as_kept("filtered-80", driven(Fixed(lines=many, needs=(), hosts=()), act, size=(80, 24)))


def test_the_list_says_who_needs_somebody_and_worst_stands_first():
    async def act(pilot, text):
        return await shows(pilot, text, "worker-3")

    seen = driven(Fixed(), act)
    assert "3 processes, 2 need you  self 0.4 % CPU 41 MB" in seen
    assert "!! critical  pid 8774 worker-2: 2 threads wait for the Lock of predict-0" in seen
    assert re.search("! warning +pid 8801 worker-3: heap leak .seen 41 s ago", seen)
    assert "not seen: host gpu-08: no answer" in seen
    rows = [line for line in seen.splitlines() if "py3.13" in line or "JVM 17" in line]
    assert [row.split()[0] for row in rows] == ["here", "here", "gpu-07"]
    assert [row.split()[2] for row in rows[:2]] == ["8774", "8801"]


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (200, 50)])
def test_it_fits_terminals_of_any_size(size):
    async def act(pilot, text):
        seen = await shows(pilot, text, "worker-2")
        await pilot.press("enter")
        await shows(pilot, text, "pid 8774")
        return seen

    assert max(map(len, driven(Fixed(), act, size=size).splitlines())) <= size[0]


def test_the_keys_of_the_list():
    async def act(pilot, text):
        await shows(pilot, text, "worker-3")
        await pilot.press("s")
        await shows(pilot, text, "by cpu")
        for _ in SORTS[2:]:
            await pilot.press("s")
        await pilot.press("s")
        await pilot.press("p")
        await shows(pilot, text, "PAUSED")
        await pilot.press("p", "slash", *"worker-2")
        await shows(pilot, text, "1 shown")
        assert "worker-3: python" not in text()
        await pilot.press("escape")
        await shows(pilot, text, "worker-3: python")
        await pilot.press("question_mark")
        await shows(pilot, text, "Nothing here stops or changes a process")
        await pilot.press("escape", "n", "c")
        await shows(pilot, text, "pellucid why 8801")
        await pilot.press("q")

    source = Fixed()
    driven(source, act)
    assert source.ended


def test_one_process_and_its_views():
    async def act(pilot, text):
        await shows(pilot, text, "worker-2")
        await pilot.press("enter")
        now = await shows(
            pilot,
            text,
            "critical: 2 threads wait for each other",
            "waits for Lock features.py:12",
            "STACK predict-1, predict-2",
        )
        assert "x2 predict-1, predict-2" in now
        assert "4 min 12 s" in now
        assert "handle  app/api.py:41" in now
        assert "not seen: 1 thread: it has ended" in now
        await pilot.press("down")
        await shows(pilot, text, "STACK MainThread", "runs GIL (moving)")
        await pilot.press("4")
        await shows(
            pilot,
            text,
            "private 14M",
            "young: 5 objects of 700",
            "generation 0 3",
            "enter begins",
            "pellucid memory 8774",
        )
        await pilot.press("3")
        await shows(pilot, text, "pellucid profile 8774 -d 10", "samples all threads")
        await pilot.press("escape")
        await shows(pilot, text, "need you")

    driven(Fixed(), act)


def test_a_process_of_another_machine_is_asked_there():
    async def act(pilot, text):
        await shows(pilot, text, "gpu-07")
        await pilot.press("down", "down", "enter")
        await shows(pilot, text, "pid 42 java on gpu-07", "pellucid why 42 --host gpu-07", "enter begins")

    driven(Fixed(needs=()), act)


def test_a_process_that_can_not_be_looked_at_says_why():
    async def act(pilot, text):
        await shows(pilot, text, "can't look at pid 8774: EPERM", "try: sudo")

    failed = Deep(8774, 0.0, failed=Failed("not_permitted", "look at pid 8774", "EPERM", "sudo"))
    driven(Fixed(deep=failed), act, pid=8774)


def test_names_can_not_draw_on_the_terminal():
    """Markup of textual is text, too; what would move the cursor was spelled out where the values were made."""
    name = "[red]x[/red] [link=file:///etc]y"
    line = Line("", 1, name, name, None, 0, 1, name, name, name, "critical")
    need = Need("", 1, name, "critical", name, name, name, 0.0)
    group = Shown(name, (name,), (1,), name, "lock", 1.0, False, False, False, (Frame(name, name, True),))
    deep = Deep(
        1,
        0.0,
        runtime=name,
        findings=(Told("r", "critical", "", "certain", name, name, (), (), ()),),
        groups=(group,),
        not_seen=(NotSeen(name, name, name),),
    )

    async def act(pilot, text):
        await shows(pilot, text, "[red]x[/red] [link=file:///etc]y")
        await pilot.press("enter")
        await shows(pilot, text, "critical: [red]x[/red]", f"STACK {name}", f"not seen: {name}: {name}")

    driven(Fixed(lines=(line,), needs=(need,), deep=deep, hosts=()), act)


def test_a_number_is_a_pid_before_it_is_anything_else():
    """Who types one means that process, and not whichever has it in its pid or its command."""
    lines = (
        Line("", 757, "mine", "asleep", 0.0, 1 << 20, 1, "Python 3.13", "app", "python mine.py"),
        Line("", 7570, "other", "asleep", 0.5, 1 << 20, 1, "Python 3.13", "app", "python other.py", "critical"),
        Line("", 17570, "elsewhere", "asleep", 0.5, 1 << 20, 1, "Python 3.13", "app", "timeout 60 bash"),
        Line("", 8, "server", "asleep", 0.5, 1 << 20, 1, "Python 3.13", "app", "serve --port 7570"),
    )
    found = [line for line in lines if matches(line, "7570")]
    assert {line.pid for line in found} == {7570, 8}
    assert [line.pid for line in ordered(lines, "757", "trouble")][:2] == [757, 7570]

    async def act(pilot, text):
        await shows(pilot, text, "elsewhere")
        await pilot.press("down", "down", "slash", *"757")
        await shows(pilot, text, "3 shown")
        await pilot.press("enter", "enter")
        await shows(pilot, text, "pid 757 mine")

    driven(Fixed(lines=lines, needs=()), act)


def test_what_is_typed_during_a_look_is_not_forgotten():
    class Slow(Fixed):
        """Its first look lasts until something was typed."""

        def __init__(self):
            super().__init__()
            self.typed = threading.Event()

        def top(self, pattern, sort):
            assert self.typed.wait(LIMIT_S)
            return super().top(pattern, sort)

    source = Slow()

    async def act(pilot, text):
        await pilot.press("p", "slash", *"worker-2")  # paused: no later look repairs it
        source.typed.set()
        await shows(pilot, text, "1 shown")

    driven(source, act)


def test_what_is_opened_is_what_was_typed_also_while_a_look_lasts():
    class Slow(Fixed):
        """From the second look on it lasts until it may go on."""

        def __init__(self):
            super().__init__(needs=())
            self.looks = 0
            self.may = threading.Event()

        def top(self, pattern, sort):
            self.looks += 1
            assert self.looks == 1 or self.may.wait(LIMIT_S)
            return super().top(pattern, sort)

    source = Slow()

    async def act(pilot, text):
        await shows(pilot, text, "worker-2")
        listed = pilot.app.screen
        # Not awaited before the look may end: a press waits for what it leads to.
        pressing = asyncio.create_task(pilot.press("p", "slash", *"kafka", "enter", "enter"))
        until = asyncio.get_running_loop().time() + LIMIT_S / 2
        while not listed._opening and pilot.app.screen is listed:
            assert asyncio.get_running_loop().time() < until, "enter has not come"
            await asyncio.sleep(0.02)
        assert pilot.app.screen is listed, "the row that was there before was opened"
        source.may.set()
        await pressing
        await shows(pilot, text, "pid 42 java")

    driven(source, act)


@pytest.fixture(scope="module")
def stuck():
    """A thread that waits for a Lock which another one holds while it sleeps, with a name that is an attack."""
    process = subprocess.Popen(
        [sys.executable, str(TARGETS / "states.py"), "lock", "\x1b[31m\u202ex<script>", MARK],
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_real_process_is_found_opened_and_measured(stuck):
    async def act(pilot, text):
        await shows(pilot, text, "NAME")
        await pilot.press("slash", *MARK)
        await shows(pilot, text, "1 shown", "\\x1b[31m\\u202ex<script>")
        await pilot.press("enter", "enter")
        await shows(pilot, text, f"pid {stuck.pid} ")
        await shows(pilot, text, "payer waits for Lock", "waits for Lock held, held by MainThread")
        await pilot.press("2")
        await shows(pilot, text, "WAITS FOR", "held by MainThread")
        await pilot.press("4")
        await shows(pilot, text, "young:")
        await pilot.press("5")
        await shows(pilot, text, "FD  KIND", "O_WRONLY")

    driven(Live(), act, size=(140, 40))


def test_plain_text_says_the_same(stuck):
    line = [sys.executable, "-m", "pellucid", "top", "--plain", "--count", "1", "--sort", "pid"]
    told = subprocess.run([*line, str(stuck.pid)], capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert ": payer waits for Lock held" in told
    assert "x1 payer: waits for Lock held, held by MainThread" in told
    told = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert " processes, " in told.splitlines()[0]
    assert "\x1b" not in told


def test_plain_text_of_fixed_values():
    head, *lines = plain.listed(Fixed().top("", "trouble"), hosts=True, width=70)
    assert head.endswith("3 processes, 2 need you  self 0.4 % CPU 41 MB")
    assert lines == [
        "1. !! critical  pid 8774 worker-2: 2 threads wait for the Lock of predict-0",
        "   They have waited 4 min.",
        "   pellucid why 8774",
        "2. ! warning  pid 8801 worker-3: heap leak (seen 41 s ago)",
        "   dict grows.",
        "   pellucid why 8801",
        "not seen: host gpu-08: no answer",
        "HOST              PID STATE             CPU   RSS COMMAND",
        "here       !!    8774 asleep in r...    0 %  1.0G worker-2: python ...",
        "here       !     8801 running          97 %  4.0G worker-3: python ...",
        "gpu-07             42 asleep in f...    1 %  600M java -jar kafka.jar",
    ]


def test_columns_fit_every_width():
    """What is left of a line goes to the command; numbers end below one another."""
    long = Line("", 4194304, "n" * 15, "asleep in clock_nanosleep", 16.0, 1 << 40, 999, "Python 3.13", "u" * 32, "c" * 120, "critical", 0.0)  # fmt: skip
    for width in (60, 75, 80, 109, 110, 119, 120, 200):
        for hosts in (True, False):
            shape = columns(width, hosts=hosts)
            rows = [text(cells(line, width, hosts=hosts), shape) for line in (long, STUCK, BUSY, JAVA)]
            assert max(map(len, rows)) <= width
            assert {"PID", "CPU", "RSS", "COMMAND"} <= {column.head for column in shape}
            assert len({row.index("%") for row in rows}) == 1
            assert " 1600 % " in rows[0]


@pytest.mark.parametrize(
    ("ends", "status"), [(lambda pid, _: os.kill(pid, signal.SIGTERM), 143), (lambda _, tty: os.write(tty, b"\x03"), 0)]
)
def test_the_terminal_is_given_back_as_it_was(ends, status):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    before = termios.tcgetattr(theirs)
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    line = [sys.executable, "-m", "pellucid", "top"]
    process = subprocess.Popen(
        line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    try:
        seen = b""
        while b" processes, " not in seen:
            seen += _read(ours)
        assert b"\x1b[?1049h" in seen
        assert not re.search(rb"\x1b\[(?:[\d;]+;)?[34]8;", seen), "NO_COLOR: nothing in a colour of its own"
        ends(process.pid, ours)
        while b"\x1b[?1049l" not in seen:
            seen += _read(ours)
        reading = threading.Thread(target=lambda: [None for _ in iter(lambda: _read(ours, 0.2), b"")])
        reading.start()
        assert process.wait(LIMIT_S) == status
        reading.join()
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def _read(tty, limit_s=LIMIT_S):
    """What is there next; nothing, where nothing came in time."""
    ready, _, _ = select.select([tty], [], [], limit_s)
    assert ready or limit_s < LIMIT_S, "the screen says nothing"
    return os.read(tty, 1 << 16) if ready else b""


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"TERM": "dumb"}, b"TERM=dumb"), ({"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}, b"can't be written in")],
)
def test_a_terminal_that_can_not_show_it(environment, said):
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "pellucid", "top"]
    with subprocess.Popen(
        line, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, **environment}
    ) as process:
        told = process.communicate(timeout=LIMIT_S)[1]
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 2
    assert said in told
    assert b"top --plain" in told


def test_words_that_are_no_use():
    for words, said in (((), "this is no terminal"), (("4000000",), "there is no process with pid 4000000")):
        line = [sys.executable, "-m", "pellucid", "top", *words]
        ended = subprocess.run(
            line, capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
        assert said in ended.stderr
        assert ended.returncode in (2, 3)
