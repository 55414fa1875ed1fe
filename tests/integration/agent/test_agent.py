"""An agent and its clients, over loopback and between network namespaces: what is run, what is refused, and who leaves half-way."""

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import click
import msgspec
import pytest

from pellucid.agent import client, identity, protocol
from pellucid.agent.hosts import Host
from pellucid.agent.protocol import AgentError, Ask, Hello
from pellucid.agent.server import Agent, Limits
from pellucid.present.view.remote import Remote
from tests.conftest import TARGETS
from tests.networks import cable
from tests.web import Web

pytest.importorskip("cryptography", reason="*** cryptography is not installed (pellucid[agent])")
pytestmark = pytest.mark.timeout(300)
LIMIT_S = 60


class Answering:
    """An agent that runs as a program, and the folder of its state."""

    def __init__(self, folder, *options, net=None, address="127.0.0.1"):
        self.home = {**os.environ, "XDG_DATA_HOME": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pellucid", "agent", "--listen", f"{address}:0", *options],
            stderr=subprocess.PIPE,
            text=True,
            env=self.home,
            preexec_fn=net.enter if net else None,  # noqa: PLW1509  no threads here
        )
        said = ""
        while "elsewhere:" not in said:
            line = self.process.stderr.readline()
            assert line, f"the agent ended: {said}"
            said += line
        self.address = re.search(r"NAME (\S+)", said).group(1)
        self.fingerprint = re.search(r"fingerprint (\S+)", said).group(1)
        self.token = (folder / "pellucid" / "agent" / "token").read_text().strip()
        # What it logs is read on: a full pipe would stop it.
        self.log = []
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def end(self):
        self.process.terminate()
        assert self.process.wait(LIMIT_S) == 0
        self._reader.join(LIMIT_S)
        self.process.stderr.close()


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    answering = Answering(tmp_path_factory.mktemp("agent"))
    yield answering
    answering.end()


