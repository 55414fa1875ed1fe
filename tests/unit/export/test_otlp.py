"""What is written by hand is what OpenTelemetry's own classes read."""

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pellucid.export import otlp
from pellucid.export.prometheus import Family, Sample
from tests.otlp import told

TRACE, SPAN, PARENT = bytes(range(1, 17)), b"spanspan", b"parentpa"
RESOURCE = otlp.resource((("service.name", "loan"),))


def read(kind, *items):
    message = kind()
    message.ParseFromString(otlp.posted(RESOURCE, otlp.scope("ours", "1"), items))
    (of_resource,) = getattr(message, next(iter(message.DESCRIPTOR.fields_by_name)))
    assert told(of_resource.resource.attributes) == {"service.name": "loan"}
    (of_scope,) = next(value for field, value in of_resource.ListFields() if field.name.startswith("scope_"))
    assert (of_scope.scope.name, of_scope.scope.version) == ("ours", "1")
    assert message.SerializeToString() == without_unknown(message)
    return next(value for field, value in of_scope.ListFields() if field.name != "scope")


def without_unknown(message):
    message.DiscardUnknownFields()
    return message.SerializeToString()


def test_a_span():
    values = (("text", "é\ud800"), ("empty", ""), ("yes", True), ("below", -5), ("much", 1 << 62), ("part", 0.25))
    more = (
        otlp.attributes(9, values)
        + otlp.link(TRACE, PARENT)
        + otlp.event(7, "happened", (("id", "i-1"),))
        + otlp.failed("no")
    )
    made = otlp.span(
        TRACE, SPAN, PARENT, otlp.named("POST /", otlp.SERVER), 10**18, 10**18 + 5, more, remote=True, state="a=b"
    )
    (span,) = read(ExportTraceServiceRequest, made)
    assert (span.trace_id, span.span_id, span.parent_span_id, span.trace_state) == (TRACE, SPAN, PARENT, "a=b")
    assert (span.name, span.kind, span.flags) == ("POST /", 2, 0x301)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (10**18, 10**18 + 5)
    assert told(span.attributes) == dict(values) | {"text": "é?"}
    assert [(link.trace_id, link.span_id) for link in span.links] == [(TRACE, PARENT)]
    assert [(one.time_unix_nano, one.name, told(one.attributes)) for one in span.events] == [
        (7, "happened", {"id": "i-1"})
    ]
    assert (span.status.code, span.status.message) == (2, "no")


def test_a_span_that_ends_before_it_begins_has_no_length():
    (span,) = read(ExportTraceServiceRequest, otlp.span(TRACE, SPAN, b"", otlp.named("x", otlp.INTERNAL), 9, 5))
    assert (span.start_time_unix_nano, span.end_time_unix_nano, span.parent_span_id) == (9, 9, b"")


def test_metrics():
    families = (
        Family("pellucid_requests_total", "counter", "Answers.", (Sample(3, (("status", "200"),)), Sample(1))),
        Family("pellucid_resident_bytes", "gauge", "Memory.", (Sample(1 << 40),)),
        Family("pellucid_beat_age_seconds", "gauge", "Age.", (Sample(-0.5),)),
    )
    points = [otlp.Point((("http.route", "/"),), (1, 0, 2), 1.5)]
    duration = otlp.histogram("http.server.request.duration", "Duration.", (0.1, 1.0), points, 5, 9)
    requests, resident, age, histogram = read(
        ExportMetricsServiceRequest, *(otlp.metric(family, 5, 9) for family in families), duration
    )
    assert (requests.name, requests.sum.is_monotonic, requests.sum.aggregation_temporality) == (
        "pellucid.requests",
        True,
        2,
    )
    assert [(point.as_int, told(point.attributes)) for point in requests.sum.data_points] == [
        (3, {"status": "200"}),
        (1, {}),
    ]
    assert {(point.start_time_unix_nano, point.time_unix_nano) for point in requests.sum.data_points} == {(5, 9)}
    assert (resident.name, resident.unit, resident.gauge.data_points[0].as_int) == ("pellucid.resident", "By", 1 << 40)
    assert (age.name, age.unit, age.gauge.data_points[0].as_double) == ("pellucid.beat_age", "s", -0.5)
    (point,) = histogram.histogram.data_points
    assert (point.count, point.sum, list(point.bucket_counts), list(point.explicit_bounds)) == (
        3,
        1.5,
        [1, 0, 2],
        [0.1, 1.0],
    )
    assert (histogram.unit, histogram.histogram.aggregation_temporality) == ("s", 2)


def test_a_log_record():
    made = otlp.record(3, 4, "warning", "pellucid.stuck", "it hangs", (("pellucid.worker", 0),), TRACE, SPAN)
    within, without = read(ExportLogsServiceRequest, made, otlp.record(3, 4, "info", "x", "", ()))
    assert MessageToDict(within, preserving_proto_field_name=True) == {
        "time_unix_nano": "3",
        "observed_time_unix_nano": "4",
        "severity_number": "SEVERITY_NUMBER_WARN",
        "severity_text": "WARNING",
        "event_name": "pellucid.stuck",
        "body": {"string_value": "it hangs"},
        "attributes": [{"key": "pellucid.worker", "value": {"int_value": "0"}}],
        "trace_id": "AQIDBAUGBwgJCgsMDQ4PEA==",
        "span_id": "c3BhbnNwYW4=",
        "flags": 1,
    }
    assert (without.trace_id, without.span_id, without.flags) == (b"", b"", 0)


def test_what_a_receiver_rejects_is_read_from_its_answer():
    answer = ExportTraceServiceResponse()
    assert otlp.rejected(answer.SerializeToString()) == (0, "")
    answer.partial_success.rejected_spans = 300
    answer.partial_success.error_message = "too old"
    whole = answer.SerializeToString()
    assert otlp.rejected(whole) == (300, "too old")
    for damaged in (whole[:-1], b"{}", b"\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"<html>"):
        with pytest.raises(ValueError, match="it "):
            otlp.rejected(damaged)
