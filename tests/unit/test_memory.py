"""Reads of our own memory, through the same calls that read another process's."""

import ctypes
import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from pellucid.kernel import maps
from pellucid.kernel.gather import gather
from pellucid.kernel.memory import MAX_BYTES, MAX_RANGES, TOP, Memory, Unreadable, Vector
from pellucid.model.errors import NoSuchProcess


@pytest.fixture
def memory():
    with Memory.open(os.getpid()) as opened:
        yield opened


@pytest.fixture
def known():
    """(address, content) of a block of ours."""
    content = bytes(range(256)) * 40
    block = ctypes.create_string_buffer(content, len(content))
    yield ctypes.addressof(block), content
    del block


@pytest.fixture
def hole():
    """(the address of a page, its size): the page can be read, and nothing after it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    page = os.sysconf("SC_PAGESIZE")
    at = libc.mmap(None, 2 * page, 3, 0x22, -1, 0)  # PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
    libc.munmap(at + page, page)
    yield at, page
    libc.munmap(at, page)


def test_what_is_read_is_what_is_there(memory, known):
    address, content = known
    assert memory.read(address, len(content)) == content
    assert memory.read_some(address + 3, 5) == content[3:8]
    assert memory.u64(address) == int.from_bytes(content[:8], "little")
    assert memory.u32(address + 1) == int.from_bytes(content[1:5], "little")
    assert memory.i32(address + 252) == int.from_bytes(content[252:256], "little", signed=True) < 0
    assert memory.string(address + 250) == content[250:256]


def test_what_ends_in_a_hole_is_unreadable_and_its_beginning_is_not(memory, hole):
    address, page = hole
    assert len(memory.read_some(address, 2 * page)) == page
    with pytest.raises(Unreadable) as refused:
        memory.read(address, page + 1)
    assert (refused.value.address, refused.value.size) == (address + page, 1)
    with pytest.raises(Unreadable) as refused:
        memory.u64(address + page)
    assert refused.value.errno == errno.EIO
    assert "EIO" in str(refused.value)


@pytest.mark.parametrize("address", [-1, TOP, 1 << 63, 1 << 64, 1 << 80])
def test_an_address_that_is_garbage_is_unreadable(memory, address):
    with pytest.raises(Unreadable) as refused:
        memory.read(address, 8)
    assert refused.value.errno == errno.EFAULT


@pytest.mark.parametrize("size", [-1, 0, MAX_BYTES + 1, 1 << 63])
def test_a_length_that_is_garbage_is_unreadable(memory, known, size):
    with pytest.raises(Unreadable) as refused:
        memory.read(known[0], size)
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("count", [1, 3, 4, 100, MAX_RANGES + 7])
def test_many_ranges_come_in_their_order(memory, known, count):
    address, content = known
    ranges = [(address + number, 1 + number % 9) for number in range(count)]
    assert memory.read_many(ranges) == [content[number : number + size] for number, (_, size) in enumerate(ranges)]


def test_ranges_that_can_not_be_read_are_none_and_cost_no_other(memory, known, hole):
    address, content = known
    start, page = hole
    good = (address, 16)
    bad = [
        (start + page, 8),
        (0, 8),
        (1 << 62, 8),
        (address, 0),
        (address, -5),
        (address, MAX_BYTES + 1),
        (start, page + 1),
    ]
    ranges = [good, *(part for each in bad for part in (each, good))]
    assert memory.read_many(ranges) == [content[:16], *(part for _ in bad for part in (None, content[:16]))]


def test_a_vector_copies_into_the_same_buffer_each_time(known):
    address, content = known
    vector = Vector(os.getpid(), [(address, 10), (address + 100, 20), (address, 10)])
    for _ in range(2):
        vector.buffer[:] = bytes(vector.size)
        assert vector.copy() == vector.size == 40
        assert bytes(vector.buffer) == content[:10] + content[100:120] + content[:10]
    assert vector.whole(39) == [content[:10], content[100:120]]


def test_a_vector_of_more_ranges_than_one_call_takes(known):
    address, content = known
    vector = Vector(os.getpid(), [(address + number % 100, 3) for number in range(2 * MAX_RANGES + 5)])
    assert vector.copy() == vector.size
    assert bytes(vector.buffer[-3:]) == content[(2 * MAX_RANGES + 4) % 100 :][:3]


def test_a_vector_says_how_far_it_came(known, hole):
    address, _ = known
    start, page = hole
    assert Vector(os.getpid(), [(address, 10), (start + page, 8), (address, 10)]).copy() == 10
    assert Vector(os.getpid(), [(start + page, 8), (address, 10)]).copy() == 0


@pytest.mark.parametrize("ranges", [[], [(4096, 0)], [(4096, MAX_BYTES), (4096, 1)]])
def test_a_vector_of_nothing_or_of_too_much_is_refused(ranges):
    with pytest.raises(ValueError, match="no batch"):
        Vector(os.getpid(), ranges)


def test_each_range_and_what_came_of_it(memory, known, hole):
    at, content = known
    edge, page = hole
    came = memory.read_each([at + 100, edge + page, edge + page - 8, 1 << 63], [16, 8, 16, 8])
    assert came == [content[100:116], b"", bytes(8), b""]
    into = bytearray(32)
    assert memory.read_into(at + 256, memoryview(into)) == 32
    assert into == content[256:288]
    assert memory.read_into(edge + page - 8, memoryview(into)) == 8
    assert memory.read_into(edge + page, memoryview(into)) == 0


def test_words_of_many_places(memory, known, hole):
    """In any order, equal ones, such as are not aligned, next to each other and far apart, and around what can't be read."""
    at, content = known
    edge, page = hole
    places = [
        at + 1024,
        at + 8,
        edge + page - 16,
        at + 8,
        at + 3,
        edge + page - 8,
        edge + page,
        at + 5000,
        1 << 60,
        edge,
    ]
    for wanted in (places, [place for place in places if place % 8 == 0]):
        words, good = gather(memory, np.array(wanted, np.uint64), 2)
        for row, place in enumerate(wanted):
            if at <= place < at + len(content):
                assert words[row].tobytes() == content[place - at : place - at + 16]
            assert good[row] == (place < 1 << 60 and not edge + page - 16 < place < edge + page + page)
            assert good[row] or not words[row].any()


