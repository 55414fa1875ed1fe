"""For https://profiler.firefox.com: its processed format, one thread of it for each of ours, with a track over time.

Version 48 of the format (docs-developer/CHANGELOG-formats.md of firefox-devtools/profiler), which newer viewers upgrade by themselves.
The processed one and not the one that Firefox itself writes, since only there a sample has a weight: equal neighbours are one sample.
"""

from typing import Any

import msgspec

from pellucid import __version__
from pellucid.export.plain_profile import plain
from pellucid.model.profile import NO_STACK, Profile, Track

_PROCESSED_VERSION = 48
_GECKO_VERSION = 29
_CATEGORIES = (("Other", "grey"), ("Program", "blue"), ("Library", "green"))
_OTHER, _PROGRAM, _LIBRARY = range(3)


def encode(profile: Profile) -> bytes:
    """JSON; times are milliseconds since the profile began."""
    shown = plain(profile)
    return msgspec.json.encode(
        {
            "meta": {
                "interval": (profile.taking.interval_ns or 1_000_000) / 1e6,
                "startTime": profile.began_at * 1000,
                "processType": 0,
                "categories": [
                    {"name": name, "color": colour, "subcategories": ["Other"]} for name, colour in _CATEGORIES
                ],
                "product": shown.command or "Python",
                "stackwalk": 0,
                "debug": False,
                "version": _GECKO_VERSION,
                "preprocessedProfileVersion": _PROCESSED_VERSION,
                "symbolicated": True,
                "markerSchema": [],
                "extensions": {"id": [], "name": [], "baseURL": [], "length": 0},
                "importedFrom": f"pellucid {__version__}",
                "usesOnlyOneStackType": True,
                "doesNotUseFrameImplementation": True,
                "sourceCodeIsNotOnSearchfox": True,
            },
            "libs": [],
            "pages": [],
            "threads": [_thread(shown, track) for track in shown.tracks],
        }
    )


def _thread(profile: Profile, track: Track) -> dict[str, Any]:
    """A thread of the format has tables of its own: only the stacks that it was seen in are copied into them."""
    tables = _Tables(profile)
    stacks = [tables.stack(run.stack) for run in track.runs]
    return {
        "name": track.name or "thread",
        "isMainThread": track.tid == track.pid,
        "processType": "default",
        "processName": track.process or "Python",
        "processStartupTime": 0,
        "processShutdownTime": None,
        "registerTime": 0,
        "unregisterTime": None,
        "pausedRanges": [],
        "pid": str(track.pid),
        "tid": track.tid,
        "showMarkersInTimeline": False,
        "samples": {
            "stack": stacks,
            "time": [run.at_ns / 1e6 for run in track.runs],
            "weight": [run.weight_ns / 1e6 for run in track.runs],
            "weightType": "tracing-ms",
            "length": len(stacks),
        },
        "markers": {
            **{name: [] for name in ("data", "name", "startTime", "endTime", "phase", "category")},
            "length": 0,
        },
        **tables.encoded(),
    }


class _Tables:
    """The columns of one thread. `stack` copies a stack of the profile into them and gives its number there."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._strings: dict[str, int] = {}
        self._functions: dict[tuple[str, str], int] = {}
        self._frames: dict[int, int] = {}
        self._stacks: dict[int, int] = {}

    def stack(self, ours: int) -> int:
        missing = []
        while ours != NO_STACK and ours not in self._stacks:
            missing.append(ours)
            ours = self._profile.stacks[ours].parent
        for node in reversed(missing):
            self._stacks[node] = len(self._stacks)
            self._frame(self._profile.stacks[node].frame)
        return self._stacks[missing[0]] if missing else self._stacks[ours]

    def _frame(self, ours: int) -> None:
        if ours not in self._frames:
            self._frames[ours] = len(self._frames)
            frame = self._profile.frames[ours]
            self._functions.setdefault((frame.qualname, frame.file), len(self._functions))

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def encoded(self) -> dict[str, Any]:
        frames = [self._profile.frames[ours] for ours in self._frames]
        nodes = [self._profile.stacks[ours] for ours in self._stacks]
        functions, files = list(self._functions), sorted({file for _, file in self._functions if file})
        category = [
            _OTHER if not frame.file else _PROGRAM if frame.own and frame.line is not None else _LIBRARY
            for frame in frames
        ]
        in_stack = [category[self._frames[node.frame]] for node in nodes]
        return {
            "stackTable": {
                "frame": [self._frames[node.frame] for node in nodes],
                "prefix": [None if node.parent == NO_STACK else self._stacks[node.parent] for node in nodes],
                "category": in_stack,
                "subcategory": [0] * len(nodes),
                "length": len(nodes),
            },
            "frameTable": {
                "func": [self._functions[frame.qualname, frame.file] for frame in frames],
                "line": [frame.line for frame in frames],
                "category": category,
                "subcategory": [0] * len(frames),
                "address": [-1] * len(frames),
                "inlineDepth": [0] * len(frames),
                **{
                    name: [None] * len(frames) for name in ("column", "nativeSymbol", "implementation", "innerWindowID")
                },
                "length": len(frames),
            },
            "funcTable": {
                "name": [self._string(name) for name, _ in functions],
                "fileName": [self._string(file) if file else None for _, file in functions],
                "resource": [files.index(file) if file else -1 for _, file in functions],
                "isJS": [False] * len(functions),
                "relevantForJS": [False] * len(functions),
                "lineNumber": [None] * len(functions),
                "columnNumber": [None] * len(functions),
                "length": len(functions),
            },
            "resourceTable": {
                "name": [self._string(file) for file in files],
                "lib": [None] * len(files),
                "host": [None] * len(files),
                "type": [5] * len(files),  # resourceTypes.url of src/profile-logic/data-structures
                "length": len(files),
            },
            "nativeSymbols": {
                **{name: [] for name in ("libIndex", "address", "name", "functionSize")},
                "length": 0,
            },
            "stringArray": list(self._strings),
        }
