"""One port, several protocols: each gives the pipeline's own labels, and each tells a refusal in its own form."""

import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import serving

SCHEMA = Path(__file__).parents[2] / "targets" / "serving" / "open_inference_rest.yaml"
V2 = "/v2/models/loan/infer"


@pytest.fixture(scope="module")
def server(home):
    with serving.serving(home, "loan", "--workers", "2") as server:
        yield server
        assert server.process.poll() is None, "".join(server.lines)


@pytest.fixture(scope="module")
def loan(home):
    """(records of the sample, their labels)."""
    from pellucid.serve import package
    from pellucid.serve.store import Store

    store = Store(str(home / "pellucid" / "models"))
    model = package.load(store, store.resolve("loan"), 1000)
    records = json.loads(store.read(model.manifest, "sample.json"))
    return records, list(model.labels)


def tensors(records):
    kinds = {str: "BYTES", int: "INT64", float: "FP64"}
    inputs = []
    for name in records[0]:
        values = [record[name] for record in records]
        kind = next(kinds[type(value)] for value in values if value is not None)
        inputs.append({"name": name, "shape": [len(values)], "datatype": kind, "data": values})
    return inputs


def test_records_in_a_json_string_are_answered_in_kind(server, loan):
    records, labels = loan
    for body in (json.dumps(json.dumps(records)), " " + json.dumps(json.dumps(records))):
        answer = server.ask("/predict", body.encode())
        assert answer.status == 200
        pairs = json.loads(answer.json["predictions"])
        assert pairs == [{"0": one["Loan_ID"], "1": label} for one, label in zip(records, labels, strict=True)]
    answer = server.ask("/predict?format=text", records[:1])
    assert json.loads(answer.json["predictions"]) == [{"0": records[0]["Loan_ID"], "1": labels[0]}]
    answer = server.ask("/predict?format=records", json.dumps(json.dumps(records[:1])).encode())
    assert answer.json["predictions"] == [{"Loan_ID": records[0]["Loan_ID"], "prediction": labels[0]}]
    answer = server.ask("/predict?format=xml", records[:1])
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["query", "format"])


@pytest.mark.parametrize("path", ["/predict", V2, "/invocations"])
def test_a_text_that_is_not_utf_8_is_the_mistake_of_who_sent_it(server, path):
    answer = server.ask(path, b'{"inputs": [{"name": "\xff"}]}')
    assert answer.status == 400
    assert "is not valid JSON" in answer.body.decode()


def test_the_open_inference_protocol(server, loan):
    records, labels = loan
    answer = server.ask(V2, {"id": "42", "inputs": tensors(records)})
    assert answer.status == 200
    found = answer.json
    assert (found["model_name"], found["model_version"], found["id"]) == ("loan", "1", "42")
    outputs = {output["name"]: output for output in found["outputs"]}
    assert outputs["Loan_Status"] == {"name": "Loan_Status", "datatype": "BYTES", "shape": [50], "data": labels}
    assert outputs["Loan_ID"]["data"] == [record["Loan_ID"] for record in records]

    nested = tensors(records[:3])
    for tensor in nested:
        tensor |= {"shape": [3, 1], "data": [[value] for value in tensor["data"]]}
    answer = server.ask("/v2/models/loan/versions/1/infer", {"inputs": nested, "outputs": [{"name": "Loan_Status"}]})
    assert [output["data"] for output in answer.json["outputs"]] == [labels[:3]]

    metadata = server.ask("/v2/models/loan").json
    assert metadata["inputs"][0] == {"name": "Gender", "datatype": "BYTES", "shape": [-1]}
    assert [output["name"] for output in metadata["outputs"]] == ["Loan_Status", "Loan_ID"]
    assert server.ask("/v2/models/loan/versions/1/ready").status == 200
    assert server.ask("/v2/health/ready").status == 200
    assert server.ask("/v2").json["name"] == "pellucid"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda inputs: inputs[1:], "Gender"),
        (lambda inputs: [*inputs, inputs[0]], "stands there twice"),
        (lambda inputs: [*inputs[1:], inputs[0] | {"shape": [7]}], "its shape says 7"),
        (lambda inputs: [*inputs[1:], inputs[0] | {"shape": [1, 2, 1]}], "must be [N] or [N, 1]"),
        (lambda inputs: [*inputs[1:], inputs[0] | {"datatype": "FP32"}], "must be BYTES, not 'FP32'"),
        (lambda inputs: [*inputs, {"name": "x", "shape": [3], "datatype": "BOOL", "data": []}], "is no input"),
        (lambda inputs: [*inputs[1:], inputs[0] | {"shape": [1], "data": ["Male"]}], "different numbers of rows"),
        (lambda inputs: [], "is empty"),
        (lambda inputs: 3, "is no inference request"),
    ],
)
def test_a_wrong_inference_request_is_told_as_that_protocol_does(server, loan, change, said):
    inputs = tensors(loan[0][:3])
    order = [tensor for tensor in inputs if tensor["name"] == "ApplicantIncome"]
    wanted = change(
        order + [tensor for tensor in inputs if tensor["name"] != "ApplicantIncome"] if said == "Gender" else inputs
    )
    answer = server.ask(V2, {"inputs": wanted})
    assert answer.status == 400
    assert ("ApplicantIncome is missing" if said == "Gender" else said) in answer.json["error"]


