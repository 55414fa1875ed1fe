"""Another version beside the one that serves: a share of the requests by their hash, or copies that are compared."""

import os
import signal
import time
from pathlib import Path

import pytest

from pellucid.serve.store import Store
from tests import serving
from tests.serving import row


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two versions; the second calls what the first calls 1, 0."""
    home = tmp_path_factory.mktemp("beside")
    store = Store(str(home / "pellucid" / "models"))
    serving.register_faulty(store.root)
    serving.register_faulty(store.root, turned=True)
    return home


def wait_beside(server):
    until = time.monotonic() + 60
    while server.ask("/beside/readyz").status != 200:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_share_of_the_requests_goes_to_the_canary_and_comes_back_when_it_dies(home):
    with serving.serving(home, "faulty:1", "--workers", "1", "--canary", "faulty:2", "--share", "50") as server:
        wait_beside(server)
        bodies = [row(number=number) for number in range(60)]
        versions = [server.predict(body).json["version"] for body in bodies]
        assert 15 < versions.count(2) < 45
        assert versions == [server.predict(body).json["version"] for body in bodies], "equal requests, equal versions"
        assert server.ask("/beside").json["sent"] == 2 * versions.count(2)
        assert b"pellucid_requests_total" in server.ask("/beside/metrics").body
        below = server.family()
        (other,) = (pid for pid in below if b"--unix" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(other, signal.SIGKILL)
        assert {server.predict(body).status for body in bodies} == {200}
        assert server.ask("/beside").json["failed"] > 0, "those were answered here"
        server.wait_log("beside_ended")
        wait_beside(server)
        below = server.family()
    ended, left = serving.gone_within(below)
    assert ended, left


def test_copies_go_to_the_shadow_and_are_compared_and_never_shown(home):
    with serving.serving(home, "faulty:1", "--workers", "1", "--shadow", "faulty:2", "--share", "100") as server:
        wait_beside(server)
        assert {server.predict(row(number=number)).json["version"] for number in range(10)} == {1}
        until = time.monotonic() + 30
        while (seen := server.ask("/beside").json)["sent"] < 10 and time.monotonic() < until:
            time.sleep(0.05)
        assert (seen["kind"], seen["model"], seen["sent"], seen["different"]) == ("shadow", "faulty version 2", 10, 10)
        difference = seen["last_differences"][0]
        assert (difference["here"]["prediction"], difference["there"]["prediction"]) == (1, 0)
        assert 'pellucid_beside_different_total{worker="0"} 10' in server.ask("/metrics").body.decode()
