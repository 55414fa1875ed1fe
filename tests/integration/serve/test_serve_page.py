"""The admin port of a server: nothing runs for it until somebody opens it, then the page shows the server, and outlives its own process."""

import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from pellucid.kernel import procfs
from tests.serving import serving

SOON_S = 60.0


def test_the_page_begins_when_somebody_opens_it(home):
    with serving(home, "faulty", "--admin-port", "0", stdout=subprocess.PIPE) as server:
        supervisor = server.process.pid
        address = urlsplit(server.process.stdout.readline().decode().strip())
        server.process.stdout.close()
        assert address.hostname == "127.0.0.1"
        assert address.fragment == "/serving"
        assert not pages(supervisor)
        status, _, said = asked(address, "/", token=False)
        assert status == 401
        assert b"token" in said
        until(lambda: pages(supervisor))
        status, cookie, _ = asked(address, f"/?{address.query}", token=False)
        assert status == 200
        cookie = cookie["set-cookie"].partition(";")[0]
        (page,) = pages(supervisor)
        assert b"PELLUCID_PAGE_TOKEN" not in Path(f"/proc/{page}/cmdline").read_bytes()
        shown = {one["address"]: one for one in json.loads(asked(address, "/api/serving", cookie)[2])}
        assert address.netloc not in shown, "the page does not ask itself"
        ours = shown[urlsplit(server.url).netloc]
        assert (ours["model"], ours["why_not"], len(ours["workers"])) == ("faulty", "", 2)
        os.kill(page, signal.SIGKILL)
        until(lambda: not pages(supervisor))
        assert asked(address, "/api/serving", cookie)[0] == 200, "the cookie of before still lets in"
        assert pages(supervisor)[0] != page
        assert address.query.partition("=")[2] not in "".join(server.lines)


def pages(supervisor):
    """The pids of its children that serve the page."""
    return [pid for pid in procfs.children(supervisor) if "pellucid.present.web.activated" in procfs.command(pid)]


def until(true):
    limit = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def asked(address, path, cookie="", *, token=True):
    """(status, headers, body)."""
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=SOON_S)
    headers = (
        {"cookie": cookie}
        if cookie
        else {"authorization": f"Bearer {address.query.partition('=')[2]}"}
        if token
        else {}
    )
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()
