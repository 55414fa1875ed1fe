"""For `go tool pprof`, Pyroscope, Grafana, Datadog and others: gzipped Protocol Buffers.

The message is perftools.profiles.Profile of github.com/google/pprof/proto/profile.proto; the numbers of its fields stand at their use.
Each sample has two values, how many and how long, and the labels `thread`, `tid`, `pid`, `process` and `state`.
"""

import gzip

from pellucid import __version__
from pellucid.export.plain_profile import path, plain
from pellucid.export.protobuf import content, integer, packed
from pellucid.model.profile import Profile


def encode(profile: Profile) -> bytes:
    """The same bytes for the same profile: the gzip header carries no time."""
    return gzip.compress(_message(plain(profile)), compresslevel=6, mtime=0)


def _message(profile: Profile) -> bytes:
    strings = _Strings()
    counted = "calls" if profile.mode == "calls" else "samples"
    weighed = "time" if profile.mode == "calls" else profile.mode
    kind = _value_type(strings, weighed, "nanoseconds")
    parts = [content(1, _value_type(strings, counted, "count")), content(1, kind)]
    parts += _samples(profile, strings)
    # One mapping that claims to be symbolised: pprof looks for no binary then.
    parts.append(
        content(3, integer(1, 1) + integer(5, strings[profile.command]) + integer(7, 1) + integer(8, 1) + integer(9, 1))
    )
    functions: dict[tuple[str, str], int] = {}
    for number, frame in enumerate(profile.frames, 1):
        function = functions.setdefault((frame.qualname, frame.file), len(functions) + 1)
        line = integer(1, function) + integer(2, frame.line or 0)
        parts.append(content(4, integer(1, number) + integer(2, 1) + content(4, line)))
    for (qualname, file), number in functions.items():
        name = strings[qualname]
        parts.append(content(5, integer(1, number) + integer(2, name) + integer(3, name) + integer(4, strings[file])))
    parts += [
        integer(9, int(profile.began_at * 1e9)),
        integer(10, profile.duration_ns),
        content(11, kind),
        integer(12, profile.taking.interval_ns),
        integer(13, strings[f"pellucid {__version__}"]),
        integer(14, strings[weighed]),
    ]
    parts += [content(6, text.encode()) for text in strings]  # the table comes last: only now is it complete
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
                content(2, packed(1, leaf_first) + packed(2, values) + label + _label_text(strings, "state", state))
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
    return integer(1, strings[kind]) + integer(2, strings[unit])


def _label_text(strings: _Strings, key: str, text: str) -> bytes:
    return content(3, integer(1, strings[key]) + integer(2, strings[text])) if text else b""


def _label_number(strings: _Strings, key: str, number: int) -> bytes:
    return content(3, integer(1, strings[key]) + integer(3, number))
