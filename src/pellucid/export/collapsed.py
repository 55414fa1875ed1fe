"""One line a stack, outermost first, and its weight: `main (app.py:3);handle (app.py:9) 1200`. For flamegraph.pl and whatever reads the same.

The number is microseconds of what the mode weighs. With several processes the first frame names the process. Threads are together.
"""

from collections import Counter

from pellucid.export.plain_profile import path, plain
from pellucid.model.profile import Profile
from pellucid.model.thread import Frame


def encode(profile: Profile) -> bytes:
    """UTF-8, heaviest stack first. A stack of less than a microsecond counts as one."""
    shown = plain(profile)
    several = len({track.pid for track in shown.tracks}) > 1
    weights: Counter[tuple[str, int]] = Counter()
    for track in shown.tracks:
        process = f"{_safe(track.process or 'process')} ({track.pid});" if several else ""
        for run in track.runs:
            weights[process, run.stack] += run.weight_ns
    names = [_safe(spelled(frame)) for frame in shown.frames]
    totals: Counter[str] = Counter()
    for (process, stack), weight in weights.items():
        if weight > 0:
            totals[process + ";".join(names[shown.stacks[node].frame] for node in path(shown, stack))] += weight
    return "".join(f"{stack} {max(round(weight / 1000), 1)}\n" for stack, weight in totals.most_common()).encode()


def spelled(frame: Frame) -> str:
    """`function (file.py:12)`; a frame that stands for something else has no file."""
    return str(frame) if frame.file else frame.function


def _safe(name: str) -> str:
    return name.replace(";", ",")
