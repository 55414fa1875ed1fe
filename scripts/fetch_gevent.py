"""Fetches gevent from PyPI for the tests, for each interpreter of this machine, into folders of the cache that tests put on PYTHONPATH.

    python scripts/fetch_gevent.py [3.11 3.13 ...]
    → ~/.cache/pellucid/gevent/3.13/gevent

Only wheels are taken, so that no compiler is needed, and nothing is installed into the interpreters themselves. Exit status 0: all are
there; 1: one sentence on stderr for each that is not.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests import interpreters

REQUIREMENT = "gevent==26.9.0"
SECONDS = 300


def cache() -> Path:
    """Where they are kept: XDG_CACHE_HOME/pellucid/gevent."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pellucid" / "gevent"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = [python.version for python in interpreters.find() if python.version in interpreters.EXPECTED]
    parser.add_argument("versions", nargs="*", default=here, help="minor versions, by default those of this machine")
    options = parser.parse_args()
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for version in options.versions:
            home = folder / version
            if (home / REQUIREMENT).exists():
                continue
            why = fetch(version, home)
            if why:
                print(f"fetch_gevent: no gevent for CPython {version}: {why}", file=sys.stderr)
                failed = 1
    return failed


def fetch(version: str, home: Path) -> str:
    """Why it could not be had; "" when it is there, complete."""
    new = home.with_name(home.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    wheels = ["--only-binary", ":all:", "--python-version", version, "--implementation", "cp", "--target", str(new)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        done = subprocess.run(
            [*pip, *wheels, REQUIREMENT], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return said[-1] if said else f"pip ended with {done.returncode}"
    (new / REQUIREMENT).touch()
    shutil.rmtree(home, ignore_errors=True)
    new.rename(home)
    return ""


if __name__ == "__main__":
    sys.exit(main())
