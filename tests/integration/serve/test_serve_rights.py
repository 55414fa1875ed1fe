"""Without privileges, without the right to look, and under a memory limit: it serves, and says what it could not see."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import pellucid
from tests import limits, serving
from tests.serving import Asking, row

NOBODY = 65534
ROOT = pytest.mark.skipif(os.getuid() != 0, reason="becoming another user, or making a cgroup, needs root")


@pytest.fixture
def nobodys_home(home):
    """A copy of the state that belongs to nobody, where nobody can reach it."""
    place = Path("/tmp", f"pellucid-nobody-{os.getpid()}-{time.monotonic_ns()}")
    shutil.copytree(home, place, ignore=shutil.ignore_patterns("incidents"))
    for path in [place, *place.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place)


def as_nobody(home):
    """A command line that runs the rest of it as nobody, without any capability, in a mount namespace where nobody can read our Python."""
    source = str(Path(pellucid.__file__).parents[1])
    needed = {sys.base_prefix, sys.prefix, sysconfig.get_path("purelib"), source}
    closed = sorted({place for path in needed for place in _closed(Path(path))})
    script = ["set -e"]
    for number, place in enumerate(closed):
        inside = [path for path in needed if Path(path).is_relative_to(place)]
        for path in inside:
            script += [_sh("mkdir", "-p", f"{home}/bound/{number}{path}"), _bind(path, f"{home}/bound/{number}{path}")]
        script += [_sh("mount", "-t", "tmpfs", "-o", "mode=755", "none", place)]
        for path in inside:
            script += [_sh("mkdir", "-p", path), _bind(f"{home}/bound/{number}{path}", path)]
    script += [_bind(_readable(source, home / "source"), source)]
    script += [
        f"exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "
        + shlex.join(["sh", "-c", 'exec "$@"', "sh"])
        + ' "$@"'
    ]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script), "sh"]


def _sh(*words):
    return shlex.join(map(str, words))


def _bind(path, place):
    return _sh("mount", "--bind", path, place)


def _readable(source, copy):
    """A copy that others can read: a clone that was made under a strict umask can't be."""
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def _closed(path):
    """Folders above `path` that others may not enter."""
    return [place for place in path.parents if not place.stat().st_mode & 0o001]


def status(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return line.split()[1]
    raise AssertionError(field)


@ROOT
def test_as_nobody_it_serves_and_explains_its_own_workers(nobodys_home):
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here (unshare --mount)")
    prefix = as_nobody(nobodys_home)
    with serving.serving(nobodys_home, "faulty", "--workers", "1", "--timeout", "2", prefix=prefix) as server:
        for pid in [server.process.pid, *server.family()]:
            assert (status(pid, "Uid"), int(status(pid, "CapEff"), 16)) == (str(NOBODY), 0)
        assert server.predict(row()).status == 200

        asking = Asking(server, row("lock"))
        noticed = server.wait_log("stuck")
        assert "faulty.py" in noticed["sentence"], "a process may look at another one of its user"
        assert asking.answer().status == 504
        server.wait_log("replaced")

        before = len(server.log)
        asking = Asking(server, row("hide"), row("lock"))
        noticed = server.wait_log("stuck", after=before)
        assert "it could not be looked at" in noticed["sentence"]
        assert asking.answer().status == 504
        server.wait_log("replaced", after=before)
        incident = server.incident(noticed["incident"])
        assert [look["snapshot"] for look in incident["looks"]] == [None, None]
        assert all("dumpable" in look["why_not"] for look in incident["looks"])
        server.wait_workers(1)
        assert server.predict(row()).status == 200
        server.process.terminate()
        assert server.process.wait(60) == 0


@pytest.fixture
def limited():
    with limits.limited("pellucid-test", 700 << 20) as folder:
        yield folder


@ROOT
def test_a_worker_killed_by_the_oom_killer_is_named_as_that(home, limited):
    prefix = ["sh", "-c", f'echo $$ > {limited}/cgroup.procs && exec "$@"', "sh"]
    with serving.serving(home, "faulty", "--workers", "1", prefix=prefix) as server:
        asking = Asking(server, row("grow 2000"))
        died = server.wait_log("died")
        assert isinstance(asking.answer(), OSError)
        assert "killed by SIGKILL; by the kernel's OOM killer: oom_kill of cgroup" in died["sentence"]
        assert "went from 0 to 1 (its limit is 700 MiB)" in died["sentence"]
        assert "died in request r-0-1, 1 row" in died["sentence"]
        server.wait_workers(1)
        assert server.predict(row()).status == 200
        assert server.incident(died["incident"])["rss_bytes"] > 0
