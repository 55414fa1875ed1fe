"""See inside a running process from outside, and read in plain words what is wrong with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.inside.profiler import Profiler
    from pellucid.present.cli.profile_text import text
    from pellucid.saving import load, save

__all__ = ["Profiler", "__version__", "load", "save", "text"]

__version__ = "0.1.0"

_FROM = {
    "Profiler": "pellucid.inside.profiler",
    "load": "pellucid.saving",
    "save": "pellucid.saving",
    "text": "pellucid.present.cli.profile_text",
}


def __getattr__(name: str) -> object:
    """What programs import from here is looked up when it is asked for: the command line needs none of it, and starts faster without."""
    if name not in _FROM:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_FROM[name]), name)
    return found