def test_another_model_is_not_found(server, loan):
    for path in ("/v2/models/other/infer", "/v2/models/loan/versions/7/infer"):
        answer = server.ask(path, {"inputs": tensors(loan[0][:1])})
        assert answer.status == 404
        assert "Not Found" in answer.json["error"]


@pytest.mark.filterwarnings("ignore")
def test_the_published_schema_of_the_open_inference_protocol(server, loan):
    """Requests made from the schema that the protocol publishes get answers of that schema. (`${NAME}` in its paths stands for `{NAME}`.)"""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra dev)")
    import hypothesis
    import yaml
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    raw = yaml.safe_load(SCHEMA.read_text().replace("${", "{"))
    raw["servers"] = [{"url": server.url}]
    schema = schemathesis.openapi.from_dict(raw)
    seen = set()
    inputs = tensors(loan[0][:2])
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=15, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
        )
        def check(case):
            if case.path_parameters:
                case.path_parameters |= {"MODEL_NAME": "loan", "MODEL_VERSION": "1"}
            response = case.call(base_url=server.url)
            seen.add((case.operation.path, response.status_code))
            # The schema can't say which tensors this model takes, so that a request which fits it may be refused all the same.
            case.validate_response(response, excluded_checks=[positive_data_acceptance])

        check()
        if operation.method == "post":
            case = operation.Case(
                path_parameters={"MODEL_NAME": "loan", "MODEL_VERSION": "1"},
                body={"inputs": inputs},
                media_type="application/json",
            )
            response = case.call(base_url=server.url)
            case.validate_response(response)
            assert response.status_code == 200
    assert {path for path, status in seen if status == 200} == set(raw["paths"]) - {
        "/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}/infer"
    }


def test_what_mlflow_s_server_takes(server, loan):
    records, labels = loan
    names = list(records[0])
    split = {"columns": names, "data": [[record[name] for name in names] for record in records]}
    columns = {name: [record[name] for record in records] for name in names}
    for body in (
        {"dataframe_records": records},
        {"dataframe_split": split},
        {"inputs": columns},
        {"instances": records},
    ):
        answer = server.ask("/invocations", body)
        assert (answer.status, answer.json) == (200, {"predictions": labels})
    assert server.ask("/invocations", {"inputs": records[0]}).json == {"predictions": labels[:1]}
    assert server.ask("/ping").status == 200
    assert server.ask("/version").body.startswith(b"pellucid ")
    answer = server.ask("/invocations", {"records": []})
    assert answer.status == 400
    assert "dataframe_split" in answer.json["detail"][0]["msg"]
    bad = {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}
    assert server.ask("/invocations", bad).json["detail"][0]["loc"] == ["body", "dataframe_split", "data", 0]


def test_openapi_describes_the_columns_and_docs_needs_nobody_else(server, loan):
    described = server.ask("/openapi.json").json
    assert described["openapi"] == "3.1.0"
    record = described["components"]["schemas"]["Record"]
    assert record["properties"]["Gender"] == {"type": ["string", "null"], "enum": ["Female", "Male", None]}
    assert record["properties"]["ApplicantIncome"] == {"type": "number"}
    assert "Gender" not in record["required"]
    example = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert server.ask("/predict", example).status == 200
    page = server.ask("/docs")
    assert page.headers["content-type"].startswith("text/html")
    text = page.body.decode()
    assert "Property_Area" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_its_own_description_holds(server):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (extra dev)")
    schema = schemathesis.openapi.from_dict(server.ask("/openapi.json").json)
    schema.validate()


def test_a_client_may_wait_less_than_the_server(server, loan, home):
    assert server.ask("/predict", loan[0][:1], {"x-request-timeout": "20"}).status == 200
    for wrong in ("0", "-1", "soon", "nan", "inf"):
        answer = server.ask("/predict", loan[0][:1], {"x-request-timeout": wrong})
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["header", "x-request-timeout"])
    with serving.serving(home, "faulty", "--workers", "1") as faulty:
        answer = faulty.ask("/predict", [serving.row("sleep 60")], {"x-request-timeout": "0.3"}, timeout=55)
        assert answer.status == 504
        assert "within the deadline of 0.3 s" in answer.json["detail"]


