"""A receiver of OpenTelemetry's protocol: it decodes what it is sent by the classes that OpenTelemetry itself generates, and answers as it is told."""

import gzip
import http.server
import threading
import time
import traceback

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "200"}


def value(of):
    """A KeyValue's value as one of Python."""
    kind = of.WhichOneof("value")
    return getattr(of, kind)


def told(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


class Span:
    def __init__(self, span, resource):
        self.raw = span
        self.name = span.name
        self.kind = span.kind
        self.trace = span.trace_id.hex()
        self.id = span.span_id.hex()
        self.parent = span.parent_span_id.hex()
        self.begin, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.told = told(span.attributes)
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.events = [(event.name, told(event.attributes)) for event in span.events]
        self.failed = span.status.code == 2
        self.resource = resource
        assert len(self.told) == len(span.attributes), "each key of a span is there once"


class Receiver(http.server.ThreadingHTTPServer):
    """`answers`: what to do with the next posts, in turn: a status, (status, headers), "close", or a number of seconds (float) to take; then 200."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts = []
        self.spans, self.metrics, self.logs = [], {}, []
        self.answers = []
        self.errors = []
        self.always = None
        self.body = b""
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A connection that is cut off is one of the things that are tested; what is wrong with a body is told by `wait`."""
        self.errors.append(traceback.format_exc())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, path, body):
        message = REQUESTS[path]()
        message.ParseFromString(body)
        whole = message.SerializeToString()
        message.DiscardUnknownFields()
        assert message.SerializeToString() == whole, "every field is one of the protocol"
        if path == "/v1/traces":
            for of in message.resource_spans:
                resource = told(of.resource.attributes)
                self.spans += [Span(span, resource) for scope in of.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            self.metrics = {
                metric.name: metric
                for of in message.resource_metrics
                for scope in of.scope_metrics
                for metric in scope.metrics
            }
        else:
            self.logs += [log for of in message.resource_logs for scope in of.scope_logs for log in scope.log_records]

    def wait(self, condition, within_s=60):
        """What `condition` of this receiver gives, once that is something."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if found := condition(self):
                return found
            time.sleep(0.02)
        told = [span.name for span in self.spans], list(self.metrics), self.logs, self.errors
        raise AssertionError(f"it was not told within {within_s} s: {told}")

    def spans_of(self, trace, count, within_s=60):
        """All spans of a trace by name, once so many are there."""
        found = self.wait(
            lambda it: len(all_ := [one for one in list(it.spans) if one.trace == trace]) >= count and all_, within_s
        )
        return {span.name: span for span in found}

    def number(self, metric, **labels):
        """The value of a point of a metric that has these attributes; a histogram's point itself; None where there is none."""
        if (found := self.metrics.get(metric)) is None:
            return None
        for point in getattr(found, found.WhichOneof("data")).data_points:
            if labels.items() <= told(point.attributes).items():
                return getattr(point, point.WhichOneof("value")) if hasattr(point, "as_int") else point
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posts.append((self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if self.server.answers else self.server.always or 200
        if answer == "close":
            self.close_connection = True
            return
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 200
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if status == 200:
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.headers["content-type"] == "application/x-protobuf"
            self.server.take(self.path, body)
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(self.server.body) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass
