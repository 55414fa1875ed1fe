"""For https://ui.perfetto.dev and chrome://tracing: each frame as a slice from when it was first until when it was last seen in a row.

Complete events (`X`) of the Trace Event Format, as one JSON object: a caller before its callees. A call that began and ended between two samples is not
in it, and two calls of one function that were seen in neighbouring samples are one slice: samples can't tell them apart. The category
of a slice is its file; arguments would be a part of its name in speedscope, which reads these files too.
"""

from typing import Any

import msgspec

from pellucid import __version__
from pellucid.export.plain_profile import path, plain, spans
from pellucid.model.profile import Profile, Track


def encode(profile: Profile) -> bytes:
    """JSON; `ts` is microseconds since the profile began."""
    shown = plain(profile)
    events: list[dict[str, Any]] = []
    named = set()
    for track in shown.tracks:
        if track.pid not in named:
            named.add(track.pid)
            events.append(_name("process_name", track.pid, track.tid, track.process or "Python"))
        events.append(_name("thread_name", track.pid, track.tid, track.name or "thread"))
    for track in shown.tracks:
        events += _slices(shown, track)
    return msgspec.json.encode(
        {
            "traceEvents": events,
            "displayTimeUnit": "ms",
            "otherData": {
                "exporter": f"pellucid {__version__}",
                "command": shown.command,
                "mode": shown.mode,
                "interval_ns": shown.taking.interval_ns,
            },
        }
    )


def _slices(profile: Profile, track: Track) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    functions: list[tuple[str, str]] = []
    opened: list[dict[str, Any]] = []
    at = 0

    def close(kept: int) -> None:
        for event in opened[kept:]:
            event["dur"] = at / 1000 - event["ts"]
        del opened[kept:]

    for start, end, run in spans(track, profile.taking.interval_ns):
        frames = (profile.frames[profile.stacks[node].frame] for node in path(profile, run.stack))
        wanted = [(frame.qualname, frame.file) for frame in frames]
        kept = 0
        if start == at:  # else nobody knows what happened meanwhile
            while kept < min(len(functions), len(wanted)) and functions[kept] == wanted[kept]:
                kept += 1
        close(kept)
        for qualname, file in wanted[kept:]:
            event = {
                "ph": "X",
                "ts": start / 1000,
                "dur": 0.0,
                "pid": track.pid,
                "tid": track.tid,
                "name": f"{qualname} ({file.rpartition('/')[2]})" if file else qualname,
                "cat": file.replace(",", " ") or profile.mode,
            }
            events.append(event)
            opened.append(event)
        functions, at = wanted, end
    close(0)
    return events


def _name(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
