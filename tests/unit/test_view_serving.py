"""What a model server tells in the text of Prometheus, as figures."""

from pellucid.present.view import serving

METRICS = r"""# HELP pellucid_requests_total Answers
# TYPE pellucid_requests_total counter
pellucid_requests_total{worker="0",status="200"} 40
pellucid_requests_total{worker="1",status="200"} 2
pellucid_requests_total{worker="1",status="504"} 1
pellucid_request_seconds_bucket{worker="0",le="0.001"} 10
pellucid_request_seconds_bucket{worker="0",le="+Inf"} 40
pellucid_request_seconds_bucket{worker="1",le="0.001"} 1
pellucid_request_seconds_bucket{worker="1",le="+Inf"} 3
pellucid_rows_total{worker="0"} 100
pellucid_rows_total{worker="1"} 5
pellucid_unseen_category_total{worker="0",column="a \"b\" {c}"} 7
pellucid_incidents_total{kind="stuck"} 2
a line that is none
pellucid_workers_ready 2
"""


def test_the_workers_of_a_server_are_summed():
    metrics = list(serving._metrics(METRICS))
    assert serving._by(metrics, "pellucid_requests_total", "status") == {"200": 42, "504": 1}
    assert serving._buckets(metrics) == ((0.001, 11), (None, 43))
    assert serving._counts(metrics)["rows"] == 105
    assert serving._by(metrics, "pellucid_incidents_total", "kind") == {"stuck": 2}
    assert ("pellucid_unseen_category_total", {"worker": "0", "column": r"a \"b\" {c}"}, 7.0) in metrics
