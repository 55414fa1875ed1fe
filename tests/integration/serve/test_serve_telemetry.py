"""Spans, metrics and log records of a server, as a receiver decodes them that has nothing of ours; and a receiver that is away, refuses, or takes its time."""

import os
import signal
import time
from pathlib import Path

import pytest

from pellucid.serve import keys
from tests import otlp
from tests.otlp import QUICK, Receiver
from tests.serving import Asking, comm, row, serving

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
ABOVE = "00f067aa0ba902b7"
SERVER, INTERNAL = 2, 1


def context(trace=CALLER, sampled="01"):
    return {"traceparent": f"00-{trace}-{ABOVE}-{sampled}"}


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    key, line = keys.new("tester")
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(line)
    return key, str(path)


@pytest.fixture(scope="module")
def server(home, receiver, keyed):
    env = {
        **QUICK,
        "OTEL_SERVICE_NAME": "scores",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test%20one,service.name=unheard",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=t%201",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",  # what is given on the command line comes before it
    }
    arguments = ("faulty", "--workers", "1", "--timeout", "4", "--api-keys", keyed[1], "--otlp", receiver.url)
    with serving(home, *arguments, env=env) as running:
        running.key = {"x-api-key": keyed[0]}
        yield running


def test_a_request_is_a_span_of_its_callers_trace_with_what_it_waited_for(server, receiver):
    answer = server.ask("/predict?token=hidden", [row(), row(number=2)], server.key | context())
    assert answer.status == 200
    spans = receiver.spans_of(CALLER, 3)
    request, queue, predict = spans["POST /predict"], spans["queue"], spans["predict"]
    assert (request.kind, queue.kind, predict.kind) == (SERVER, INTERNAL, INTERNAL)
    assert (request.parent, queue.parent, predict.parent) == (ABOVE, request.id, request.id)
    assert answer.headers["traceparent"] == f"00-{CALLER}-{request.id}-01"
    assert request.begin <= queue.begin <= queue.end == predict.begin <= predict.end <= request.end
    assert abs(request.begin / 1e9 - time.time()) < 3600, "since the epoch, and not since the start of the machine"
    (worker,) = server.ask("/healthz", headers=server.key).json["workers"]
    assert request.told == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/predict",
        "url.path": "/predict",
        "url.scheme": "http",
        "pellucid.worker": 0,
        "process.pid": worker["pid"],
        "pellucid.model.name": "faulty",
        "pellucid.model.version": "1",
        "pellucid.engine": request.told["pellucid.engine"],
        "pellucid.request.id": answer.headers["x-request-id"],
        "pellucid.rows": 2,
    }
    assert predict.told == {"pellucid.batch.rows": 2, "pellucid.batch.requests": 1}
    assert not request.failed
    assert request.resource["service.name"] == "scores"
    assert request.resource["deployment.environment.name"] == "test one"
    assert request.resource["telemetry.sdk.name"] == "pellucid"
    (_, headers, _) = receiver.posts[0]
    assert headers["x-tenant"] == "t 1"
    assert headers["Content-Encoding"] == "gzip"


def test_requests_that_are_predicted_together_are_linked_to_their_batch(server, receiver):
    for attempt in range(10):  # on a crowded machine they may come one after the other all the same
        traces = [f"{100 + 10 * attempt + number:032x}" for number in range(4)]
        asking = [
            Together(
                server, row("sleep 0.5" if number == 0 else "nothing"), server.key | context(trace), wait=number == 0
            )
            for number, trace in enumerate(traces)
        ]
        assert [one.answer().status for one in asking] == [200] * 4
        predicted = [receiver.spans_of(trace, 3)["predict"] for trace in traces]
        together = [span for span in predicted if span.told["pellucid.batch.requests"] > 1]
        if together:
            break
    trace, own = together[0].links[0]
    batch = receiver.spans_of(trace, 1)["predict batch"]
    assert (batch.id, batch.parent) == (own, "")
    assert batch.told["pellucid.batch.requests"] == together[0].told["pellucid.batch.requests"]
    assert (together[0].trace, together[0].id) in batch.links
    assert (batch.begin, batch.end) == (together[0].begin, together[0].end)


