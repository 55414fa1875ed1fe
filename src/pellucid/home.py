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


def hosts() -> str:
    """The folder of the agents on other machines that are known here."""
    return os.path.join(home(), "hosts")


def agent() -> str:
    """The folder of this machine's own agent: its key, its certificate, its token."""
    return os.path.join(home(), "agent")


def write_private(path: str, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises OSError."""
    passing = f"{path}.{os.getpid()}"
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(passing, path)
    except OSError:
        os.unlink(passing)
        raise
