"""The recipes as they stand in the documents: their programs are started, their commands run, and what is quoted is what is printed.

Run is each command of a console block that is about a program of examples/recipes. In a quotation numbers are examples, and `...` is
what was left out.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes"
PROGRAMS = {path.name for path in RECIPES.glob("*.py")}
DOCUMENTS = ("README.md", "docs/recipes.md", "docs/guide.md")
LIMIT_S = 60.0
"""For a program to come into its state, on a busy machine."""
as_root = pytest.mark.skipif(
    os.getuid() != 0, reason="another process is read, and its system calls are watched: root may"
)


def quoted():
    """(document, command, what is quoted of its answer) of each block, in order."""
    for document in DOCUMENTS:
        for block in re.findall(r"```console\n(.*?)```", (ROOT / document).read_text(), re.DOTALL):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, answer = part.partition("\n")
                yield document, command, answer


def about(command):
    """The program that it is about, if it is one of ours."""
    return next((word for word in re.findall(r"\w+\.py\b", command) if word in PROGRAMS), None)


LOOKS = [
    pytest.param(command, answer, id=f"{document.rpartition('/')[2]}: {command}")
    for document, command, answer in sorted(
        quoted(), key=lambda one: "why nightly" in one[1]
    )  # it has to wait for long
    if command.startswith("pellucid ") and (about(command) or "8077" in command or "report.csv" in command)
]
STARTED = (
    "report_server.py",
    "nightly.py",
    "silent_404.py",
    "semaphore.py",
    "worker.py",
    "lost_task.py",
    "no_sentinel.py",
)


class Started:
    """All of the recipes at once, each by the line that the documents have, in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}
        self.told = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        for program in STARTED:
            self.start(program)
            if program == "report_server.py":
                self.running[program].stdout.readline()
        (folder / "report.csv").write_text("".join(f"{number}\n" for number in range(1, 10_001)))
        self.start("reader.py", "report.csv")

    def start(self, program, *arguments):
        self.running[program] = subprocess.Popen(
            ["python3", program, *arguments],
            executable=sys.executable,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PORT": self.port},
            start_new_session=True,
        )

    def run(self, command):
        """What `command` prints; a name stands for the pid of our program, and the port is ours."""
        words = shlex.split(command)[1:]
        ours = words[: words.index("--")] if "--" in words else words
        for at, word in enumerate(ours):
            if word in self.running:
                words[at] = str(self.running[word].pid)
        words = [self.port if word == "8077" else word for word in words]
        done = subprocess.run(
            [sys.executable, "-m", "pellucid", *words],
            cwd=self.folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            env={**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"},
        )  # fmt: skip
        return done.stdout + done.stderr

    def end(self):
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.stdin.close()
            process.stdout.close()
            process.wait()


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copytree(RECIPES, folder, dirs_exist_ok=True)
    started = Started(folder)
    yield started
    started.end()


def like(text):
    """`text` without what is another each time: numbers with their units, hashes, addresses, room between words."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"\d[\d.,:]*( ?(µs|ms|s|min|h|%|[KMG]iB|B)\b)?( \d+ (s|min))?", "N", text)
    return " ".join(text.split())


def missing(answer, told):
    """The first part of a quotation that is not in what was told; None where all of it is. What is told of several stands in any order."""
    told = like(told)
    parts = (like(part) for line in answer.splitlines() for part in line.split("..."))
    return next((part for part in parts if part not in told), None)


@as_root
@pytest.mark.parametrize(("command", "answer"), LOOKS)
def test_what_is_quoted_is_what_is_printed(recipes, command, answer):
    if "recover" in command:
        (recipes.folder / "report.csv").unlink(missing_ok=True)
    limit = time.monotonic() + LIMIT_S
    while True:
        told = recipes.told.pop(command, None) or recipes.run(command)
        left = missing(answer, told)
        if left is None:
            recipes.told[command] = told  # another document quotes it too
            return
        if time.monotonic() > limit or "-o" in command:
            pytest.fail(f"$ {command}\n{told}\ndoes not have:\n{left}")


def test_each_program_of_the_recipes_is_in_a_document():
    text = " ".join((ROOT / document).read_text() for document in DOCUMENTS)
    assert not [name for name in PROGRAMS if name not in text]
    assert {*STARTED, "reader.py", "calls.py"} == PROGRAMS


def test_a_quotation_is_compared_without_its_numbers():
    told = "MainThread has waited for 3 min 45 s on fd 3 at nightly.py:10 in fetch\nnext: pellucid why 77"
    assert missing("MainThread has waited for 19 s on fd 4 ...\nnext: pellucid why 12", told) is None
    assert missing("MainThread has waited for 19 s ... at other.py:10", told) == "at other.py:N"
    assert missing("next: pellucid why 1\nMainThread has slept", told) == "MainThread has slept"
