"""Where the bytes are, beside what CPython and malloc say of themselves inside of the process."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pellucid.kernel import maps, pages
from pellucid.kernel.memory import Memory
from pellucid.model.errors import NoSuchProcess
from pellucid.observe import gc
from pellucid.observe.memory import Watch, watch
from pellucid.runtimes.cpython import pool_headers
from pellucid.runtimes.glibc import arenas, chunks
from tests import interpreters

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)


@pytest.fixture
def allocating(target):
    """`allocating(python, *ways)` → (process, what it says of itself when it is ready)."""

    def start(python, *ways, **options):
        process, line = target(python, "allocating.py", *ways, **options)
        return process, json.loads(line)

    return start


def writable(pid):
    return tuple(one for one in maps.read(pid) if one.permissions.startswith("rw") and not one.path.startswith("[v"))


@pytest.mark.parametrize("python", interpreters.each())
def test_pools_and_malloc_as_they_count_themselves(allocating, python):
    process, told = allocating(python, "records", "blocks", "threads", "buffers")
    mapped = writable(process.pid)
    seen = pages.pages(process.pid, mapped)
    with Memory.open(process.pid, "memory") as memory:
        pools = pool_headers.read(memory, mapped, seen)
        assert pools.blocks == pytest.approx(told["blocks"], rel=0.01)
        assert pools.resident_bytes == pytest.approx(len(pools.addresses) * pool_headers.POOL, rel=0.01)
        heaps = arenas.heaps(memory, mapped, seen)
        walked = [chunks.walk(memory, heap, seen, 1 << 30, 528) for heap in heaps]
        assert [one.broken for one in walked] == [""] * len(heaps)
        assert len(heaps) >= 3, "the main heap and those of two threads"
        tops = [heap.top or arenas.main_top(memory, mapped, one.top) for heap, one in zip(heaps, walked, strict=True)]
        fast = sum(arenas.fast(memory, top)[1] for top in tops if top)
        assert tops[0], "main_arena was not found in libc"
        own = arenas.own_mappings(
            memory, mapped, sorted((int(at), int(at) + pool_headers.POOL) for at in pools.addresses), seen
        )
    used = sum(int(one.sizes[one.used].sum()) for one in walked) - fast
    free = sum(int(one.sizes[~one.used].sum()) + one.top_bytes for one in walked) + fast
    # mallinfo2(3) counts all arenas; what a thread keeps in its cache it calls used, as we do.
    assert used == pytest.approx(told["uordblks"], rel=0.02)
    assert free == pytest.approx(told["fordblks"], rel=0.05, abs=1 << 18)
    assert sum(block.size for block in own) == pytest.approx(told["hblkhd"], rel=0.02, abs=1 << 16)
    assert len(own) == pytest.approx(told["hblks"], abs=2)


@pytest.mark.parametrize("python", interpreters.each())
def test_the_table_adds_up_and_knows_pythons_objects(allocating, python):
    process, _ = allocating(python, "records", "tables", "giant")
    with Watch(process.pid) as looking:
        looking.sample(table=True)
        (seen,) = looking.tables
    parts = {part.kind: part.resident_bytes for part in seen.parts if part.anonymous}
    assert sum(parts.values()) == pytest.approx(seen.rss_anon_bytes, rel=0.02)
    assert parts.get("other", 0) < 0.05 * seen.rss_anon_bytes
    assert seen.known_bytes > 0.9 * seen.rss_anon_bytes
    assert parts["python-large"] > 60 << 20, "a list and a dict of half a million, and one bytes of 40 MiB"
    assert seen.largest.bytes == pytest.approx(40 << 20, rel=0.01)
    assert seen.largest.what == "an object of type bytes"


def test_native_blocks_are_told_by_their_size(allocating):
    process, _ = allocating(OURS, "blocks")
    seen = watch(process.pid, 0.3)
    assert seen.last.native_bytes > 15 << 20
    assert seen.last.sizes[0].size == 416
    assert seen.last.sizes[0].count == pytest.approx(40_000, rel=0.01)


def test_arrays_of_numpy(allocating):
    pytest.importorskip("numpy")
    process, _ = allocating(OURS, "arrays")
    seen = watch(process.pid, 0.3)
    assert seen.last.array_bytes == pytest.approx(50 * 800_000, rel=0.02)
    assert seen.last.part("malloc-used") < 8 << 20


def test_without_pools(allocating):
    process, _ = allocating(OURS, "records", env={**os.environ, "PYTHONMALLOC": "malloc"})
    seen = watch(process.pid, 0.3)
    assert any("PYTHONMALLOC=malloc" in gap.why for gap in seen.gaps)
    assert seen.last.part("python-large") > 0.5 * seen.last.rss_anon_bytes, "they are found in malloc's chunks"


UNTOUCHED = """
import ctypes, mmap, time
size = 8 << 20
kept = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print(ctypes.addressof(ctypes.c_char.from_buffer(kept)), flush=True)
time.sleep(60)
"""


def test_a_page_that_is_not_in_memory_is_not_brought_there_by_looking():
    """Nor would one be that is in swap: a look must not make a process that is short of memory shorter of it."""
    with subprocess.Popen([sys.executable, "-c", UNTOUCHED], stdout=subprocess.PIPE, text=True) as process:
        try:
            start = int(process.stdout.readline())
            watch(process.pid, 0.3)
            with open(f"/proc/{process.pid}/pagemap", "rb") as file:
                file.seek(start // 4096 * 8)
                words = np.frombuffer(file.read(8 * 2048), np.uint64)
        finally:
            process.kill()
    assert len(words) == 2048
    assert (words >> np.uint64(63)).sum() <= 8, (
        "a few words of other blocks look like addresses of types, and are followed"
    )


def test_a_forked_child_whose_heap_grew_since():
    """The kernel keeps what was mapped before the fork and since in mappings of their own, side by side."""
    program = (
        "import ctypes, os, time\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\n"
        "def grow():\n    for _ in range(20000): ctypes.memset(libc.malloc(400), 1, 400)\n"
        "grow()\nif not os.fork():\n    grow()\n    print(os.getpid(), flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        child = int(process.stdout.readline())
        assert sum(one.path == "[heap]" for one in maps.read(child)) > 1
        seen = watch(child, 0.2)
        assert seen.last.walked == 1
        assert seen.last.sizes[0].count == pytest.approx(40_000, rel=0.01)
        assert seen.last.part("other") < 1 << 20
        os.killpg(process.pid, signal.SIGKILL)


def test_addresses_that_are_only_reserved(allocating):
    process, told = allocating(OURS, "reserved")
    seen = watch(process.pid, 0.2)
    assert seen.samples[-1].virtual_bytes > 256 << 30
    assert seen.last.part("other") == pytest.approx(4 << 20, rel=0.2)
    assert seen.last.pool_blocks == pytest.approx(told["blocks"], rel=0.06)  # which counts large blocks too


def test_a_heap_that_was_overwritten_is_told_as_far_as_it_can_be_walked(allocating):
    process, _ = allocating(OURS, "corrupt", "blocks")
    seen = watch(process.pid, 0.3)
    assert seen.last.walked < 1
    assert any("heap of malloc" in gap.what and "overwritten" in gap.why for gap in seen.gaps)


def test_it_becomes_another_program_while_it_is_looked_at():
    program = (
        "import os, sys; print('ready', flush=True); sys.stdin.readline(); os.execv('/bin/sleep', ['sleep', '60'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        samples = []

        def one_more(sample):
            samples.append(sample)
            if len(samples) == 3:
                process.stdin.write("go\n")
                process.stdin.flush()

        seen = watch(process.pid, 60, progress=one_more)
        assert seen.span_s < 50
        assert any("another program" in gap.why for gap in seen.gaps)
        process.kill()


def test_a_program_that_is_no_python():
    process = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.1)
        seen = watch(process.pid, 0.3)
        assert seen.last.known_bytes == 0
        assert seen.last.rss_anon_bytes > 0
        assert not any("Python" in part.what for part in seen.last.parts)
        assert not seen.gaps
    finally:
        process.kill()
        process.wait()


def test_it_ends_while_it_is_looked_at(allocating):
    process, _ = allocating(OURS, "records")
    samples = []

    def one_more(sample):
        samples.append(sample)
        if len(samples) == 3:
            process.kill()

    seen = watch(process.pid, 60, progress=one_more)
    assert seen.span_s < 50
    assert any("ended" in gap.why for gap in seen.gaps)
    process.wait()
    with pytest.raises(NoSuchProcess):
        watch(process.pid, 0.3)


def test_nobody_may_not(allocating):
    import pellucid.observe.memory_map  # noqa: F401  nobody may not be able to read our interpreter
    from pellucid.model.errors import NotPermitted
    from tests.nobody import as_nobody

    process, _ = allocating(OURS, "blocks")

    def refused():
        with pytest.raises(NotPermitted) as memory:
            watch(process.pid, 0.3)
        assert memory.value.remedy == f"sudo pellucid memory {process.pid}"
        with pytest.raises(NotPermitted) as collector:
            gc.watch(process.pid, 0.1)
        assert collector.value.remedy == f"sudo pellucid gc {process.pid}"

    as_nobody(refused)
