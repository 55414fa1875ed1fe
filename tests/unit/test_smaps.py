"""What each mapping has in memory, from the text of the kernel."""

from pellucid.kernel import smaps

TEXT = """\
5601aa000000-5601aa021000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
Rss:                  96 kB
Pss:                  48 kB
Anonymous:            96 kB
Swap:                  8 kB
SwapPss:               4 kB
VmFlags: rd wr mr mw me ac
7f00aa000000-7f00aa100000 r--s 00000000 08:01 42                         /srv/Rss: 1 kB (deleted)
Rss:                 512 kB
Pss:                 512 kB
Anonymous:             0 kB
VmFlags: rd mr me
"""


def test_the_numbers_of_each_mapping():
    heap, file = smaps.parse(TEXT)
    assert (heap.mapping.path, heap.rss, heap.pss, heap.anonymous, heap.swap) == ("[heap]", 98304, 49152, 98304, 8192)
    assert (file.mapping.path, file.rss, file.anonymous, file.swap) == ("/srv/Rss: 1 kB", 524288, 0, 0)
    assert file.shared
    assert not heap.shared
    assert file.mapping.deleted


def test_no_mapping_at_all():
    assert smaps.parse("") == []