def test_a_page_in_the_middle_that_is_gone(memory, known):
    """What lies behind it, and would have been read by the same call, is read for itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    page = os.sysconf("SC_PAGESIZE")
    at = libc.mmap(None, 3 * page, 3, 0x22, -1, 0)
    ctypes.memset(at, 7, 3 * page)
    libc.munmap(at + page, page)
    places = np.arange(at + page - 256, at + 2 * page + 256, 256, dtype=np.uint64)
    words, good = gather(memory, places, 1)
    assert good.tolist() == [not at + page <= place < at + 2 * page for place in places.tolist()]
    assert set(words[good, 0].tolist()) == {0x0707070707070707}
    libc.munmap(at, page)
    libc.munmap(at + 2 * page, page)


@pytest.mark.parametrize(("last", "said"), [("pass", "ended"), ("os.execv('/bin/sleep', ['sleep', '60'])", "execve")])
def test_the_memory_of_a_process_that_is_no_more(last, said):
    program = f"import os, sys; print('ready', flush=True); sys.stdin.readline(); {last}"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        with Memory.open(process.pid) as memory:
            at = next(one.start for one in maps.read(process.pid) if one.path == "[heap]")
            assert memory.read_each([at], [8])[0]
            process.stdin.write("go\n")
            process.stdin.flush()
            with pytest.raises(NoSuchProcess, match=said):
                _read_until_it_is_gone(memory, at)
            process.kill()


def _read_until_it_is_gone(memory, at):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        gather(memory, np.array([at], np.uint64), 1)
