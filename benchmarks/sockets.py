"""Every TCP socket of a host that has 25,000 of them, with who holds it: `pellucid sockets` against ss and psutil.

Half of them are the other ends of the rest, so pellucid, which leads from each to its other end and to the process that holds that,
has as many ends to find. Before anything is timed, all have to tell the same connections with the same owners. The floors are the
answers without the start of a Python: what the kernel is asked, and what is made of it.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import harness, machine

ROUNDS = 7
PAIRS, CONNECTIONS = 10, 1250
TARGET = harness.here() / "benchmarks" / "targets" / "many_sockets.py"
PELLUCID = str(Path(sys.executable).with_name("pellucid"))
PSUTIL = "import psutil; print(len(psutil.net_connections('tcp')))"
_OWNER = re.compile(r"pid=(\d+)")
_SS = ["ss", "-tanpH"]

End = tuple[str, str, int]
"""Local and remote address, and the pid of a holder."""


def report() -> str:
    if not Path("/usr/bin/ss").exists() and not Path("/bin/ss").exists():
        raise harness.Failed("ss (iproute2) is not installed")
    with target() as pids:
        ends = _agreed(set(pids))
        commands = harness.interleave(_commands(), ROUNDS, warm_up=1)
        floors = harness.interleave(_floors(), ROUNDS, warm_up=1)
        one = harness.interleave(_of_one(pids[0]), ROUNDS, warm_up=1)
    parts = [
        machine.described(["pellucid", "psutil", "msgspec"], programs=[_version()]),
        (
            f"{ends} established TCP sockets of {2 * PAIRS} processes, both ends of each connection; all three tell the same ends with the same owners. "
            f"{ROUNDS} rounds, every command once a round.\n"
        ),
        "### Commands: all sockets of the host\n",
        _table(commands, "ss -tanp", "psutil.net_connections"),
        "`pellucid sockets` also tells the other end of each, and who holds that.\n",
        "### The answer alone, in a process that runs already\n",
        _table(floors, "psutil.net_connections", "sock_diag alone"),
        f"### The {CONNECTIONS} sockets of one process\n",
        _table(one, "ss -tanp, whole host", "psutil, of the process"),
    ]
    return "\n".join(parts)


def _table(runs: dict[str, list[harness.Run]], *beside: str) -> str:
    rows = [
        [
            name,
            harness.spread(harness.wall(measured)).text(1000),
            *(harness.ratios(harness.wall(measured), harness.wall(runs[peer])).text(digits=2) for peer in beside),
            harness.spread(harness.cpu(measured)).text(1000),
            harness.errors(measured),
        ]
        for name, measured in runs.items()
    ]
    return harness.table(["", "wall ms", *(f"× {peer}" for peer in beside), "CPU ms", "failed"], rows)


def _commands() -> dict[str, Callable[[], harness.Run]]:
    return {
        "pellucid sockets": harness.timed([PELLUCID, "sockets"]),
        "pellucid sockets --json": harness.timed([PELLUCID, "sockets", "--json"]),
        "ss -tanp": harness.timed(_SS),
        "ss -tan (without owners)": harness.timed(["ss", "-tanH"]),
        "psutil.net_connections": harness.timed([sys.executable, "-c", PSUTIL]),
    }


def _floors() -> dict[str, Callable[[], harness.Run]]:
    import psutil

    from pellucid.kernel import sockdiag
    from pellucid.observe.sockets import sockets

    return {
        "pellucid: sockets with both ends and owners": _timed(lambda: sockets(None)),
        "pellucid: sockets alone": _timed(lambda: sockets(None, far=False)),
        "sock_diag alone": _timed(lambda: sockdiag.inet(sockdiag.INET, sockdiag.TCP)),
        "psutil.net_connections": _timed(lambda: psutil.net_connections("tcp")),
    }


def _of_one(pid: int) -> dict[str, Callable[[], harness.Run]]:
    import psutil

    from pellucid.observe.sockets import sockets

    return {
        "pellucid sockets PID": harness.timed([PELLUCID, "sockets", str(pid)]),
        "pellucid, without its start": _timed(lambda: sockets(pid)),
        "ss -tanp, whole host": harness.timed(_SS),
        "psutil, of the process": _timed(lambda: psutil.Process(pid).net_connections("tcp")),
    }


def _timed(look: Callable[[], object]) -> Callable[[], harness.Run]:
    def once() -> harness.Run:
        wall, cpu = time.perf_counter(), time.process_time()
        look()
        return harness.Run(time.perf_counter() - wall, time.process_time() - cpu)

    return once


def _agreed(pids: set[int]) -> int:
    """How many ends there are; Failed where the three don't tell the same."""
    ours = {
        (one["local"], one["remote"], pid)
        for one in json.loads(harness.command([PELLUCID, "sockets", "--json"]).output)["sockets"]
        if one["proto"] == "tcp" and one["state"] == "ESTABLISHED"
        for pid in one["pids"]
        if pid in pids
    }
    said = {"pellucid": ours, "ss": set(_by_ss(pids)), "psutil": set(_by_psutil(pids))}
    if len({frozenset(ends) for ends in said.values()}) != 1 or len(ours) != 2 * PAIRS * CONNECTIONS:
        counts = ", ".join(f"{name} {len(ends)}" for name, ends in said.items())
        raise harness.Failed(f"they tell different sockets: {counts}")
    return len(ours)


def _by_ss(pids: set[int]) -> Iterator[End]:
    for line in harness.command(_SS).output.splitlines():
        state, _, _, local, remote, *owner = line.split()
        if state == "ESTAB":
            yield from ((local, remote, int(pid)) for pid in _OWNER.findall(" ".join(owner)) if int(pid) in pids)


def _by_psutil(pids: set[int]) -> Iterator[End]:
    import psutil

    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_ESTABLISHED and one.pid in pids:
            yield f"{one.laddr.ip}:{one.laddr.port}", f"{one.raddr.ip}:{one.raddr.port}", one.pid


def _version() -> str:
    return harness.command(["ss", "-V"]).output.strip().replace(" utility, ", " of ")


@contextmanager
def target() -> Iterator[list[int]]:
    """The processes that hold those sockets."""
    line = [sys.executable, "-S", "-E", str(TARGET), str(PAIRS), str(CONNECTIONS)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, *pids = process.stdout.readline().split()
        if word != "ready":
            raise harness.Failed("the connections could not be made")
        yield [int(pid) for pid in pids]
