"""Who may ask `pellucid web`, and what it answers: the gate, the documents, the looks that cost something, its end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.web import Web

TARGETS = Path(__file__).parents[1] / "targets"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    with Web(env={**os.environ, "XDG_DATA_HOME": str(tmp_path_factory.mktemp("state"))}) as running:
        yield running


@pytest.fixture(scope="module")
def session(web):
    """What a browser has after it opened the printed address: its cookie, and the token for what changes something."""
    status, headers, _ = web.ask("GET", web.url.removeprefix(web.base), bearer=False)
    assert status == 200
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.request("GET", "/api/live", headers={"cookie": cookie.partition(";")[0]})
    stream = connection.getresponse()
    assert stream.readline() == b"event: hello\n"
    hello = json.loads(stream.readline().removeprefix(b"data: "))
    connection.close()
    return {"cookie": cookie.partition(";")[0], "x-pellucid-token": hello["token"], "origin": web.base, **JSON}


@pytest.mark.parametrize("token", ["", "wrong", "%00", "é"])
def test_nobody_comes_in_without_the_token(web, token):
    for path in (f"/?token={token.encode().hex() if token == 'é' else token}", "/api/live", "/api/p/1/files"):
        status, headers, body = web.ask("GET", path, bearer=False)
        assert status == 401, path
        assert b"open the whole address" in body
        assert "set-cookie" not in headers
    assert web.ask("GET", "/", {"authorization": f"Bearer {'x' * len(web.token)}"}, bearer=False)[0] == 401
    assert web.ask("GET", "/", {"cookie": f"pellucid-{web.port}=x"}, bearer=False)[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost:x", ""])
def test_a_name_that_resolves_to_this_machine_is_not_this_machine(web, host):
    """DNS rebinding: the browser thinks that it asks evil.example, whose address has become 127.0.0.1."""
    assert web.ask("GET", web.url.removeprefix(web.base), {"host": host})[0] == 421


@pytest.mark.parametrize("host", ["127.0.0.1:9999", "localhost:80", "LOCALHOST", "[::1]:80"])
def test_a_tunnel_to_another_port_is_this_machine(web, host):
    assert web.ask("GET", "/", {"host": host})[0] == 200


def test_a_page_of_somebody_else_can_not_ask_even_with_the_cookie(web, session):
    """Another port of 127.0.0.1 is the same site, so the browser sends the cookie; it is another origin."""
    path, body = f"/api/p/{os.getpid()}/jobs", json.dumps({"action": "why"})
    other = {**session, "origin": "http://127.0.0.1:1"}
    assert web.ask("POST", path, other, body, bearer=False)[0] == 403
    for missing in ("origin", "x-pellucid-token"):
        without = {name: value for name, value in session.items() if name != missing}
        assert web.ask("POST", path, without, body, bearer=False)[0] == 403, missing
    cross = {"cookie": session["cookie"], "sec-fetch-site": "same-site"}
    assert web.ask("GET", f"/api/p/{os.getpid()}/files", cross, bearer=False)[0] == 403
    assert web.ask("POST", path, {"cookie": session["cookie"], **JSON}, body, bearer=False)[0] == 403


def test_what_is_sent_is_small_and_json(web, session):
    path = f"/api/p/{os.getpid()}/jobs"
    large = json.dumps({"action": "why", "before": "x" * 100_000})
    assert web.ask("POST", path, session, large, bearer=False)[0] == 413
    chunks = (b"x" * 1000 for _ in range(100))  # of no known length
    assert web.ask("POST", path, session, chunks, bearer=False)[0] == 413
    plain = {**session, "content-type": "text/plain"}
    assert web.ask("POST", path, plain, "{}", bearer=False)[0] == 415
    for wrong in ("{", "[]", '{"action": "rm"}', '{"action": "why", "more": 1}', '{"action": "profile", "mode": "-o"}'):
        assert web.ask("POST", path, session, wrong, bearer=False)[0] == 422, wrong
    assert web.ask("POST", path, session, '{"action": "profile", "seconds": 1e9}', bearer=False)[0] == 409


def test_every_answer_forbids_what_the_page_does_not_need(web):
    asked = (
        ("GET", "/", {}, 200),
        ("GET", "/page/main.js", {}, 200),
        ("GET", "/api/p/1/info", {}, 200),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/", {"authorization": "Bearer x"}, 401),
        ("GET", "/", {"host": "evil.example"}, 421),
        ("DELETE", "/api/serving", JSON, 405),
        ("POST", "/api/p/1/jobs", {"content-type": "text/plain"}, 415),
        ("GET", "/api/past/x.recording/1?at=nan", {}, 422),
    )
    for method, path, given, status in asked:
        found, headers, _ = web.ask(method, path, given)
        assert found == status, path
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy, "nothing comes from elsewhere"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("name", ["..%2Fapi.py", "../api.py", "%2e%2e/api.py", "main.py", ".js", "none.js", "x%00.js"])
def test_only_the_page_s_own_files_are_given_out(web, name):
    assert web.ask("GET", f"/page/{name}", bearer=False)[0] in {401, 404}


def test_a_process_that_is_not_there_is_told_in_three_lines(web):
    status, _, body = web.ask("GET", "/api/p/4194303/files")
    assert status == 404
    error = json.loads(body)["error"]
    assert error["code"] == "no_such_process"
    assert error["remedy"].startswith("pellucid ps")
    assert web.ask("GET", "/api/p/99999999999999/files")[0] == 404
    assert web.ask("GET", f"/api/p/{os.getpid()}/secrets")[0] == 404


def test_the_values_of_secrets_do_not_leave(web):
    hidden = "hunter2-of-the-test"
    line = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(100)"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env={**os.environ, "DB_PASSWORD": hidden}) as target:
        target.stdout.readline()
        _, _, body = web.ask("GET", f"/api/p/{target.pid}/environment")
        target.kill()
    assert b"DB_PASSWORD" in body
    assert hidden.encode() not in body


def test_a_look_that_costs_something_runs_the_command_it_shows(web, session):
    status, _, body = web.ask("POST", f"/api/p/{os.getpid()}/jobs", session, '{"action": "memory"}', bearer=False)
    assert status == 200
    job = json.loads(body)
    assert job["shell"] == f"pellucid memory {os.getpid()}"
    answer = web.finished(job["id"])
    assert answer["result"]["process"]["pid"] == os.getpid()
    assert answer["result"]["table"]["parts"]
    assert web.ask("GET", f"/api/jobs/{job['id']}/flame")[0] == 404, "that is no profile"
    assert web.ask("GET", "/api/jobs/none")[0] == 404


def test_one_that_fails_says_what_the_command_says(web, session):
    _, _, body = web.ask("POST", "/api/p/4194303/jobs", session, '{"action": "profile", "seconds": 1}', bearer=False)
    failed = web.finished(json.loads(body)["id"])["job"]["failed"]
    assert "no process with pid 4194303" in failed["said"]


def test_a_second_click_begins_nothing_and_what_runs_can_be_stopped(web, session):
    asked = '{"action": "profile", "seconds": 600}'
    path = f"/api/p/{os.getpid()}/jobs"
    first, second = (json.loads(web.ask("POST", path, session, asked, bearer=False)[2]) for _ in range(2))
    assert second["id"] == first["id"]
    assert web.ask("POST", f"/api/jobs/{first['id']}/stop", session, "{}", bearer=False)[0] == 200
    assert web.finished(first["id"])["job"]["state"] != "running"
    third = json.loads(web.ask("POST", path, session, asked, bearer=False)[2])
    assert third["id"] != first["id"]
    web.ask("POST", f"/api/jobs/{third['id']}/stop", session, "{}", bearer=False)
    web.finished(third["id"])


def test_the_port_is_taken(web):
    line = [sys.executable, "-m", "pellucid", "web", "--port", str(web.port)]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "EADDRINUSE" in ended.stderr
    assert "--port 0" in ended.stderr


def test_it_listens_on_the_loopback_interface_alone(web):
    table = Path(f"/proc/{web.process.pid}/net/tcp").read_text()
    assert f"0100007F:{web.port:04X} 00000000:0000 0A" in table
    assert f"00000000:{web.port:04X}" not in table


def test_ctrl_c_ends_it_with_pages_open_and_looks_under_way():
    with Web() as web:
        _, headers, _ = web.ask("GET", web.url.removeprefix(web.base), bearer=False)
        assert headers
        with socket.create_connection(("127.0.0.1", web.port)) as page:
            page.sendall(
                f"GET /api/live HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {web.token}\r\n\r\n".encode()
            )
            assert page.recv(100).startswith(b"HTTP/1.1 200")
            status, _, _ = web.ask("POST", f"/api/p/{os.getpid()}/jobs", JSON, '{"action": "profile", "seconds": 60}')
            assert status == 200
            assert web.end() == 0


@pytest.fixture(scope="module")
def recorded(web):
    """(pid, what the server keeps of it) of a process that was recorded until there was a look of it, and numbers."""
    line = [sys.executable, str(TARGETS / "states.py"), "lock"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as target:
        target.stdout.readline()
        line = [sys.executable, "-m", "pellucid", "record", str(target.pid)]
        recorder = subprocess.Popen(line, env=web.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 90.0
        while not _enough(web, target.pid):
            assert time.monotonic() < limit, "it records nothing"
            time.sleep(0.3)
        recorder.send_signal(signal.SIGINT)
        with recorder:
            recorder.wait(60)
        target.kill()
    return target.pid, json.loads(web.ask("GET", f"/api/p/{target.pid}/history")[2])


def _enough(web, pid):
    history = json.loads(web.ask("GET", f"/api/p/{pid}/history")[2])
    for kept in history["kept"]:
        measures = {line["measure"] for line in kept["lines"] if len(line["at"]) > 1}
        moment = json.loads(web.ask("GET", f"/api/past/{kept['file']}/{kept['key']}?at={kept['end']}")[2])
        if {"rss_bytes", "threads"} <= measures and moment["looked_at"] is not None and len(moment["groups"]) == 2:
            return True
    return False


def test_the_past_of_a_process_is_told_after_its_end(web, recorded):
    pid, history = recorded
    (kept,) = history["kept"]
    assert kept["command"].endswith("states.py lock")
    assert {"rss_bytes", "threads"} <= {line["measure"] for line in kept["lines"]}
    path = f"/api/past/{kept['file']}/{kept['key']}"
    moment = json.loads(web.ask("GET", f"{path}?at={kept['end']}")[2])
    assert {"payer", "MainThread"} == {name for group in moment["groups"] for name in group["names"]}
    assert [line for group in moment["groups"] for line in group["frames"] if line["who"].endswith("pay")]
    status, headers, flame = web.ask("GET", f"{path}/flame?begin={kept['begin']}&end={kept['end']}")
    assert status == 200
    assert "sandbox" in headers["content-security-policy"]
    assert b"states.py" in flame
    assert json.loads(web.ask("GET", f"/api/p/{pid + 1_000_000}/history")[2])["kept"] == []


@pytest.mark.parametrize("name", ["..%2F..%2Fx.recording", "none.recording", "passwd", "%2Fetc%2Fpasswd"])
def test_only_recordings_of_the_folder_are_opened(web, recorded, name):
    assert recorded
    assert web.ask("GET", f"/api/past/{name}/1?at=1")[0] in {404, 409}


@pytest.mark.parametrize("at", ["", "x", "nan", "inf"])
def test_a_moment_is_a_number(web, recorded, at):
    kept = recorded[1]["kept"][0]
    assert web.ask("GET", f"/api/past/{kept['file']}/{kept['key']}?at={at}")[0] == 422
