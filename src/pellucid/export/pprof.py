"""For `go tool pprof`, Pyroscope, Grafana, Datadog and others: gzipped Protocol Buffers, written by hand: a varint is all there is to it.

The message is perftools.profiles.Profile of github.com/google/pprof/proto/profile.proto; the numbers of its fields stand at their use.
Each sample has two values, how many and how long, and the labels `thread`, `tid`, `pid`, `process` and `state`.
"""

import gzip
from collections.abc import Iterable

from pellucid import __version__
from pellucid.export.plain_profile import path, plain
from pellucid.model.profile import Profile

_VARINT, _BYTES = 0, 2  # wire types: protobuf.dev/programming-guides/encoding


def encode(profile: Profile) -> bytes:
    """The same bytes for the same profile: the gzip header carries no time."""
    return gzip.compress(_message(plain(profile)), compresslevel=6, mtime=0)


def _message(profile: Profile) -> bytes:
    strings = _Strings()
    counted = "calls" if profile.mode == "calls" else "samples"
    weighed = "time" if profile.mode == "calls" else profile.mode
    kind = _value_type(strings, weighed, "nanoseconds")
    parts = [_bytes(1, _value_type(strings, counted, "count")), _bytes(1, kind)]
    parts += _samples(profile, strings)
    # One mapping that claims to be symbolised: pprof looks for no binary then.
    parts.append(_bytes(3, _int(1, 1) + _int(5, strings[profile.command]) + _int(7, 1) + _int(8, 1) + _int(9, 1)))
    functions: dict[tuple[str, str], int] = {}
    for number, frame in enumerate(profile.frames, 1):
        function = functions.setdefault((frame.qualname, frame.file), len(functions) + 1)
        line = _int(1, function) + _int(2, frame.line or 0)
        parts.append(_bytes(4, _int(1, number) + _int(2, 1) + _bytes(4, line)))
    for (qualname, file), number in functions.items():
        name = strings[qualname]
        parts.append(_bytes(5, _int(1, number) + _int(2, name) + _int(3, name) + _int(4, strings[file])))
    parts += [
        _int(9, int(profile.began_at * 1e9)),
        _int(10, profile.duration_ns),
        _bytes(11, kind),
        _int(12, profile.taking.interval_ns),
        _int(13, strings[f"pellucid {__version__}"]),
        _int(14, strings[weighed]),
    ]
    parts += [_bytes(6, text.encode()) for text in strings]  # the table comes last: only now is it complete
    return b"".join(parts)


def _samples(profile: Profile, strings: "_Strings") -> list[bytes]:
    """One for each stack of each thread in each state: the time at which it was seen is not part of the format."""
    found = []
    for track in profile.tracks:
        sums: dict[tuple[int, str], tuple[int, int]] = {}
        for run in track.runs:
            samples, weight = sums.get((run.stack, run.state), (0, 0))
            sums[run.stack, run.state] = samples + run.samples, weight + run.weight_ns
        label = (
            _label_text(strings, "thread", track.name)
            + _label_number(strings, "tid", track.tid)
            + _label_number(strings, "pid", track.pid)
            + _label_text(strings, "process", track.process)
        )
        for (stack, state), values in sums.items():
            leaf_first = [profile.stacks[node].frame + 1 for node in reversed(path(profile, stack))]
            found.append(
                _bytes(2, _packed(1, leaf_first) + _packed(2, values) + label + _label_text(strings, "state", state))
            )
    return found


class _Strings(dict[str, int]):
    """The string table: text → its number; number 0 is the empty one, as the format asks."""

    def __init__(self) -> None:
        super().__init__({"": 0})

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


def _value_type(strings: _Strings, kind: str, unit: str) -> bytes:
    return _int(1, strings[kind]) + _int(2, strings[unit])


def _label_text(strings: _Strings, key: str, text: str) -> bytes:
    return _bytes(3, _int(1, strings[key]) + _int(2, strings[text])) if text else b""


def _label_number(strings: _Strings, key: str, number: int) -> bytes:
    return _bytes(3, _int(1, strings[key]) + _int(3, number))


def _int(field: int, number: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(number)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _packed(field: int, numbers: Iterable[int]) -> bytes:
    return _bytes(field, b"".join(map(_varint, numbers)))


def _varint(number: int) -> bytes:
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
