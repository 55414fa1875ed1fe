"""For https://www.speedscope.app (which runs from a file, too): one sampled profile a thread, the heaviest first.

The format: file-format-schema.json in speedscope's release, 1.25.
"""

from typing import Any

import msgspec

from pellucid import __version__
from pellucid.export.plain_profile import path, plain
from pellucid.model.profile import Profile, Track

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def encode(profile: Profile) -> bytes:
    """JSON; weights are nanoseconds of what the mode weighs."""
    shown = plain(profile)
    tracks = sorted(shown.tracks, key=lambda track: -_weight(track))
    frames: list[dict[str, Any]] = []
    for frame in shown.frames:
        told: dict[str, Any] = {"name": frame.qualname}
        if frame.file:
            told["file"] = frame.file
        if frame.line is not None:
            told["line"] = frame.line
        frames.append(told)
    return msgspec.json.encode(
        {
            "$schema": _SCHEMA,
            "name": shown.command or "profile",
            "exporter": f"pellucid {__version__}",
            "activeProfileIndex": 0,
            "shared": {"frames": frames},
            "profiles": [_sampled(shown, track) for track in tracks],
        }
    )


def _sampled(profile: Profile, track: Track) -> dict[str, Any]:
    stacks = {run.stack: [profile.stacks[node].frame for node in path(profile, run.stack)] for run in track.runs}
    return {
        "type": "sampled",
        "name": f"{track.name or 'thread'} ({track.process + ' ' if track.process else ''}{track.pid}/{track.tid})",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": _weight(track),
        "samples": [stacks[run.stack] for run in track.runs],
        "weights": [run.weight_ns for run in track.runs],
    }


def _weight(track: Track) -> int:
    return sum(run.weight_ns for run in track.runs)
