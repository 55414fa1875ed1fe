"""A flame graph as one HTML file that needs nothing else: `page/` has its parts, as files of their own, which are put together here.

It fetches nothing (its Content-Security-Policy forbids it to), and what it shows is data to it: names reach the page as text only. The
time line is not in it, only sums; for that there are the formats of Firefox and Chrome.
"""

import base64
import hashlib
import html
import pkgutil
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from pellucid.export.plain_profile import plain
from pellucid.inert import inert
from pellucid.model.profile import NO_STACK, Profile, StackNode, Track
from pellucid.model.thread import Frame

_MODULES = ("calls.js", "flame.js", "table.js", "main.js")  # each after those that it imports from
_STATES = ("running", "waiting", "gil", "unknown")
_PROGRAM, _LIBRARY, _OTHER = range(3)
_DISTORTED = 5
_WEIGHED = {
    "wall": "Wall-clock time",
    "cpu": "CPU time",
    "gil": "Time with the GIL",
    "calls": "Time in calls, each of which was traced",
}


def encode(profile: Profile) -> bytes:
    """The flame graph of one profile."""
    shown = plain(profile)
    return _page({**_contents(shown), "title": shown.command or "profile", "facts": facts(profile)})


def encode_diff(before: Profile, after: Profile) -> bytes:
    """The flame graph of `after`, coloured by what has a larger or smaller share than in `before`."""
    early, late = plain(before), plain(after)
    frames, stacks = list(late.frames), list(late.stacks)
    known = _numbered(stacks)
    places = {frame: number for number, frame in reversed(list(enumerate(frames)))}
    moved: dict[int, int] = {NO_STACK: NO_STACK}
    for number, node in enumerate(early.stacks):
        frame = early.frames[node.frame]
        if frame not in places:
            places[frame] = len(frames)
            frames.append(frame)
        key = (moved[node.parent], places[frame])
        if key not in known:
            known[key] = len(stacks)
            stacks.append(StackNode(*key))
        moved[number] = known[key]
    sums: Counter[tuple[int, int]] = Counter()
    for track in early.tracks:
        for run in track.runs:
            sums[moved[run.stack], _STATES.index(run.state)] += run.weight_ns
    joined = msgspec.structs.replace(late, frames=tuple(frames), stacks=tuple(stacks))
    told = (
        f"Earlier: {before.command or 'profile'}: {facts(before)} Later: {after.command or 'profile'}: {facts(after)}"
    )
    title = f"{inert(before.command) or 'profile'} → {late.command or 'profile'}"
    return _page({**_contents(joined), "title": title, "facts": inert(told), "before": _flat(sums)})


def facts(profile: Profile) -> str:
    """What a reader has to know to judge the picture: what was weighed, how many samples there are, how many are missing, what they cost."""
    taking = profile.taking
    told = [f"{_WEIGHED[profile.mode]}, {profile.duration_ns / 1e9:.2f} s"]
    if profile.mode != "calls":
        rate = 1e9 / taking.interval_ns
        told.append(f"{taking.taken} of {taking.asked} samples at {rate:g} Hz were taken")
        if taking.missed:
            told.append(f"{taking.missed} came too late and were left out")
        if taking.failed:
            told.append(f"{taking.failed} failed")
        if taking.unstable:
            told.append(f"{taking.unstable} stack{'s' * (taking.unstable > 1)} cut, where they moved too fast")
    if taking.cpu_s > 0 and taking.wall_s > 0:
        told.append(f"the sampler took {100 * taking.cpu_s / taking.wall_s:.1f} % of a CPU")
    if taking.slowdown is not None:
        told.append(f"the program ran {taking.slowdown:.2f} times as long for it")
    return inert("; ".join(told) + ".")


def _contents(profile: Profile) -> dict[str, Any]:
    gaps = [f"{gap.what}: {gap.why}" + (f" (try: {gap.remedy})" if gap.remedy else "") for gap in profile.gaps]
    return {
        "frames": [[frame.qualname, frame.file, frame.line, _kind(frame)] for frame in profile.frames],
        "parents": [node.parent for node in profile.stacks],
        "stackFrames": [node.frame for node in profile.stacks],
        "tracks": [_sums(track) for track in profile.tracks],
        "gaps": [inert(gap) for gap in gaps],
        "how": inert(_how(profile)),
        "traced": profile.trace is not None and not profile.trace.lines,
        "empty": "Nothing to show: "
        + (inert(gaps[0]) if gaps else "no thread ran Python while the samples were taken."),
    }


def _how(profile: Profile) -> str:
    """How the effect on the program was measured, and what a tracer made look other than it is."""
    if profile.taking.slowdown is None:
        return ""
    found = profile.trace.functions if profile.trace is not None else ()
    distorted = sorted((one for one in found if one.distorted), key=lambda one: -abs(one.share - one.true_share))
    shares = [f"{one.qualname} ({one.share:.1%} traced, {one.true_share:.1%} here)" for one in distorted[:_DISTORTED]]
    told = f" Without that, the largest differences were: {', '.join(shares)}." if shares else ""
    return f"{profile.taking.slowdown_how}.{told}"


def _sums(track: Track) -> dict[str, Any]:
    weights: Counter[tuple[int, int]] = Counter()
    for run in track.runs:
        weights[run.stack, _STATES.index(run.state)] += run.weight_ns
    told = {"name": track.name or "thread", "process": track.process, "pid": track.pid, "tid": track.tid}
    return {**told, "sums": _flat(weights)}


def _flat(weights: Counter[tuple[int, int]]) -> list[int]:
    """Stack, state, nanoseconds; stack, state, ..."""
    return [value for (stack, state), weight in weights.items() for value in (stack, state, weight)]


def _kind(frame: Frame) -> int:
    """A function of a shared object has no line; it is as little the program's own as a package is."""
    own = frame.own and (frame.line is not None or frame.file.endswith(".py"))
    return _OTHER if not frame.file else _PROGRAM if own else _LIBRARY


def _numbered(stacks: list[StackNode]) -> dict[tuple[int, int], int]:
    return {(node.parent, node.frame): number for number, node in reversed(list(enumerate(stacks)))}


def _page(profile: Mapping[str, Any]) -> bytes:
    style, script = _part("flamegraph.css"), "\n".join(_script(name) for name in _MODULES)
    # "<" would let a name end the element that holds it; the other two end a line of JavaScript before ECMAScript 2019.
    encoded = msgspec.json.encode(profile).decode()
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        encoded = encoded.replace(sign, f"\\u{ord(sign):04x}")
    parts = {
        "title": html.escape(f"{profile['title']} - pellucid"),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "profile": encoded,
    }
    page = re.sub(
        r"\{(title|style|style_hash|script|script_hash|profile)\}",
        lambda found: parts[found[1]],
        _part("flamegraph.html"),
    )
    return page.encode()


def _script(name: str) -> str:
    """A module as a part of one: what it imports stands above it, and nobody outside asks for what it exports."""
    text = re.sub(r"^import .*;\n", "", _part(name), flags=re.MULTILINE)
    return re.sub(r"^export (?=class|function|const)", "", text, flags=re.MULTILINE)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _part(name: str) -> str:
    content = pkgutil.get_data("pellucid.export", f"page/{name}")
    assert content is not None, f"pellucid is not installed whole: page/{name} is missing"
    return content.decode()
