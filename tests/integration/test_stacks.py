"""What is read from outside is what the interpreter itself says: names, qualified names, files and lines of every frame.

The witnesses are sys._current_frames() and faulthandler, asked inside of the target while its threads stand still.
"""

import json
import re

import pytest

from pellucid.runtimes import cpython
from tests import interpreters
from tests.settling import settled

each_python = pytest.mark.parametrize("python", interpreters.each())


@pytest.fixture
def standing(target, tmp_path):
    """`standing(python)` → (pid, frames by ident as the interpreter says them, what faulthandler says)."""

    def start(python):
        witnesses = tmp_path / "witnesses"
        process, line = target(python, "frames.py", str(witnesses))
        assert line == "ready"
        settled(process.pid)
        told = json.loads(witnesses.with_suffix(".json").read_text())
        return process.pid, told, witnesses.with_suffix(".txt").read_text(errors="replace")

    return start


def spelt(text):
    """As pellucid spells a text that has lone surrogates in it."""
    return text.encode("utf-8", "backslashreplace").decode()


@each_python
def test_every_frame_is_as_the_interpreter_says(python, standing):
    pid, told, _ = standing(python)
    with cpython.attach(pid) as runtime:
        reading = runtime.read()
    assert not reading.gaps
    read = {stack.ident: stack for stack in reading.stacks}
    assert len(read) == len(told) + 1
    for ident, (name, frames) in told.items():
        stack = read[int(ident)]
        assert stack.name == name
        assert not stack.moving
        found = [[frame.function, frame.qualname, frame.file, frame.line] for frame in stack.frames]
        assert found == [
            [*map(spelt, (function, qualname, file)), line] for function, qualname, file, line in frames
        ], name


@each_python
def test_every_frame_is_as_faulthandler_says(python, standing):
    pid, _, text = standing(python)
    with cpython.attach(pid) as runtime:
        read = {stack.ident: stack for stack in runtime.read().stacks}
    threads = re.split(r"^(?:Current thread|Thread) 0x([0-9a-f]+).*:$", text, flags=re.MULTILINE)[1:]
    assert len(threads) == 2 * len(read)
    for ident, lines in zip(threads[::2], threads[1::2], strict=True):
        said = re.findall(r'File "(.*)", line (\d+) in (.*)', lines)
        stack = read[int(ident, 16)]
        found = [(escaped(frame.file), str(frame.line), escaped(frame.function)) for frame in stack.frames]
        if stack.tid == pid:  # it has gone on since: from the call of faulthandler to its sleep
            assert found[-1] == said[-1]
        else:
            assert found[:100] == said  # faulthandler stops after 100 frames


def escaped(text):
    """As faulthandler writes what is not ASCII; a lone surrogate is spelt out already."""
    return "".join(
        letter if " " <= letter <= "~" else f"\\x{ord(letter):02x}" if ord(letter) < 256
        else f"\\u{ord(letter):04x}" if ord(letter) < 65536 else f"\\U{ord(letter):08x}"
        for letter in text
    )  # fmt: skip


@each_python
def test_a_second_reading_says_the_same_as_the_first(python, standing):
    pid, _, _ = standing(python)
    with cpython.attach(pid) as runtime:
        first = runtime.read()
        for _ in range(5):  # from the second on they are found resting, and copied once
            again = runtime.read()
            assert again.stacks == first.stacks
            assert not again.gaps
            assert not again.retries


@each_python
def test_addresses_of_a_frame_lead_to_its_locals(python, standing):
    """What later looks rest on: the frame's own address, its code object, and the value in its first local."""
    pid, _, _ = standing(python)
    with cpython.attach(pid) as runtime:
        runtime.read()
        layout, objects = runtime.layout, runtime.objects
        shops = []
        for raw in runtime.raw:
            for each in raw.walked.activations:
                code = runtime.codes.code(each.code)
                if code is not None and code.qualname == "Shop.open":
                    place = each.address + layout["interpreter_frame.localsplus"]
                    receiver = runtime.memory.u64(place) & (~7 if layout.minor >= 14 else ~0)
                    if objects.type_name(objects.type_of(receiver)) == "cell":
                        continue
                    shops.append(objects.type_name(objects.type_of(receiver)))
        assert shops == ["Shop"]
