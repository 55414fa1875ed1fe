"""The census of a heap, from outside, against what the process itself says of each of its objects."""

import json
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from pellucid.model.errors import NotUnderstood
from pellucid.observe import heap
from pellucid.runtimes import cpython
from tests import interpreters
from tests.conftest import TARGETS

STATIC = 0.03
"""The part of a small program's objects that lie in its own files: types, None, the strings of the interpreter."""

KEPT = 20_000
"""Objects that the busy target keeps while it makes and drops others."""

UNKNOWN = {"BufferedReader", "BufferedWriter", "TextIOWrapper", "Struct", "StgDict", "lru_list_elem"}
"""What they own besides their block is known to their C code alone."""


@pytest.fixture
def heap_of():
    started = []

    def start(python, size, *arguments):
        process = subprocess.Popen(
            [python.path, str(TARGETS / "heap.py"), str(size), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def truth(process, path):
    """((id, id of the type, bytes) of each object, names of the types by id)."""
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "written\n"
    raw = path.read_bytes()
    (count,) = struct.unpack_from("<Q", raw)
    told = np.frombuffer(raw, np.uint64, 3 * count, 8).reshape(-1, 3)
    return told, {int(key): name for key, name in json.loads(raw[8 + 24 * count :]).items()}


@pytest.mark.parametrize("python", interpreters.each())
def test_every_object_is_counted_with_its_type_and_its_size(heap_of, tmp_path, python):
    process = heap_of(python, 3000)
    with cpython.attach(process.pid) as attached:
        found = heap.counted(attached, pause=True, limit=1 << 32, command="heap")
        rows = {row.type: row for row in heap.value(process.pid, found, 0.0).types}
    told, names = truth(process, tmp_path / "truth")
    addresses = found.image.addresses(found.places)
    at = np.minimum(np.searchsorted(addresses, told[:, 0]), len(addresses) - 1)
    known = addresses[at] == told[:, 0]
    assert (~known).sum() < STATIC * len(told)
    static = {names[int(kind)] for kind in told[~known, 1]}
    assert not static & {"Plain", "Slots", "Node", "Dict", "list", "set", "dict", "function", "deque", "Named"}
    assert (found.types.addresses[found.index[at[known]]] == told[known, 1]).all(), (
        "an object has another type than it says"
    )
    wrong = {}
    for kind in np.unique(told[known, 1]).tolist():
        mine = known & (told[:, 1] == kind)
        said, counted = int(told[mine, 2].sum()), int(found.sizes[at[mine]].sum())
        if abs(counted - said) > 0.02 * said and said > 4096:
            wrong[names[kind]] = (counted, said)
    assert not wrong.keys() - UNKNOWN, wrong
    for name in ("Plain", "Slots", "Node"):
        assert rows[name].count - 3000 in (0, 1)  # one may have been dropped and not yet cleared
        assert rows[name].own


@pytest.mark.parametrize("python", interpreters.each())
def test_nothing_is_invented_while_the_program_changes_its_heap_as_fast_as_it_can(heap_of, python):
    process = heap_of(python, 2000, "busy")
    deadline = time.monotonic() + 60
    counts = {}
    # It fills its dict first. And whoever copies on a crowded machine may have to wait in the middle of it, while it goes on.
    while abs(counts.get("Busy", 0) - KEPT) > 0.001 * KEPT and time.monotonic() < deadline:
        seen = heap.census(process.pid)
        counts = {row.type: row.count for row in seen.types}
    assert seen.paused_s is None
    assert counts["Plain"] - 2000 in (0, 1)
    assert counts["Slots"] == counts["Node"] == 2000
    assert abs(counts["Busy"] - KEPT) <= 0.001 * KEPT


def test_most_of_the_memory_of_a_process_full_of_objects_is_explained(heap_of):
    seen = heap.census(heap_of(interpreters.get("3.13"), 5000).pid)
    assert seen.coverage > 0.6
    assert seen.total_bytes == sum(row.bytes for row in seen.types)
    assert [row.bytes for row in seen.types] == sorted((row.bytes for row in seen.types), reverse=True)


def test_more_than_was_allowed_is_not_copied(heap_of):
    process = heap_of(interpreters.get("3.13"), 10)
    with pytest.raises(heap.TooMuch, match="more than the 1 MB"):
        heap.census(process.pid, limit=1 << 20)


def test_a_program_that_is_no_python_is_refused():
    process = subprocess.Popen(["sleep", "30"])
    try:
        with pytest.raises(NotUnderstood):
            heap.census(process.pid)
    finally:
        process.kill()
        process.wait()


def test_the_process_that_counts_does_not_import_numpy_before_it_counts():
    line = "import sys, pellucid.observe.heap; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line], check=False).returncode == 0


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.14"])
def test_a_heap_that_is_counted_in_pieces_has_the_same_objects_and_sizes(heap_of, version):
    process = heap_of(interpreters.get(version), 2000)
    whole = heap.census(process.pid)
    told, pieces = heap.streamed(process.pid, piece=5 << 20)
    assert told.pid == process.pid
    assert {(row.type, row.count, row.bytes) for row in pieces.types} == {
        (row.type, row.count, row.bytes) for row in whole.types
    }
    assert pieces.attribute_bytes == whole.attribute_bytes
    assert pieces.pool_used_bytes == whole.pool_used_bytes
    assert "pieces of 5 MB" in pieces.gaps[0].why
