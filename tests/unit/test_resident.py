"""The words of pagemap: which pages are copied, and what is in swap."""

import ctypes
import mmap
import os
from errno import ENOTTY

import numpy as np
import pytest

from pellucid.kernel.pagemap import PAGE, PageMap, of_words
from pellucid.kernel.resident import runs_of
from pellucid.runtimes.cpython.heap_stream import cut

PRESENT, SWAPPED, FILE, GUARD = 1 << 63, 1 << 62, 1 << 61, 1 << 58
START = 0x7F0000000000
MADV_GUARD_INSTALL = 102  # include/uapi/asm-generic/mman-common.h, Linux 6.13


def runs(*words):
    regions = of_words(np.array(words, np.uint64), START)
    found = runs_of(regions, [(START, START + PAGE * len(words))])
    pages = [((start - START) // PAGE, (end - START) // PAGE) for start, end in found]
    return pages, int((regions.ends - regions.starts)[regions.swapped].sum()) // PAGE


def test_pages_that_are_there_or_in_swap_are_one_run_with_small_holes():
    assert runs(PRESENT, 0, SWAPPED, PRESENT, *[0] * 20, PRESENT) == ([(0, 4), (24, 25)], 1)


def test_nothing_there_is_no_run():
    assert runs(0, 0, 0) == ([], 0)
    assert runs() == ([], 0)


def test_a_file_page_is_told_by_another_bit():
    assert runs(PRESENT | FILE, PRESENT | 1 << 55) == ([(0, 2)], 0)


def test_a_guard_page_is_none_in_swap():
    assert runs(SWAPPED | GUARD, SWAPPED | GUARD, PRESENT) == ([(2, 3)], 0)


def test_a_run_does_not_lead_from_one_mapping_into_the_next():
    regions = of_words(np.array([PRESENT] * 4, np.uint64), START)
    split = of_words(np.array([PRESENT] * 2, np.uint64), START + 2 * PAGE)
    both = type(regions)(
        *(np.concatenate((getattr(regions, name)[:1], getattr(split, name))) for name in regions.__struct_fields__)
    )
    mapped = [(START, START + 2 * PAGE), (START + 2 * PAGE, START + 4 * PAGE)]
    assert len(runs_of(both, mapped)) == 2
    assert len(runs_of(regions, [(START, START + 4 * PAGE)])) == 1


@pytest.fixture
def touched():
    """64 pages: 32 written to, of which 4 were made guards where the kernel can; one read and never written to."""
    view = mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory = ctypes.c_char.from_buffer(view)
    start = ctypes.addressof(memory)
    start += -start % PAGE
    ctypes.memset(start, 1, 32 * PAGE)
    guarded = (
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start + 8 * PAGE), ctypes.c_size_t(4 * PAGE), MADV_GUARD_INSTALL) == 0
    )
    assert view[40 * PAGE] == 0
    yield start, guarded
    del memory


def regions_of(pages, start, files):
    found = pages.regions([(start, start + 64 * PAGE)], files=files)
    return [
        ((int(one) - start) // PAGE, (int(end) - start) // PAGE, bool(swapped))
        for one, end, swapped in zip(found.starts, found.ends, found.swapped, strict=True)
    ]


@pytest.mark.parametrize("files", [False, True])
def test_pages_of_this_process(touched, files):
    start, guarded = touched
    written = [(0, 8, False), (12, 32, False)] if guarded else [(0, 32, False)]
    with PageMap(os.getpid()) as pages:
        found = regions_of(pages, start, files)
    assert found in (written, [*written, (40, 41, False)]), "the page of zeros is known to PAGEMAP_SCAN alone"


def test_the_words_say_the_same_where_the_kernel_can_not_scan(touched, monkeypatch):
    start, _ = touched

    def refused(*_):
        raise OSError(ENOTTY, os.strerror(ENOTTY))

    with PageMap(os.getpid()) as pages:
        scanned = regions_of(pages, start, files=True)
        monkeypatch.setattr("fcntl.ioctl", refused)
        read = regions_of(pages, start, files=True)
    assert [one for one in read if one != (40, 41, False)] == [one for one in scanned if one != (40, 41, False)]


def test_memory_is_cut_between_arenas():
    arena = 1 << 20
    runs = ((arena // 2, 3 * arena + 4096), (10 * arena, 10 * arena + 4096))
    groups = list(cut(runs, 2 * arena))
    assert [
        run for group in groups for run in group if run[0] % arena and run[0] not in {start for start, _ in runs}
    ] == []
    assert sum(end - start for group in groups for start, end in group) == sum(end - start for start, end in runs)
    assert all(sum(end - start for start, end in group) <= 2 * arena for group in groups)


def test_an_arena_is_never_cut_even_where_it_is_larger_than_a_piece():
    arena = 1 << 20
    assert list(cut(((0, 2 * arena),), 4096)) == [((0, arena),), ((arena, 2 * arena),)]
