"""Where state lives: `$XDG_DATA_HOME/pellucid`, `~/.local/share/pellucid` without it (XDG base directory specification).

A relative XDG_DATA_HOME is ignored, as the specification demands.
"""

import os


def home() -> str:
    """The folder of all state; it need not exist yet."""
    base = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(base, "pellucid")


def models() -> str:
    """The store of models."""
    return os.path.join(home(), "models")


def incidents() -> str:
    """The folder of incidents."""
    return os.path.join(home(), "incidents")


def recordings() -> str:
    """The folder of recordings that were given no name."""
    return os.path.join(home(), "recordings")
