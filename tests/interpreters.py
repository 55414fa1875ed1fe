"""Every CPython of this machine that the integration tests run their small target programs under, one for each minor version.

    @pytest.mark.parametrize("python", interpreters.each())
    def test_...(python: Interpreter): subprocess.Popen([python.path, ...])

An expected version that is missing is a skip that names the script which fetches it. Looked for in this order: pyenv's
versions, the cache folder of scripts/fetch_interpreters.py, PATH.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

EXPECTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
"""The versions that pellucid has a layout table for."""

OLDER = ("3.8", "3.9", "3.10")
"""The versions that it names and does not read."""


class Interpreter(NamedTuple):
    version: str
    """`3.13`."""
    path: str

    @property
    def minor(self) -> int:
        return int(self.version.partition(".")[2])


def each(versions: tuple[str, ...] = EXPECTED) -> list:
    """One pytest parameter for each of `versions`, with ids like "3.13"; a missing one is skipped, loudly."""
    import pytest

    found = {python.version: python for python in find()}
    return [
        pytest.param(found[version], id=version)
        if version in found
        else pytest.param(None, id=version, marks=pytest.mark.skip(reason=_missing(version)))
        for version in versions
    ]


def _missing(version: str) -> str:
    if version in {"3.14", "3.15"}:
        return f"CPython {version} is not on this machine: run scripts/fetch_interpreters.py"
    return f"CPython {version} is not on this machine: neither pyenv nor PATH has it (scripts/fetch_interpreters.py lists what it fetches)"


@functools.cache
def find() -> tuple[Interpreter, ...]:
    """All of them, oldest first."""
    found = (_one(version) for version in (*OLDER, *EXPECTED))
    return tuple(python for python in found if python)


def get(version: str) -> Interpreter:
    """The one of that minor version; skips the test that asks for a missing one."""
    import pytest

    for python in find():
        if python.version == version:
            return python
    return pytest.skip(_missing(version))


def _one(version: str) -> Interpreter | None:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pellucid" / "interpreters"
    places = [
        *sorted(pyenv.glob(f"{version}.*/bin/python{version}")),
        cache / version / "usr" / "bin" / f"python{version}",
    ]
    places += [Path(place) for place in [shutil.which(f"python{version}")] if place]
    return next((Interpreter(version, str(place)) for place in places if _runs(place, version)), None)


def _runs(place: Path, version: str) -> bool:
    """It is there and is what its name says: a shim of pyenv has every name and runs none of them."""
    if not os.access(place, os.X_OK):
        return False
    program = (
        "import sys, sysconfig; print('%d.%d' % sys.version_info[:2], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
    )
    told = subprocess.run([place, "-Sc", program], capture_output=True, text=True, check=False, timeout=60)
    return told.stdout.split() == [version, "0"]
