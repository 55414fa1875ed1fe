"""Protocol Buffers, as far as they are written here: a message is its fields one after the other, each a key and a value.

(protobuf.dev/programming-guides/encoding. The library would add 5.6 MB to a process, and a span by it takes 10 µs to make where it takes 8 here:
protobuf 7, CPython 3.11.)
"""

import struct
from collections.abc import Iterable

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def integer(field: int, number: int) -> bytes:
    """Of the types int32, int64, uint32, uint64, bool and enum."""
    return varint(field << 3 | _VARINT) + varint(number)


def fixed64(field: int, number: int) -> bytes:
    """Not negative."""
    return varint(field << 3 | _FIXED64) + struct.pack("<Q", number)


def signed64(field: int, number: int) -> bytes:
    """Of the type sfixed64."""
    return varint(field << 3 | _FIXED64) + struct.pack("<q", number)


def fixed32(field: int, number: int) -> bytes:
    return varint(field << 3 | _FIXED32) + struct.pack("<I", number)


def double(field: int, number: float) -> bytes:
    return varint(field << 3 | _FIXED64) + struct.pack("<d", number)


def content(field: int, content: bytes) -> bytes:
    """Bytes, or a message within a message."""
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def text(field: int, text: str) -> bytes:
    """Nothing of an empty one, which is what a field is that is not there."""
    return content(field, text.encode("utf-8", "replace")) if text else b""


def packed(field: int, numbers: Iterable[int]) -> bytes:
    """Varints, one after the other."""
    return content(field, b"".join(map(varint, numbers)))


def varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; the eighth says that more follow. A negative one is its 64-bit two's complement."""
    if 0 <= number < 128:
        return _ONE_BYTE[number]
    number &= (1 << 64) - 1
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


_ONE_BYTE = [bytes((number,)) for number in range(128)]