@pytest.fixture(scope="module")
def busy():
    """A process that computes most of the time in `six`."""
    process = subprocess.Popen(
        [sys.executable, str(TARGETS / "shares.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def here(tmp_path_factory, agent):
    """`here("why", "1")` runs pellucid as someone who knows the agent as `near`."""
    folder = tmp_path_factory.mktemp("client")
    known = pellucid(
        folder, "agent", "add", "near", agent.address, "--fingerprint", agent.fingerprint, token=agent.token
    )
    assert known.returncode == 0, known.stderr
    assert "near is known now" in known.stdout
    run = functools.partial(pellucid, folder)
    run.home = folder
    return run


def pellucid(folder, *words, token="", net=None):
    return subprocess.run(
        [sys.executable, "-m", "pellucid", *words],
        env={**os.environ, "XDG_DATA_HOME": str(folder), "PELLUCID_AGENT_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        preexec_fn=net.enter if net else None,
    )


def test_a_command_answers_there_as_it_does_here(here, busy):
    told = here("stacks", str(busy.pid), "--json", "--host", "near")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["process"]["pid"] == busy.pid
    assert report["threads"][0]["frames"]
    missing = here("why", "4000000", "--host=near")
    assert missing.returncode == 3
    assert "there is no process with pid 4000000" in missing.stderr


def test_its_log_is_lines_of_text(here, agent):
    told = here("why", "x\x1b[31m\n\u202e", "--host", "near")
    assert told.returncode == 2
    line = _awaited(lambda: next((line for line in agent.log if "asked: why x" in line), None))
    assert r"why x\x1b[31m\x0a\u202e: status 2" in line


def test_a_live_screen_lists_the_processes_of_other_machines(here, busy, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(here.home))
    remote = Remote("near")
    remote.look()
    assert not remote.failed
    (first,) = (row for row in remote.rows if row.pid == busy.pid)
    remote.look()
    (then,) = (row for row in remote.rows if row.pid == busy.pid)
    assert then.started_at == first.started_at, "it is the same process"
    assert then.cpu is not None
    gone = Remote("nowhere")
    gone.look()
    assert "no host of that name" in gone.failed


def test_the_page_shows_the_processes_of_other_machines_looks_at_one_and_walks_over_the_others(here, busy):
    with Web("--host", "near", "--host", "nowhere", env={**os.environ, "XDG_DATA_HOME": str(here.home)}) as web:
        told = {}
        path = f"/api/live?pid={busy.pid}&view=now&host=near"
        for name, value in web.events(path, LIMIT_S):
            told[value["name"] if name == "host" else name] = value
            asked = all(host in told and told[host]["failed"] != "not asked yet" for host in ("near", "nowhere"))
            walked = "near" in told and any(one["pid"] != busy.pid for one in told["near"]["found"])
            if asked and told["near"]["rows"] and "deep" in told and walked:
                break
        assert busy.pid in {row["pid"] for row in told["near"]["rows"]}
        assert "no host of that name" in told["nowhere"]["failed"]
        assert told["deep"]["failed"] is None
        assert [
            line
            for group in told["deep"]["groups"]
            for line in group["frames"]
            if line["where"].partition(":")[0].endswith("shares.py")
        ]
        status, _, files = web.ask("GET", f"/api/p/{busy.pid}/files?host=near")
        assert status == 200
        assert json.loads(files)["process"]["pid"] == busy.pid
        status, _, body = web.ask("GET", "/api/p/4000000/info?host=near")
        assert status == 409
        assert json.loads(body)["error"]["code"] == "no_such_process"
        assert web.ask("GET", f"/api/p/{busy.pid}/files?host=elsewhere")[0] == 404
        status, _, body = web.ask(
            "POST", f"/api/p/{busy.pid}/jobs?host=near", {"content-type": "application/json"}, '{"action": "heap"}'
        )
        assert status == 200
        job = json.loads(body)
        assert job["shell"] == f"pellucid heap {busy.pid} --host near"
        answer = web.finished(job["id"])
        assert "--allow pause" in answer["job"]["failed"]["remedy"]


def test_a_refusal_has_its_three_lines_and_its_json(here, busy):
    told = here("heap", str(busy.pid), "--host", "near")
    assert told.returncode == 2
    assert "--no-pause, or there: pellucid agent --allow pause" in told.stderr
    told = here("heap", str(busy.pid), "--host", "near", "--json")
    assert json.loads(told.stdout)["error"]["code"] == "usage"
    told = here("why", "1", "--host", "elsewhere")
    assert told.returncode == 2
    assert "there are near" in told.stderr


def test_a_file_comes_to_the_client_and_overwrites_nothing(here, busy, tmp_path):
    place = tmp_path / "time.html"
    words = ("profile", str(busy.pid), "-d", "0.5", "-o", str(place), "--host", "near")
    told = here(*words)
    assert told.returncode == 0, told.stderr
    assert place.read_text().startswith("<!doctype html")
    assert "written to time.html" in told.stdout + told.stderr
    assert here(*words).returncode == 2
    assert here(*words, "--force").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["time.html"]


def profiling(here, busy, output):
    """A client that has the agent sample `busy` until it is told to stop."""
    return subprocess.Popen(
        [sys.executable, "-m", "pellucid", "profile", str(busy.pid), "--host", "near"],
        env={**os.environ, "XDG_DATA_HOME": str(here.home)},
        stdout=output,
        stderr=output,
        text=True,
    )


def test_ctrl_c_ends_the_command_there_and_the_report_comes(here, agent, busy):
    process = profiling(here, busy, subprocess.PIPE)
    running = _awaited(lambda: _children(agent.process.pid))
    _awaited(lambda: _samples(running[0], busy.pid))
    process.send_signal(signal.SIGINT)
    told, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, error
    assert "six" in told


def test_a_client_that_is_killed_leaves_no_command_behind(here, agent, busy):
    process = profiling(here, busy, subprocess.DEVNULL)
    _awaited(lambda: _children(agent.process.pid))
    process.kill()
    process.wait()
    _awaited(lambda: not _children(agent.process.pid))


def test_an_agent_that_is_killed_leaves_no_command_behind_and_its_client_is_told(tmp_path, busy):
    answering = Answering(tmp_path / "agent")
    words = ("agent", "add", "near", answering.address, "--fingerprint", answering.fingerprint)
    assert pellucid(tmp_path, *words, token=answering.token).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "pellucid", "profile", str(busy.pid), "--host", "near"],
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = _awaited(lambda: _children(answering.process.pid))
    _awaited(lambda: _samples(running[0], busy.pid))
    answering.process.kill()
    answering.process.wait()
    answering.process.stderr.close()
    told, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 7
    assert "before its answer was whole" in told
    _awaited(lambda: not os.path.exists(f"/proc/{running[0]}"))


def test_an_agent_of_another_version_is_told_as_that(tmp_path):
    shown = identity.made(str(tmp_path), time.time())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)

    def greet(plain):
        with plain.accept()[0] as connection, context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.sendall(protocol.frame(protocol.HELLO, protocol.encode(Hello(99, "9.0", b"n" * 32))))
            wrapped.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as plain:
        host = Host("x", *plain.getsockname(), ssl.DER_cert_to_PEM_cert(shown.content), "token")
        greeting = threading.Thread(target=greet, args=(plain,))
        greeting.start()
        with pytest.raises(AgentError) as failed:
            client.checked(host)
        greeting.join(LIMIT_S)
    assert "version 99 of the protocol" in failed.value.said


def test_an_agent_listens_on_an_address_of_version_6(tmp_path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    answering = Answering(tmp_path / "agent", address="[::1]")
    try:
        assert answering.address.startswith("[::1]:")
        words = ("agent", "add", "six", answering.address, "--fingerprint", answering.fingerprint)
        assert pellucid(tmp_path, *words, token=answering.token).returncode == 0
    finally:
        answering.end()


def test_someone_without_the_token_is_refused(tmp_path, agent):
    known = pellucid(
        tmp_path, "agent", "add", "near", agent.address, "--fingerprint", agent.fingerprint, token="x" * 40
    )
    assert known.returncode == 4
    assert "another token" in known.stderr
    assert not list(tmp_path.rglob("near.json"))


def test_another_fingerprint_is_refused(tmp_path, agent):
    known = pellucid(tmp_path, "agent", "add", "near", agent.address, "--fingerprint", "SHA256:00", token=agent.token)
    assert known.returncode == 2
    assert "someone else" in known.stderr


def test_a_request_that_was_recorded_is_worth_nothing_later(agent):
    with raw(agent) as (connection, certificate):
        asked = question(connection, certificate, agent.token, "check", "--json")
        connection.sendall(asked)
        assert _frame(connection)[0] == protocol.OUT
    with raw(agent) as (connection, _):
        _frame(connection)
        connection.sendall(asked)
        kind, content = _frame(connection)
        assert kind == protocol.REFUSED
        assert json.loads(content)["code"] == "not_permitted"


def test_messages_that_are_too_long_or_no_messages_end_the_connection(agent):
    for said in (
        bytes((protocol.ASK,)) + (1 << 31).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        protocol.frame(protocol.ASK, b"{}"),
        protocol.frame(protocol.ASK, b'{"words": [1], "proof": "x"}'),
        protocol.frame(protocol.STOP),
    ):
        with raw(agent) as (connection, _):
            _frame(connection)
            connection.sendall(said)
            with pytest.raises((EOFError, OSError)):
                _frame(connection)
    with raw(agent) as (connection, certificate):
        connection.sendall(question(connection, certificate, agent.token, "check", "--json"))
        assert _frame(connection)[0] == protocol.OUT


def test_a_client_that_speaks_no_tls_is_told_so(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        place = plain.getsockname()
        greeting = threading.Thread(target=_greet, args=(plain,))
        greeting.start()
        with pytest.raises(AgentError) as failed:
            client.shown(*place)
        greeting.join()
    assert "TLS" in failed.value.said
    with pytest.raises(AgentError) as failed:
        client.shown(*place)
    assert "ECONNREFUSED" in failed.value.said


def _greet(plain):
    with plain.accept()[0] as connection:
        connection.sendall(b"SSH-2.0-x\r\n")
        connection.recv(1)


@contextlib.contextmanager
def inside(folder, now, **limits):
    """(an agent in a thread of ours, as the Host that a client knows it by, the lines that it logs)."""

    shown, lines = identity.made(str(folder), now), []
    command = click.Command("output", params=[click.Option(["--raw"], is_flag=True), click.Argument(["target"])])
    answering = Agent(shown, "token", frozenset(("contents",)), {"output": command}, lines.append, Limits(**limits))
    loop, ready = asyncio.new_event_loop(), threading.Event()
    place = []

    async def serve():
        place.append(asyncio.current_task())
        await answering.serve("127.0.0.1", 0, lambda *at: (place.append(at), ready.set()))

    loop.add_signal_handler = lambda *_: None  # only the main thread may

    def run():
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serve())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(LIMIT_S)
    try:
        yield Host("x", *place[1], ssl.DER_cert_to_PEM_cert(shown.content), "token"), lines
    finally:
        _awaited(lambda: not answering.answering)
        loop.call_soon_threadsafe(place[0].cancel)
        thread.join(LIMIT_S)


def test_an_expired_certificate_is_refused_on_both_sides(tmp_path, agent):
    long_ago = time.time() - 400 * 86_400
    with inside(tmp_path / "a", long_ago) as (host, _), pytest.raises(AgentError) as failed, client.connected(host):
        pass
    assert "expired" in failed.value.said
    assert "--renew" in failed.value.remedy
    soon = time.time() + 3 * 86_400
    with inside(tmp_path / "b", soon) as (host, _), pytest.raises(AgentError) as failed, client.connected(host):
        pass
    assert "the clocks of the two machines differ" in failed.value.said
    folder = tmp_path / "home"
    identity.made(str(folder / "pellucid" / "agent"), long_ago)
    told = pellucid(folder, "agent", "--listen", "127.0.0.1:0")
    assert told.returncode == 2
    assert "pellucid agent --renew" in told.stderr


def test_another_certificate_at_the_same_address_is_not_taken(tmp_path, agent):
    other = identity.made(str(tmp_path), time.time())
    address, _, port = agent.address.rpartition(":")
    host = Host("x", address, int(port), ssl.DER_cert_to_PEM_cert(other.content), agent.token)
    with pytest.raises(AgentError) as failed, client.connected(host):
        pass
    assert "another certificate" in failed.value.said


def test_clients_that_are_slow_are_let_go(tmp_path):
    with inside(tmp_path, time.time(), question_s=0.5, tls_s=LIMIT_S) as (host, lines):
        with client.connected(host) as silent:
            _frame(silent)
            with pytest.raises((EOFError, OSError)):
                _frame(silent)
        assert any("too slow" in line for line in lines)


def test_clients_that_are_too_many_are_let_go(tmp_path):
    with inside(tmp_path, time.time(), clients=2, question_s=LIMIT_S, tls_s=LIMIT_S) as (host, _):
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                _frame(stack.enter_context(client.connected(host)))
            with client.connected(host) as third:
                kind, content = _frame(third)
        assert kind == protocol.REFUSED
        assert "once more" in json.loads(content)["remedy"]


def test_a_client_that_takes_nothing_ends_its_command(tmp_path):
    talker = subprocess.Popen(
        [sys.executable, "-c", "import time\nwhile True: print('x' * 100_000, flush=True); time.sleep(0.001)"],
        stdout=subprocess.DEVNULL,
    )
    try:
        with inside(tmp_path, time.time(), slow_s=0.5) as (host, lines), client.connected(host) as connection:
            certificate = connection.getpeercert(binary_form=True)
            connection.sendall(question(connection, certificate, "token", "output", "--raw", str(talker.pid)))
            kind, _ = _frame(connection)
            if kind != protocol.OUT:
                pytest.skip("the output of a process can't be seen here")
            _awaited(lambda: any("too slow" in line for line in lines))
            _awaited(lambda: not any("\0output\0" in line for line in _commands(os.getpid())))
    finally:
        talker.kill()
        talker.wait()


def test_two_hosts_in_networks_of_their_own(tmp_path, busy):
    with cable() as (one, other), contextlib.ExitStack() as stack:
        agents = {}
        for name, net, address in (("one", one, "10.99.0.1"), ("other", other, "10.99.0.2")):
            agents[name] = Answering(tmp_path / name, net=net, address=address)
            stack.callback(agents[name].end)
        folder = tmp_path / "client"
        for name, answering in agents.items():
            words = ("agent", "add", name, answering.address, "--fingerprint", answering.fingerprint)
            known = pellucid(folder, *words, token=answering.token, net=one)
            assert known.returncode == 0, known.stderr
        for name in agents:
            told = pellucid(folder, "info", str(busy.pid), "--json", "--host", name, net=one)
            assert json.loads(told.stdout)["process"]["pid"] == busy.pid
        listed = pellucid(folder, "agent", "hosts", net=one).stdout
        assert listed.count("answers") == 2
        one.drop("ip saddr 10.99.0.2")
        gone = pellucid(folder, "why", "1", "--host", "other", "--json", net=one)
        assert gone.returncode == 7
        assert json.loads(gone.stdout)["error"]["code"] == "agent_unreachable"
        one.drop_nothing()


def test_words_that_are_no_use(tmp_path):
    folder = tmp_path
    for words, said in (
        (("agent", "add", "../x", "127.0.0.1"), "a name is letters"),
        (("agent", "add", "x", "127.0.0.1:no"), "an address is"),
        (("agent", "--certificate", "x"), "--certificate and --key"),
        (("agent", "remove", "x"), "no host of that name"),
        (("agent", "--listen", "203.0.113.1:1"), "EADDRNOTAVAIL"),
    ):
        told = pellucid(folder, *words)
        assert told.returncode == 2
        assert said in told.stderr
    assert "No host is known here" in pellucid(folder, "agent", "hosts").stdout
    token = tmp_path / "token"
    token.write_text("x" * 30)
    token.chmod(0o644)
    told = pellucid(folder, "agent", "--token-file", str(token))
    assert "others may read it" in told.stderr


@contextlib.contextmanager
def raw(agent):
    """(a TLS connection to the agent, its certificate)."""
    address, _, port = agent.address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, int(port)), LIMIT_S) as plain, context.wrap_socket(plain) as connection:
        yield connection, connection.getpeercert(binary_form=True)


def question(connection, certificate, token, *words):
    kind, content = _frame(connection)
    assert kind == protocol.HELLO
    nonce = msgspec.json.decode(content, type=Hello).nonce
    asked = Ask(words, protocol.proof(token, nonce, certificate, words))
    return protocol.frame(protocol.ASK, protocol.encode(asked))


def _frame(connection):
    kind, length = protocol.head(_exactly(connection, protocol.HEAD))
    return kind, _exactly(connection, length)


def _exactly(connection, size):
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return content


def _children(pid):
    """The pids of the commands that the agent runs."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def _commands(pid):
    found = []
    for child in _children(pid):
        with contextlib.suppress(OSError), open(f"/proc/{child}/cmdline") as file:
            found.append(file.read())
    return found


def _samples(pid, sampled):
    """Whether `pid` has read the memory of `sampled` again and again: between two samples it sleeps."""
    try:
        opened = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
    except OSError:  # a descriptor that was closed just now
        return False
    if f"/proc/{sampled}/mem" not in opened:
        return False
    before = _sleeps(pid)
    _awaited(lambda: _sleeps(pid) > before + 100)
    return True


def _sleeps(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", file.read()).group(1))


def _awaited(true):
    until = time.monotonic() + LIMIT_S
    while not (found := true()):
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)
    return found
