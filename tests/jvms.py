"""The JVMs on this machine, and Java programs to look at: compiled once for all tests, each started by a test and ended by its pid.

`java` and `javac` of the PATH; further JVMs where `scripts/fetch_jvms.py` has put them.
"""

import contextlib
import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "targets" / "jvm"
FETCHED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pellucid" / "jvms"

JAVA = shutil.which("java")
JAVAC = shutil.which("javac")

needs_java = pytest.mark.skipif(
    JAVA is None or JAVAC is None, reason="*** no java and javac (Debian: default-jdk-headless)"
)


def others():
    """(version, path of java) of the fetched JVMs."""
    return [
        (found.name, str(found / "bin" / "java"))
        for found in sorted(FETCHED.glob("*"))
        if (found / "bin" / "java").exists()
    ]


@functools.cache
def compiled(directory):
    """All programs in `directory`, for Java 11: the oldest JVM that they are run on."""
    sources = [str(path) for path in sorted(SOURCES.glob("*.java")) if path.name != "HeapOracle.java"]
    subprocess.run([JAVAC, "-nowarn", "--release", "11", "-d", str(directory), *sources], check=True, timeout=100)
    return directory


class Running:
    """A JVM that runs `program` of targets/jvm and has said that it is ready."""

    def __init__(self, classes, program, *arguments, options=("-Xmx64m",), java=None, wait=True, before=(), **popen):
        self.process = subprocess.Popen(
            [*before, java or JAVA, "-XX:TieredStopAtLevel=1", *options, "-cp", str(classes), program, *arguments],
            stdin=subprocess.PIPE,
            stdout=popen.pop("stdout", subprocess.PIPE),
            text=True,
            **popen,
        )
        self.pid = self.process.pid
        if wait:
            line = self.process.stdout.readline().strip()
            if line != "ready":
                self.__exit__()
                pytest.fail(f"{program} said {line!r}")

    def begin(self):
        """To a program that waits for a word on its stdin."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/tmp/.java_pid{self.pid}")  # killed, it leaves its socket to whoever gets its pid


def tool(name, *arguments, java=None):
    """What jstat, jcmd, jstack of the JDK say."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"*** no {name} of the JDK")
    return subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout
