"""An interpreter that has Ray and pellucid's server, for tests of what runs on a cluster.

Ray takes 600 MB, and so is no part of the environment of the tests: one of its own is looked for, in which this checkout is used by PYTHONPATH.
    python3 -m venv ~/.cache/pellucid/ray && ~/.cache/pellucid/ray/bin/pip install '.[serve,ray]'
"""

import importlib.util
import sys
from pathlib import Path

PLACE = Path.home() / ".cache" / "pellucid" / "ray" / "bin" / "python"
SOURCE = str(Path(__file__).parent.parent / "src")


def python():
    """Its path, None where there is none."""
    if importlib.util.find_spec("ray") is not None:
        return sys.executable
    return str(PLACE) if PLACE.exists() else None
