"""What OTEL_* variables ask for, which requests are traced, and that nothing of it waits, grows, or is lost without being counted."""

import contextlib
import errno
import os
import socket
import ssl
import time
from types import SimpleNamespace

import pytest

from pellucid.model.errors import UsageError, os_words
from pellucid.serve.board import Board
from pellucid.serve.sampling import Sampling
from pellucid.serve.telemetry import messages, settings, traces
from pellucid.serve.telemetry.outlet import Outlet, _after
from pellucid.serve.telemetry.settings import Target
from pellucid.serve.telemetry.traces import Traces
from tests.otlp import Receiver

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MODEL = SimpleNamespace(manifest=SimpleNamespace(name="loan", version=3), engine=SimpleNamespace(name="exact"))


def read(url=None, **environment):
    return settings.read(environment, url, "loan", 3)


def test_nothing_is_wanted_unless_it_is_asked_for():
    assert read() is None
    assert read(OTEL_EXPORTER_OTLP_ENDPOINT="") is None
    assert read(OTEL_SERVICE_NAME="x", OTEL_TRACES_SAMPLER="always_on") is None
    assert read("http://h:4318", OTEL_SDK_DISABLED="TRUE") is None
    assert read(OTEL_TRACES_EXPORTER="none", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://h") is None


def test_where_each_signal_goes():
    found = read(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://h:4318/base/", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://t/x?tenant=1"
    )
    assert found.traces.url == "https://t/x?tenant=1"
    assert found.metrics.url == "http://h:4318/base/v1/metrics"
    assert found.logs.url == "http://h:4318/base/v1/logs"
    found = read("http://given", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://t", OTEL_LOGS_EXPORTER="none")
    assert (found.traces.url, found.logs) == ("http://given/v1/traces", None)
    found = read(OTEL_TRACES_EXPORTER="otlp")
    assert (found.traces.url, found.metrics) == ("http://localhost:4318/v1/traces", None)
    assert Target("https://user:word@h:9/v1/traces?key=secret").shown == "https://h:9/v1/traces"


def test_the_rest_of_the_variables():
    found = read(
        "http://h",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=a%20b, x=1",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS="y=2",
        OTEL_EXPORTER_OTLP_TIMEOUT="250",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="service.name=one,team=a%2Cb",
        OTEL_SERVICE_NAME="two",
        OTEL_METRIC_EXPORT_INTERVAL="500",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.25",
    )
    assert found.warnings == ()
    assert dict(found.traces.headers) == {"api-key": "a b", "x": "1"}
    assert dict(found.logs.headers) == {"y": "2"}
    assert (found.traces.timeout_s, found.traces.gzip, found.metrics_s, found.delay_s) == (0.25, True, 0.5, 5)
    assert {"service.name": "two", "team": "a,b", "service.version": "3"}.items() <= dict(found.resource).items()
    assert found.sampling == Sampling("traceidratio", by_parent=True, ratio=0.25)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "is no http or https address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:99999", "is no http or https address"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "another protocol"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "not KEY=VALUE"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret=a%0d%0ab", "not KEY=VALUE"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "is no number of milliseconds"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "is no number of milliseconds"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "every request is traced"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file", "can't be read"),
    ],
)
def test_what_is_not_understood_is_told_and_never_repeated(name, value, told):
    found = read(**{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", name: value})
    (warning,) = {one.partition(":")[0] for one in found.warnings}
    assert warning.startswith(name)
    assert told in " ".join(found.warnings)
    assert "secret" not in str(found)


def test_an_address_on_the_command_line_that_is_none():
    for url in ("localhost:4318", "ftp://h", "http://", "http://h:0", "http://[::1"):
        with pytest.raises(UsageError, match="it is no http or https address"):
            read(url)


def test_a_caller_decides_and_a_ratio_of_the_others():
    assert Sampling().wanted(1, None)
    assert not Sampling().wanted(1, parent=False)
    assert Sampling("always_off").wanted(1, parent=True)
    assert not Sampling("always_off", by_parent=False).wanted(1, parent=True)
    quarter = Sampling("traceidratio", ratio=0.25)
    taken = sum(quarter.wanted(number << 54, None) for number in range(1 << 10))
    assert taken == 256, "by the lower 64 bits of the id"
    assert Sampling("traceidratio", ratio=1.0).wanted((1 << 128) - 1, None)
    assert not Sampling("traceidratio", ratio=0.0).wanted(0, None)


@pytest.fixture
def wired():
    """(traces of a worker, its slot, the other end)."""
    board = Board.new(1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield Traces(Sampling(), ours.fileno(), board.slots[0], MODEL), board.slots[0], theirs
    os.close(board.fd)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", True),
        (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        (f" 00-{TRACE}-{PARENT}-01", False),
        ("", False),
    ],
)
def test_a_trace_context(wired, given, known):
    made, _, _ = wired
    trace = made.begin({b"traceparent": given.encode(), b"tracestate": b"a=" + b"b" * 1000})
    assert (trace.id.hex() == TRACE) is known
    assert trace.parent.hex() == (PARENT if known else "")
    assert trace.state == (("a=" + "b" * 510) if known else "")
    assert len(trace.span) == 8
    assert trace.header() == b"00-%b-%b-01" % (trace.id.hex().encode(), trace.span.hex().encode())


def test_ids_do_not_depend_on_what_the_models_code_seeds(wired):
    import random

    made, _, _ = wired
    random.seed(1)
    first = made.begin({}).id
    random.seed(1)
    assert made.begin({}).id != first


def test_what_finds_no_room_waits_and_beyond_that_is_counted(wired):
    made, slot, theirs = wired
    began = time.monotonic()
    for _ in range(2 * traces.MOST_KEPT + 4000):
        trace = made.begin({})
        trace.queued_at = began
        trace.end(200, began, began, 0)
    lost = slot.counts().spans_lost
    assert lost > 0, "the socket is full, and so is what may wait for it"
    told = 0
    theirs.setblocking(False)
    while True:
        made.flush()
        try:
            message = messages.decode(theirs.recv(messages.MOST_BYTES))
        except BlockingIOError:
            break
        assert (message.model, message.version, message.engine) == ("loan", 3, "exact")
        told += message.spans
    assert told + lost == 2 * (2 * traces.MOST_KEPT + 4000)


def outlet(url, bodies, **options):
    counted, said = [], []
    made = Outlet(
        "traces",
        Target(f"{url}/v1/traces", **options),
        0.01,
        bodies,
        lambda *both: counted.append(both),
        lambda *both: said.append(both),
    )
    return made, counted, said


def once(body=b"", size=5):
    """Bodies: this one, the first time that they are asked for."""
    left = [(body, size)]
    return lambda: iter([left.pop()] if left else [])


def until(condition, within_s=60, each=lambda: None):
    end = time.monotonic() + within_s
    while not condition():
        each()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_receiver_is_tried_again_when_it_asks_for_that():
    with Receiver() as receiver:
        receiver.answers = [(429, {"Retry-After": "1"}), (503, {"Retry-After": "0"})]
        made, counted, said = outlet(receiver.url, once())
        began = time.monotonic()
        made.start()
        until(lambda: counted)
        assert time.monotonic() - began >= 1
        made.end()
        assert made.ended(60)
    assert counted == [(5, 0)]
    assert [well for _, well in said] == [False, True]
    assert "HTTP 429 Too Many Requests" in said[0][0]


@pytest.mark.parametrize("status", [400, 401, 404, 500, 302])
def test_what_will_never_be_taken_is_not_tried_again(status):
    with Receiver() as receiver:
        receiver.always = status
        made, counted, _ = outlet(receiver.url, once())
        made.start()
        until(lambda: counted)
        made.end()
        assert made.ended(60)
        assert len(receiver.posts) == 1
    assert counted == [(0, 5)]


def test_a_receiver_that_rejects_some():
    with Receiver() as receiver:
        receiver.body = b"\n\x09\x08\x02\x12\x05words"
        made, counted, said = outlet(receiver.url, once())
        made.start()
        until(lambda: counted)
        made.end()
        assert made.ended(60)
    assert counted == [(3, 2)]
    assert "2 of 5 were rejected" in said[0][0]


def test_a_receiver_that_takes_its_time_is_cut_off():
    """It sends a byte now and then, so that no timeout of a socket is ever reached."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made, _, said = outlet(f"http://127.0.0.1:{listener.getsockname()[1]}", once(), timeout_s=0.5)
        made.start()
        connection, _ = listener.accept()
        with connection:

            def drip():
                made.cut_off(time.monotonic())
                with contextlib.suppress(OSError):
                    connection.send(b"H")

            until(lambda: said, each=drip)
            made.end()
            listener.close()
            assert made.ended(60)


def test_a_receiver_that_is_away_delays_no_end():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    made, counted, said = outlet(f"http://127.0.0.1:{port}", once())
    made.start()
    until(lambda: said)
    made.end()
    assert made.ended(60)
    assert counted == [(0, 5)]
    assert "Connection refused" in said[0][0]


def test_what_a_resolver_and_a_certificate_have_to_say_is_no_number_of_the_kernel():
    assert os_words(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "Name or service not known"
    assert os_words(ssl.SSLError(1, "certificate verify failed")) == "certificate verify failed"
    assert os_words(OSError(errno.EPERM, "no")) == "EPERM, Operation not permitted"
    assert os_words(OSError("odd")) == "odd"


def test_what_retry_after_means():
    assert _after("120", 0.0) == 120
    assert _after("Thu, 01 Jan 1970 00:02:00 GMT", 60.0) == 60
    assert _after("Thu, 01 Jan 1970 00:02:00 GMT", 600.0) == 0
    assert _after("soon", 0.0) is None
    assert _after(None, 0.0) is None