class Together(Asking):
    """With headers; `wait`: until the worker is in it."""

    def __init__(self, server, one, headers, *, wait):
        self.headers = headers
        super().__init__(server, one)
        if wait:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                (worker,) = server.ask("/healthz", headers=server.key).json["workers"]
                if worker["queued"] or "in request" in worker["sentence"]:
                    return
                time.sleep(0.01)

    def _ask(self, server, rows, timeout):
        self.result = server.ask("/predict", list(rows), self.headers, timeout)


def test_what_fails_and_what_is_refused(server, receiver):
    failed, refused, locked = (f"{number:032x}" for number in (11, 12, 13))
    assert server.ask("/predict", [row("fail")], server.key | context(failed)).status == 500
    assert server.ask("/predict", [{"x": 1}], server.key | context(refused)).status == 422
    assert server.ask("/predict", [row()], context(locked)).status == 401
    span = receiver.spans_of(failed, 3)["POST /predict"]
    assert span.failed
    assert span.told["error.type"] == "ValueError"
    logged = server.wait_log("model_failed", trace_id=failed)
    assert logged["request"] == span.told["pellucid.request.id"]
    for trace, status in ((refused, 422), (locked, 401)):
        span = receiver.spans_of(trace, 1)["POST /predict"]
        assert (span.told["http.response.status_code"], span.failed) == (status, False), (
            "the client's mistake is none of the server"
        )
        assert "error.type" not in span.told


def test_pages_are_told_by_their_route_and_probes_are_not(server, receiver):
    traces = [f"{number:032x}" for number in range(21, 25)]
    for path, trace in zip(("/incidents/i-none", "/no/such/page", "/livez", "/metrics"), traces, strict=True):
        server.ask(path, headers=server.key | context(trace))
    assert receiver.spans_of(traces[0], 1)["GET /incidents/{name}"].told["url.path"] == "/incidents/i-none"
    unknown = receiver.spans_of(traces[1], 1)["GET"]
    assert "http.route" not in unknown.told
    last = f"{25:032x}"
    server.ask("/healthz", headers=server.key | context(last))
    receiver.spans_of(last, 1)
    assert not [span for span in receiver.spans if span.trace in traces[2:]]


def test_who_does_not_trace_is_not_traced_and_a_wrong_context_is_none(server, receiver):
    silent, wrong = f"{31:032x}", f"{32:032x}"
    answer = server.ask("/predict", [row()], server.key | context(silent, "00"))
    assert answer.headers["traceparent"] == f"00-{silent}-{ABOVE}-00"
    answer = server.ask("/predict", [row()], server.key | {"traceparent": f"ff-{wrong}-{ABOVE}-01"})
    own = answer.headers["traceparent"].split("-")[1]
    assert receiver.spans_of(own, 3)["POST /predict"].parent == ""
    assert not [span for span in receiver.spans if span.trace in (silent, wrong)]


