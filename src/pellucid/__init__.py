"""See inside a running process from outside, and read in plain words what is wrong with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.api import Recording, record, snapshot, why
    from pellucid.inside.profiler import Profiler
    from pellucid.model.errors import NoSuchProcess, NotPermitted, NotUnderstood, PellucidError, UsageError
    from pellucid.model.finding import Finding
    from pellucid.model.profile import Profile
    from pellucid.model.recording import RecordingReport
    from pellucid.model.report import WhyReport
    from pellucid.model.snapshot import Snapshot
    from pellucid.present.cli.profile_text import text
    from pellucid.saving import load, save

__all__ = [
    "Finding",
    "NoSuchProcess",
    "NotPermitted",
    "NotUnderstood",
    "PellucidError",
    "Profile",
    "Profiler",
    "Recording",
    "RecordingReport",
    "Snapshot",
    "UsageError",
    "WhyReport",
    "__version__",
    "load",
    "record",
    "save",
    "snapshot",
    "text",
    "why",
]

__version__ = "0.1.0"

_FROM = {
    "Finding": "pellucid.model.finding",
    "NoSuchProcess": "pellucid.model.errors",
    "NotPermitted": "pellucid.model.errors",
    "NotUnderstood": "pellucid.model.errors",
    "PellucidError": "pellucid.model.errors",
    "Profile": "pellucid.model.profile",
    "Profiler": "pellucid.inside.profiler",
    "Recording": "pellucid.api",
    "RecordingReport": "pellucid.model.recording",
    "Snapshot": "pellucid.model.snapshot",
    "UsageError": "pellucid.model.errors",
    "WhyReport": "pellucid.model.report",
    "load": "pellucid.saving",
    "record": "pellucid.api",
    "save": "pellucid.saving",
    "snapshot": "pellucid.api",
    "text": "pellucid.present.cli.profile_text",
    "why": "pellucid.api",
}


def __getattr__(name: str) -> object:
    """What programs import from here is looked up when it is asked for: the command line needs none of it, and starts faster without."""
    if name not in _FROM:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_FROM[name]), name)
    return found
