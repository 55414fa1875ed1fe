"""Two network namespaces joined by a cable, in which packets can be lost: 10.99.0.1 is the server's, 10.99.0.2 the client's.

Each is kept alive by a sleeping process of ours, so that nothing of them outlives the tests. They need root (CAP_SYS_ADMIN,
CAP_NET_ADMIN), `ip` and `nft`; a test that can't have them is skipped, and says which is missing.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import time

import pytest

SERVER, CLIENT = "10.99.0.1", "10.99.0.2"
_SETNS = ctypes.CDLL(None, use_errno=True).setns
_LIMIT_S = 20


class Net:
    """One network namespace; `pid` is a process that lives in it."""

    def __init__(self, pid):
        self.pid = pid

    def run(self, *command):
        subprocess.run(["nsenter", "--net", "--target", str(self.pid), *command], check=True, timeout=_LIMIT_S)

    def enter(self):
        """For Popen(preexec_fn=...): the child moves in."""
        network = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        if _SETNS(network, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(network)

    def drop(self, what):
        """Incoming packets that match are lost from now on."""
        self.run("nft", "add", "table", "ip", "lossy")
        self.run("nft", "add chain ip lossy in { type filter hook input priority 0; }")
        self.run("nft", f"add rule ip lossy in {what} drop")

    def drop_nothing(self):
        self.run("nft", "flush", "ruleset")


@contextlib.contextmanager
def cable():
    """(the server's Net, the client's Net); skips where they can't be made."""
    _need()
    with contextlib.ExitStack() as stack:
        server, client = (Net(stack.enter_context(_sleeper())) for _ in range(2))
        try:
            server.run("ip", "link", "add", "pel-a", "type", "veth", "peer", "name", "pel-b", "netns", str(client.pid))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine can't join network namespaces by a veth pair: {error}")
        for net, end, address in ((server, "pel-a", SERVER), (client, "pel-b", CLIENT)):
            net.run("ip", "addr", "add", f"{address}/24", "dev", end)
            net.run("ip", "link", "set", end, "up")
            net.run("ip", "link", "set", "lo", "up")
        yield server, client


def _need():
    missing = [tool for tool in ("ip", "nft", "nsenter", "unshare") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: scripts/install_test_tools.sh installs them")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True, timeout=_LIMIT_S).returncode:
        pytest.skip("making a network namespace is not permitted here: root is needed")


@contextlib.contextmanager
def _sleeper():
    process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        ours = os.readlink("/proc/self/ns/net")
        until = time.monotonic() + _LIMIT_S
        while os.readlink(f"/proc/{process.pid}/ns/net") == ours and time.monotonic() < until:
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()
