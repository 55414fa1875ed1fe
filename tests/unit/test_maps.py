"""Lines of /proc/PID/maps, as the kernel writes them."""

import os

from pellucid.kernel import maps
from pellucid.kernel.maps import Mapping


def parsed(line):
    return maps.mapping(line, {})


def test_a_mapped_library():
    line = "7f1d8a000000-7f1d8a028000 r-xp 00026000 fe:01 262563                     /usr/lib/libc.so.6"
    assert parsed(line) == Mapping(
        0x7F1D8A000000, 0x7F1D8A028000, "r-xp", 0x26000, "254:1", 262563, "/usr/lib/libc.so.6", False
    )
    assert parsed(line).of_file


def test_anonymous_memory_has_no_path():
    mapping = parsed("7ffd1000-7ffd2000 rw-p 00000000 00:00 0 ")
    assert (mapping.path, mapping.of_file, mapping.deleted) == ("", False, False)
    assert parsed("55d0-55e0 rw-p 00000000 00:00 0                          [heap]").path == "[heap]"


def test_a_deleted_file_and_names_with_spaces_and_newlines():
    mapping = parsed("1000-2000 r--p 00000000 00:1f 12                         /tmp/a b\\012c (deleted)")
    assert (mapping.path, mapping.deleted, mapping.device) == ("/tmp/a b\nc", True, "0:31")
    assert parsed("1000-2000 r--p 00000000 00:1f 12 /tmp/(deleted).so").deleted is False


def test_our_own_mappings_have_our_code_in_order():
    found = maps.read(os.getpid())
    assert [mapping.start for mapping in found] == sorted(mapping.start for mapping in found)
    assert any(mapping.path == "[stack]" for mapping in found)
    here = id(found)
    assert any(mapping.start <= here < mapping.end for mapping in found)
