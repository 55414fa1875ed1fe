"""A profile kept whole, to be shown, compared and exported later: `slow.pellucid`.

The first line says what it is, also to `head -1`: `pellucid profile 1`, the number being the version of the format. The rest is
one zlib stream of MessagePack. A file may come from anybody: what is read is bounded, and checked before it is believed.
"""

import zlib

import msgspec

from pellucid.export.plain_profile import encodable
from pellucid.inert import inert
from pellucid.model.errors import UsageError
from pellucid.model.profile import Profile

VERSION = 1
SUFFIX = ".pellucid"
MOST = 256 << 20
"""Bytes that a file may have, packed and unpacked: about ten million runs of equal samples."""

_MAGIC = b"pellucid profile "
_HEAD = 64  # bytes within which the first line ends


def encode(profile: Profile) -> bytes:
    """Names are kept as they are, but for lone surrogates, which UTF-8 does not have."""
    content = msgspec.msgpack.encode(encodable(profile))
    return b"%s%d\n%s" % (_MAGIC, VERSION, zlib.compress(content, 6))


def decode(content: bytes, path: str, most: int = MOST) -> Profile | None:
    """The profile in `content`, the bytes of file `path`; None if it is something else. Raises UsageError: newer, cut short, damaged."""
    head, newline, packed = content.partition(b"\n") if b"\n" in content[:_HEAD] else (content[:_HEAD], b"", b"")
    version = head.removeprefix(_MAGIC)
    if not head.startswith(_MAGIC) or not newline or not version.isdigit():
        return None
    if int(version) > VERSION:
        said = f"it was written by a newer pellucid: version {int(version)} of the format, and this one reads up to {VERSION}"
        raise _wrong(path, said, "pip install --upgrade pellucid")
    try:
        return msgspec.msgpack.decode(_unpacked(packed, path, most), type=Profile)
    except zlib.error:
        raise _wrong(path, "it is damaged: what is in it can't be unpacked") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(path, f"it is damaged: {inert(str(error))[:200]}") from None


def _unpacked(packed: bytes, path: str, most: int) -> bytes:
    """Raises zlib.error, and UsageError for a file that is cut short or unpacks to more than `most` bytes."""
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(packed, most)
    if unpacking.unconsumed_tail:
        raise _wrong(path, f"it unpacks to more than {most >> 20} MiB, which no profile does")
    if not unpacking.eof:
        raise _wrong(path, "it is cut short: the end is missing")
    if unpacking.unused_data:
        raise _wrong(path, "it is damaged: something follows the end")
    return content


def _wrong(path: str, said: str, remedy: str = "") -> UsageError:
    return UsageError(
        tried=f"read the profile {path}",
        said=said,
        remedy=remedy or f"take it again: pellucid profile -o FILE{SUFFIX} PID",
    )