def test_a_trace_is_handed_back(server, loan):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert server.ask("/predict", loan[0][:1], {"traceparent": trace}).headers["traceparent"] == trace


@pytest.fixture(scope="module")
def guarded(home, tmp_path_factory):
    """A server with keys, TLS, counted categories and short errors; (server, key, limited key)."""
    from pellucid.serve import keys

    folder = tmp_path_factory.mktemp("guarded")
    key, line = keys.new("one")
    limited, limited_line = keys.new("two")
    (folder / "keys").write_text(f"# who\n{line}\n{limited_line}  1\n")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    options = [
        "--api-keys",
        str(folder / "keys"),
        "--tls-cert",
        str(folder / "cert.pem"),
        "--tls-key",
        str(folder / "key.pem"),
    ]
    with serving.serving(home, "loan", "--workers", "2", "--unseen", "count", "--errors", "field", *options) as server:
        server.cert = str(folder / "cert.pem")
        server.context = ssl.create_default_context(cafile=server.cert)
        yield server, key, limited


def ask_guarded(server, path, body=None, **headers):
    headers = {"content-type": "application/json"} | headers
    request = urllib.request.Request(server.url + path, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20, context=server.context) as reply:
            return serving.Answer(reply.status, reply.read(), reply.headers)
    except urllib.error.HTTPError as error:
        return serving.Answer(error.code, error.read(), error.headers)


def test_without_a_key_only_probes_answer(guarded, loan):
    server, key, _ = guarded
    assert server.url.startswith("https://")
    assert ask_guarded(server, "/readyz").status == 200
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}, {"authorization": f"Basic {key}"}):
        answer = ask_guarded(server, "/predict", loan[0][:1], **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert ask_guarded(server, "/metrics", **headers).status == 401
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        assert ask_guarded(server, "/predict", loan[0][:1], **headers).status == 200
    assert ask_guarded(server, "/healthz", **{"x-api-key": key}).status == 200


def test_the_command_gives_its_key_by_its_environment(guarded, home):
    server, key, _ = guarded

    def ran(**more):
        words = [*serving.PELLUCID, "predict", "loan", "--example", "--url", server.url]
        environment = os.environ | {"XDG_DATA_HOME": str(home)} | more
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)

    trusted = {"SSL_CERT_FILE": server.cert}
    assert len(ran(PELLUCID_API_KEY=key, **trusted).stdout.splitlines()) == 6
    refused = ran(**trusted)
    assert (refused.returncode, "401 Unauthorized" in refused.stderr) == (2, True)
    assert "try: export PELLUCID_API_KEY=" in refused.stderr
    assert "try: export SSL_CERT_FILE=" in ran(PELLUCID_API_KEY=key).stderr
    broken = ran(PELLUCID_API_KEY=f"{key}\nx: y", **trusted).stderr
    assert "has signs that no key has" in broken
    assert key not in broken


def test_a_key_has_its_rate_over_all_workers(guarded, loan):
    server, key, limited = guarded
    with ThreadPoolExecutor(8) as clients:
        answers = list(
            clients.map(lambda _: ask_guarded(server, "/predict", loan[0][:1], **{"x-api-key": limited}), range(40))
        )
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 429}
    assert next(answer for answer in answers if answer.status == 429).headers["retry-after"] == "1"
    assert ask_guarded(server, "/predict", loan[0][:1], **{"x-api-key": key}).status == 200


def test_unseen_categories_are_counted_where_that_is_asked(guarded, loan):
    server, key, _ = guarded
    records = [loan[0][0] | {"Property_Area": "urban"}, loan[0][1]]
    assert ask_guarded(server, "/predict", records, **{"x-api-key": key}).status == 200
    page = ask_guarded(server, "/metrics", **{"x-api-key": key}).body.decode()
    (line,) = [line for line in page.splitlines() if line.startswith("pellucid_unseen_category_total")]
    assert line.endswith(" 1") and 'column="Property_Area"' in line


def test_short_errors_name_the_field_and_no_more(guarded, loan):
    server, key, _ = guarded
    answer = ask_guarded(server, "/predict", [loan[0][0] | {"ApplicantIncome": "much"}], **{"x-api-key": key})
    assert answer.json == {"detail": [{"loc": ["body", 0, "ApplicantIncome"], "msg": "is wrong"}]}


def test_plain_http_to_a_tls_port_disturbs_nobody(guarded, loan):
    server, key, _ = guarded
    port = int(server.url.rpartition(":")[2])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            client.recv(100)
    assert ask_guarded(server, "/predict", loan[0][:1], **{"x-api-key": key}).status == 200
