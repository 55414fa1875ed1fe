"""The tables are what the headers say, what the builds publish, and where live objects have their fields."""

import json
import shutil
import subprocess
import sys

import pytest

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes import cpython
from pellucid.runtimes.cpython.debug_offsets import MAX_SIZE, layout
from pellucid.runtimes.cpython.layouts import TABLES, table
from tests import interpreters
from tests.conftest import TARGETS

each_python = pytest.mark.parametrize("python", interpreters.each())
ROOT = TARGETS.parent.parent


def test_there_is_a_table_for_each_version_that_is_expected():
    assert [f"3.{minor}" for minor in TABLES] == list(interpreters.EXPECTED)


@each_python
def test_the_table_is_what_the_generator_makes_of_the_headers(python, tmp_path):
    if not shutil.which("cc"):
        pytest.skip("no C compiler here")
    command = [sys.executable, str(ROOT / "scripts/generate_layouts.py"), python.path, "-o", str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if made.returncode and "Python.h" in made.stderr:
        pytest.skip(f"{python.path} has no headers beside it")
    assert made.returncode == 0, made.stderr
    names: dict = {}
    exec((tmp_path / f"v3_{python.minor}.py").read_text(), names)
    known = table(python.minor)
    assert names["PUBLISHED"] == known.published
    assert names["OFFSETS"] == known.offsets


@pytest.fixture
def objects(target):
    """`objects(python)` → (an attached runtime, what the target says of its objects)."""
    attached = []

    def start(python):
        process, line = target(python, "objects.py")
        attached.append(cpython.attach(process.pid))
        return attached[0], json.loads(line)

    yield start
    for runtime in attached:
        runtime.close()


@pytest.mark.parametrize("python", interpreters.each(("3.13", "3.14", "3.15")))
def test_what_the_build_publishes_is_what_the_table_has(python, objects):
    runtime, _ = objects(python)
    known = table(python.minor)
    published = layout(known, runtime.memory.read(runtime.runtime, MAX_SIZE)).offsets
    # A size may differ by what a build has at the end of a struct: Debian's 3.15 has 8 bytes more than its own headers say.
    fields = [name for name in known.offsets if not name.endswith(".size")]
    assert {name: published[name] for name in fields} == {name: known.offsets[name] for name in fields}


@each_python
def test_texts_and_numbers(python, objects):
    runtime, said = objects(python)
    read = runtime.objects
    for address, text in said["texts"]:
        expected = text.encode("utf-8", "backslashreplace").decode()
        assert read.text(address) == (expected if len(text) <= 4096 else "x" * 4096 + "…")
    assert read.text(said["texts"][1][0], 3) == "asc…"
    assert [read.integer(address) for address, _ in said["integers"]] == [number for _, number in said["integers"]]
    address, value = said["bytes"]
    assert read.data(address, 100).hex() == value
    with pytest.raises(Unreadable):
        read.data(address, 3)
    for garbage in (0, 8, 1 << 60):
        with pytest.raises(Unreadable):
            read.text(garbage)


@each_python
def test_attributes_and_items(python, objects):
    runtime, said = objects(python)
    read = runtime.objects

    def value(address):
        return read.text(address) if read.type_name(read.type_of(address)) == "str" else read.integer(address)

    for name in ("plain", "other", "materialised", "old"):
        address, expected = said[name]
        assert {read.text(key): value(at) for key, at in read.attributes(address)} == expected
        for attribute, found in expected.items():
            assert value(read.attribute(address, attribute)) == found
        assert read.attribute(address, "absent") is None
    address, keys = said["deleted"]
    assert [read.text(key) for key, _ in read.items(address)] == keys
    address, count = said["general"]
    assert len(list(read.items(address))) == count
    address, count = said["large"]
    assert sum(1 for _ in read.items(address)) == count
    assert read.integer(read.item(address, "key69999")) == 69999
    assert read.item(address, "key70000") is None


@each_python
def test_containers_functions_and_code(python, objects):
    runtime, said = objects(python)
    fields, u64 = runtime.layout, runtime.memory.u64
    address, items = said["tuple"]
    assert [u64(address + fields["tuple_object.ob_item"] + 8 * number) for number in range(3)] == items
    address, items = said["list"]
    inner = u64(address + fields["list_object.ob_item"])
    assert [u64(inner + 8 * number) for number in range(u64(address + fields["list_object.ob_size"]))] == items
    address, member = said["set"]
    entries = u64(address + fields["set_object.table"])
    count = u64(address + fields["set_object.mask"]) + 1
    assert member in [u64(entries + 16 * number) for number in range(count)]
    assert u64(address + fields["set_object.used"]) == 1
    address, (first, middle, last) = said["deque"]
    block, place = u64(address + fields["deque.leftblock"]), u64(address + fields["deque.leftindex"])
    count = u64(address + fields["deque.ob_size"])
    found = []
    while len(found) < count:
        found.append(u64(block + fields["deque_block.data"] + 8 * place))
        place += 1
        if place == 64:
            block, place = u64(block + fields["deque_block.rightlink"]), 0
    assert (found[0], found[70], found[-1]) == (first, middle, last)
    address, referent = said["weakref"]
    assert u64(address + fields["weakref.wr_object"]) == referent
    address, namespace = said["module"]
    assert u64(address + fields["module_object.md_dict"]) == namespace
    address, (receiver, function) = said["method"]
    assert u64(address + fields["method.im_self"]) == receiver
    assert u64(address + fields["method.im_func"]) == function
    address, receiver = said["builtin"]
    assert u64(address + fields["builtin_function.m_self"]) == receiver
    address, (code, name, qualname) = said["function"]
    assert u64(address + fields["function.func_code"]) == code
    assert runtime.objects.text(u64(address + fields["function.func_name"])) == name
    assert runtime.objects.text(u64(address + fields["function.func_qualname"])) == qualname
    address, (exceptions, consts, names, nlocals, stacksize, argcount, flags, first_line) = said["code"]
    assert u64(address + fields["code_object.exceptiontable"]) == exceptions
    assert u64(address + fields["code_object.consts"]) == consts
    assert u64(address + fields["code_object.names"]) == names
    numbers = [runtime.memory.i32(address + fields[f"code_object.{name}"]) for name in ("nlocalsplus", "stacksize")]
    assert numbers == [nlocals, stacksize]
    numbers = [runtime.memory.i32(address + fields[f"code_object.{n}"]) for n in ("argcount", "flags", "firstlineno")]
    assert numbers == [argcount, flags, first_line]
    address, code = said["generator"]
    frame = address + fields["gen_object.gi_iframe"]
    assert u64(frame + fields["interpreter_frame.executable"]) & ~7 == code
    address, (base, mro, size, flags) = said["type"]
    assert u64(address + fields["type_object.tp_base"]) == base
    assert u64(address + fields["type_object.tp_mro"]) == mro
    assert u64(address + fields["type_object.tp_basicsize"]) == size
    assert u64(address + fields["type_object.tp_flags"]) == flags
    address, text, descriptor = said["slots"]
    member = u64(descriptor + fields["member_descriptor.d_member"])
    assert runtime.objects.text(u64(address + u64(member + fields["member_def.offset"]))) == text


@each_python
def test_locks_semaphores_and_tasks(python, objects):
    runtime, said = objects(python)
    fields, memory = runtime.layout, runtime.memory
    for name in ("lock", "free"):
        address, locked = said[name]
        assert memory.read(address + fields["lock.mutex" if python.minor >= 14 else "lock.locked"], 1)[0] & 1 == locked
    address, (owner, count) = said["rlock"]
    assert memory.u64(address + fields["rlock.owner"]) == owner
    if python.minor >= 14:  # level: 0 when it is held once
        assert memory.u64(address + fields["rlock.level"]) == count - 1
    else:
        assert memory.u64(address + fields["rlock.count"]) == count
    address, (handle, count, most, kind, name) = said["semlock"]
    assert memory.u64(address + fields["semlock.handle"]) == handle
    assert [memory.i32(address + fields[f"semlock.{part}"]) for part in ("count", "maxvalue", "kind")] == [
        count,
        most,
        kind,
    ]
    assert name is None  # unlinked at once, as fork's are
    assert memory.u64(address + fields["semlock.name"]) == 0
    assert memory.u64(address + fields["semlock.last_tid"]) == said["main"]
    if python.minor < 14:  # later builds publish their own, in the section .AsyncioDebug
        address, (coroutine, name) = said["task"]
        assert memory.u64(address + fields["task.coro"]) == coroutine
        assert runtime.objects.text(memory.u64(address + fields["task.name"])) == name
        assert memory.i32(address + fields["task.state"]) == 0
        waited = memory.u64(address + fields["task.fut_waiter"])
        assert "Future" in runtime.objects.type_name(runtime.objects.type_of(waited))
