"""A profile as a file, in the format that its suffix or a name says. FORMATS is the one place that knows them.

A format is a module of this room with `encode(profile: Profile) -> bytes`, and, where it can be read back, `decode(content: bytes, path: str) -> Profile | None`.
"""

import importlib
from collections.abc import Mapping

from pellucid.export.sound import flaw
from pellucid.model.errors import UsageError
from pellucid.model.profile import Profile

FORMATS: dict[str, tuple[str, str]] = {
    "pellucid": (".pellucid", "pellucid.export.archive"),
    "html": (".html", "pellucid.export.flamegraph"),
    "collapsed": (".collapsed", "pellucid.export.collapsed"),
    "speedscope": (".speedscope.json", "pellucid.export.speedscope"),
    "pprof": (".pb.gz", "pellucid.export.pprof"),
    "gecko": (".gecko.json", "pellucid.export.gecko"),
    "chrome": (".trace.json", "pellucid.export.chrome"),
    "json": (".json", "pellucid.export.profile_json"),
}
"""Name → (suffix, module). The suffix that fits a file best is the longest: `.speedscope.json` before `.json`."""


def format_of(path: str, formats: Mapping[str, tuple[str, str]] = FORMATS) -> str | None:
    """The name of the format that the suffix of `path` says, None for no known one."""
    fitting = [(len(suffix), name) for name, (suffix, _) in formats.items() if path.endswith(suffix)]
    return max(fitting)[1] if fitting else None


DIFFERENTIAL: dict[str, tuple[str, str]] = {"html": (".html", "pellucid.export.flamegraph")}
"""As FORMATS, for the difference of two profiles: a module with `encode_diff(before: Profile, after: Profile) -> bytes`."""


def encode_diff(before: Profile, after: Profile, name: str) -> bytes:
    """The difference of two profiles in format `name`. KeyError for no known one."""
    encoded: bytes = importlib.import_module(DIFFERENTIAL[name][1]).encode_diff(before, after)
    return encoded


def encode(profile: Profile, name: str) -> bytes:
    """The file in format `name`. KeyError for no known one."""
    encoded: bytes = importlib.import_module(FORMATS[name][1]).encode(profile)
    return encoded


def decode(content: bytes, path: str) -> Profile:
    """A profile that was saved, by the first of the formats that can be read back and that understands it. Raises UsageError."""
    for _, module in FORMATS.values():
        reader = getattr(importlib.import_module(module), "decode", None)
        found = reader(content, path) if reader is not None else None
        if isinstance(found, Profile):
            wrong = flaw(found)
            if wrong:
                raise UsageError(
                    tried=f"read the profile {path}",
                    said=f"it is damaged: {wrong}",
                    remedy="take it again: pellucid profile PID -o FILE.pellucid",
                )
            return found
    readable = [suffix for suffix, module in FORMATS.values() if hasattr(importlib.import_module(module), "decode")]
    raise UsageError(
        tried=f"read the profile {path}",
        said="it is no profile that pellucid has saved, or in a format that can't be read back",
        remedy=f"pellucid profile PID -o FILE{readable[0]}  ({', '.join(readable)} can be read back)",
    )
