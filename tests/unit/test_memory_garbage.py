"""Foreign memory may hold anything: the readers of heaps, pools and logs end, and stay within what they were given."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pellucid.kernel import killlog
from pellucid.kernel.pagemap import Regions, of_words
from pellucid.kernel.pages import Pages
from pellucid.runtimes.cpython import large_blocks
from pellucid.runtimes.glibc import chunks

WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1), st.integers(0, 4096), st.sampled_from([0, 0x21, 0x31, 0x211, (1 << 64) - 1, 1 << 63])
)
START = 0x5601AA000000


@given(st.lists(WORDS, min_size=8, max_size=256))
def test_a_chain_of_chunks_ends_and_stays_in_its_window(words):
    words = [*words, *[0] * (len(words) % 2)]
    buffer = np.array(words, np.uint64)
    end = START + 8 * len(words)
    found, after, _ = chunks._chain(buffer, START, START, end, end)
    assert len(found) <= len(words) // 4 + 1
    assert all(one < other for one, other in zip(found.tolist(), found.tolist()[1:], strict=False))
    assert not len(found) or START <= found[0] <= found[-1] < end
    assert after <= end + 8 * len(words)


@given(st.lists(st.lists(WORDS, min_size=6, max_size=6), min_size=1, max_size=64))
def test_the_first_words_of_a_block_may_be_anything(rows):
    words = np.array(rows, np.uint64)
    assert large_blocks._dict_keys(words).shape == (len(rows),)
    assert large_blocks._counted(words[:, 0]).shape == (len(rows),)


def test_a_free_block_has_no_sane_count():
    counted = large_blocks._counted(np.array([0, 1, 7, 1 << 47, (1 << 47) | 16, 0xC0000000, 0x1_0000_0001], np.uint64))
    assert counted.tolist() == [False, True, True, False, False, True, False]


def test_a_table_of_a_dict_is_told_by_numbers_that_fit_each_other():
    log2_size, log2_index_bytes, kind = 10, 11, 1
    head = log2_size | log2_index_bytes << 8 | kind << 16
    good = [1, head, 82, 600, 0, 0]  # 682 entries fit into 1024 places (USABLE_FRACTION)
    assert large_blocks._dict_keys(np.array([good], np.uint64)).tolist() == [True]
    for place, value in ((0, 0), (1, head | 200), (2, 83), (3, 601)):
        bad = [*good]
        bad[place] = value
        assert large_blocks._dict_keys(np.array([bad], np.uint64)).tolist() == [False], (place, value)


@given(st.text(max_size=2000))
def test_a_log_may_say_anything(text):
    assert all(kill.pid >= 0 for kill in killlog.kills(text))


def test_pages_that_are_there_in_part():
    present, swapped, shared = 1 << 63, 1 << 62, 1 << 63 | 1 << 61
    low, high = (
        of_words(np.array(words, np.uint64), start)
        for words, start in (((present, 0, swapped, present), 0x10000), ((shared, present), 0x20000))
    )
    both = Regions(*(np.concatenate((getattr(low, name), getattr(high, name))) for name in Regions.__struct_fields__))
    seen = Pages(np.array([0x10000, 0x20000], np.uint64), np.array([0x14000, 0x22000], np.uint64), both)
    assert seen.index(np.array([0xFFFF, 0x10000, 0x13FFF, 0x14000, 0x21000], np.uint64)).tolist() == [-1, 0, 3, -1, 5]
    assert seen.are_present(np.array([0x10000, 0x11000, 0x12000, 0x20000, 0x30000], np.uint64)).tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert seen.resident(np.array([0x10000], np.uint64), 0x4000).tolist() == [2 * 4096]
    assert seen.resident_of(0x12000, 0x22000) == 2 * 4096, "a page of a file is no anonymous memory"
