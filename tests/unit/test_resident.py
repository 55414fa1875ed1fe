"""The words of pagemap: which pages are copied, and what is in swap."""

import numpy as np

from pellucid.kernel.resident import runs_of
from pellucid.runtimes.cpython.heap_stream import cut

PRESENT, SWAPPED = 1 << 63, 1 << 62
START = 0x7F0000000000


def pages(*words):
    return np.array(words, np.uint64)


def test_pages_that_are_there_or_in_swap_are_one_run_with_small_holes():
    runs, swapped = runs_of(pages(PRESENT, 0, SWAPPED, PRESENT, *[0] * 20, PRESENT), START)
    assert runs == [(START, START + 4 * 4096), (START + 24 * 4096, START + 25 * 4096)]
    assert swapped == 4096


def test_nothing_there_is_no_run():
    assert runs_of(pages(0, 0, 0), START) == ([], 0)
    assert runs_of(pages(), START) == ([], 0)


def test_a_file_page_is_told_by_another_bit():
    runs, swapped = runs_of(pages(PRESENT | 1 << 61, PRESENT | 1 << 55), START)
    assert runs == [(START, START + 8192)]
    assert swapped == 0


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