def test_the_numbers_are_those_of_the_metrics_page(server, receiver):
    answered = receiver.number("pellucid.requests", status="200") or 0
    assert server.ask("/predict", [row()], server.key).status == 200
    receiver.wait(lambda it: (it.number("pellucid.requests", status="200") or 0) > answered)
    told = {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    point = receiver.number("http.server.request.duration", **told)
    assert point.count == sum(point.bucket_counts)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert 0 < point.sum < 60 * point.count
    assert receiver.metrics["http.server.request.duration"].unit == "s"
    page = server.ask("/metrics", headers=server.key).body.decode()
    assert f"pellucid_worker_starts_total {receiver.number('pellucid.worker_starts')}\n" in page
    assert receiver.metrics["pellucid.resident"].unit == "By"
    assert 'pellucid_telemetry_lost_total{signal="traces"} 0\n' in page


def test_an_incident_is_found_from_its_trace_and_the_trace_from_the_incident(server, receiver):
    trace = f"{41:032x}"
    answer = server.ask("/predict", [row("lock")], server.key | context(trace))
    assert answer.status == 504
    name = answer.json["incident"]
    span = receiver.spans_of(trace, 3)["POST /predict"]
    assert span.failed
    assert span.told["error.type"] == "504"
    assert span.told["pellucid.incident.id"] == name
    assert span.events == [("pellucid.incident", {"pellucid.incident.id": name})]
    told = server.wait_log("replaced", incident=name, trace_id=trace)
    record = receiver.wait(
        lambda it: next((one for one in list(it.logs) if one.event_name == "pellucid.replaced"), None)
    )
    assert record.body.string_value == told["sentence"]
    assert (record.severity_text, record.trace_id.hex(), record.span_id.hex()) == ("ERROR", trace, span.id)
    assert otlp.told(record.attributes)["pellucid.incident.id"] == name
    incident = server.ask(f"/incidents/{name}", headers=server.key).json
    assert incident["request"]["trace_id"] == trace
    receiver.wait(lambda it: it.number("pellucid.incidents", kind="stuck"))


def test_no_secret_and_no_value_of_a_record_is_in_it(server, receiver, keyed):
    trace = f"{51:032x}"
    record = {"id": "value-secret", "x": 1.0, "do": "fail"}
    assert server.ask("/predict?secret=query-secret", [record], server.key | context(trace)).status == 500
    receiver.spans_of(trace, 3)
    whole = b"".join(span.raw.SerializeToString() for span in receiver.spans)
    whole += b"".join(log.SerializeToString() for log in receiver.logs)
    for secret in (keyed[0], "query-secret", "value-secret", "hidden", "can't have this"):
        assert secret.encode() not in whole


@pytest.fixture
def double(tmp_path, monkeypatch):
    """A function to serve, which starts in no time."""
    (tmp_path / "sums.py").write_text("def double(records):\n    return [2 * one['x'] for one in records]\n")
    monkeypatch.chdir(tmp_path)
    return "sums:double", "--workers", "1"


def test_what_was_not_sent_yet_is_sent_when_the_server_stops(tmp_path, double):
    with Receiver() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with serving(tmp_path, *double, env=env) as server:
            trace = server.ask("/predict", [{"x": 1}]).headers["traceparent"].split("-")[1]
            (exporter,) = (pid for pid in server.family() if comm(pid) == "pellucid-otlp")
            assert b"numpy" not in Path(f"/proc/{exporter}/maps").read_bytes()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
        assert receiver.spans_of(trace, 3)
        assert receiver.wait(lambda it: [one for one in it.logs if one.event_name == "pellucid.stopped"])


def test_a_receiver_that_refuses_and_an_exporter_that_is_killed_disturb_nobody(tmp_path, double):
    with Receiver() as receiver:
        receiver.answers = [(503, {"Retry-After": "0"}), 400, "close"]
        env = {
            **QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_LOGS_EXPORTER": "none", "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "two", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
        }  # fmt: skip
        with serving(tmp_path, *double, env=env) as server:
            warned = " ".join(record["sentence"] for record in server.log if record["event"] == "telemetry")
            assert "OTEL_TRACES_SAMPLER_ARG is no ratio" in warned
            assert "no metrics are sent" in warned
            while receiver.answers:  # each is met by a post, and meanwhile all is answered
                assert server.ask("/predict", [{"x": 1}]).status == 200
                time.sleep(0.02)
            server.wait_log("telemetry_taken")
            told = server.wait_log("telemetry_not_taken")
            assert "HTTP 503" in told["sentence"]
            assert receiver.url in told["sentence"]
            lost = [
                line
                for line in server.ask("/metrics").body.decode().splitlines()
                if 'lost_total{signal="traces"}' in line
            ]
            assert int(lost[0].split()[-1]) >= 1, "what was answered by 400"
            assert {path for path, _, _ in receiver.posts} == {"/v1/traces"}
            (exporter,) = (pid for pid in server.family() if comm(pid) == "pellucid-otlp")
            os.kill(exporter, signal.SIGKILL)
            server.wait_log("exporter_ended")
            assert server.ask("/predict", [{"x": 1}]).status == 200
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
            assert len([record for record in server.log if record["event"] == "telemetry_not_taken"]) == 1, (
                "it is not repeated"
            )


def test_nothing_is_exported_where_it_is_turned_off(tmp_path, double):
    env = {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with serving(tmp_path, *double, env=env) as server:
        assert server.ask("/predict", [{"x": 1}]).headers["traceparent"] is None
        assert "pellucid-otlp" not in map(comm, server.family())
        assert b"telemetry" not in server.ask("/metrics").body
