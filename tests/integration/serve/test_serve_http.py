"""The loan model over HTTP: right answers under concurrency, and every wrong request told what is wrong with it."""

import http.client
import json
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import serving
from tests.serving import PELLUCID

MOST_BODY = 200_000
MOST_ROWS = 400


@pytest.fixture(scope="module")
def server(home):
    limits = ["--max-body", str(MOST_BODY), "--max-rows", str(MOST_ROWS)]
    with serving.serving(home, "loan", "--workers", "2", *limits) as server:
        yield server
        assert server.process.poll() is None, "".join(server.lines)


@pytest.fixture(scope="module")
def applications(home):
    """(records, the pipeline's own labels)."""
    from pellucid.serve import package
    from pellucid.serve.frames import rows
    from pellucid.serve.loan import data
    from pellucid.serve.store import Store

    store = Store(str(home / "pellucid" / "models"))
    model = package.load(store, store.resolve("loan"), 1000)
    _, test = data.load()
    assert len(test) == 367
    return rows(model.manifest.signature, test), model.pipeline.predict(test[data.COLUMNS]).tolist()


@pytest.fixture
def record(applications):
    return dict(applications[0][0])


def test_all_answers_equal_the_pipeline_with_16_clients_at_once(server, applications):
    records, labels = applications
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(server.predict, records))
    assert {answer.status for answer in answers} == {200}
    found = [answer.json["predictions"] for answer in answers]
    assert found == [
        [{"Loan_ID": one["Loan_ID"], "prediction": label}] for one, label in zip(records, labels, strict=True)
    ]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 367


def test_many_records_in_one_request_keep_their_order_and_ids(server, applications):
    records, labels = applications
    answer = server.predict(*records)
    assert answer.json == {
        "predictions": [
            {"Loan_ID": one["Loan_ID"], "prediction": label} for one, label in zip(records, labels, strict=True)
        ],
        "model": "loan",
        "version": 1,
    }


def test_nulls_in_the_same_request_do_not_change_the_neighbours(server, applications):
    """With types guessed from the batch a null turns "0" into "0.0", and the prediction into another."""
    records, labels = applications
    nulls = {"Dependents": None, "LoanAmount": None, "Credit_History": None}
    for start in range(0, 60, 3):
        three = [*records[start : start + 2], records[start + 2] | nulls]
        found = [one["prediction"] for one in server.predict(*three).json["predictions"]]
        assert found[:2] == labels[start : start + 2]


def test_one_record_no_list_and_an_empty_list(server, record):
    answer = server.ask("/predict", record)
    assert answer.status == 200
    assert [one["Loan_ID"] for one in answer.json["predictions"]] == [record["Loan_ID"]]
    assert server.predict().json == {"predictions": [], "model": "loan", "version": 1}


def test_ids_are_kept_as_they_are(server, record):
    ids = ["ä\u202e\n", 7, None, "", "LP1"]
    answer = server.predict(*({**record, "Loan_ID": one} for one in ids))
    assert [one["Loan_ID"] for one in answer.json["predictions"]] == ids
    del record["Loan_ID"]
    assert server.predict(record).json["predictions"][0]["Loan_ID"] is None


def test_the_target_may_stand_in_a_record(server, record):
    assert server.predict({**record, "Loan_Status": "Y"}).status == 200


@pytest.mark.parametrize(
    ("change", "loc", "msg"),
    [
        ({"ApplicantIncome": "much"}, "ApplicantIncome", "must be a number, not a text"),
        ({"ApplicantIncome": None}, "ApplicantIncome", "must not be null"),
        ({"ApplicantIncome": ...}, "ApplicantIncome", "is missing; a number is needed"),
        ({"ApplicantIncome": True}, "ApplicantIncome", "must be a number, not a boolean"),
        ({"LoanAmount": [1]}, "LoanAmount", "must be a number or null, not a list"),
        (
            {"Property_Area": "urban"},
            "Property_Area",
            'must be "Rural", "Semiurban" or "Urban", not "urban": the training data had no such category',
        ),
        ({"Dependents": 0}, "Dependents", 'must be "0", "1", "2", "3+" or null, not a number'),
        ({"LoanAmout": 3}, "LoanAmout", "is no column of this model; is 'LoanAmount' meant?"),
        ({"Loan_ID": 1.5}, "Loan_ID", "must be a text or a whole number, not a number"),
    ],
)
def test_a_wrong_field_is_named(server, record, change, loc, msg):
    wrong = {name: value for name, value in {**record, **change}.items() if value is not ...}
    answer = server.predict(record, record, wrong)
    assert answer.status == 422
    (problem,) = answer.json["detail"]
    assert problem["loc"] == ["body", 2, loc]
    assert msg in problem["msg"]


def test_all_wrong_fields_are_named_at_once_up_to_a_bound(server, record):
    answer = server.predict({**record, "Gender": 1, "Married": 2}, {**record, "Education": 3})
    assert [problem["loc"] for problem in answer.json["detail"]] == [
        ["body", 0, "Gender"],
        ["body", 0, "Married"],
        ["body", 1, "Education"],
    ]
    answer = server.predict(*({**record, "Gender": 1} for _ in range(300)))
    assert len(answer.json["detail"]) == 50


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "is not valid JSON"),
        (b"{", 400, "is not valid JSON"),
        (b'[{"a": NaN}]', 400, "is not valid JSON"),
        (b"\xff\xfe", 400, "is not valid JSON"),
        (b'[{"Loan_ID": "\xff"}]', 400, "is not valid JSON"),
        (b'"\xff"', 400, "is not valid JSON"),
        (b"[" * 100_000, 400, "is not valid JSON"),
        (b"3", 422, "must be a list of records, or one record, not a number"),
        (b'"[{}]"', 422, 'is missing; "Graduate" or "Not Graduate" is needed'),
        (b'"nothing', 400, "is not valid JSON"),
        (b'"nothing"', 400, "is not valid JSON"),
        (b'"\\"twice\\""', 422, "must be a list of records, or one record, not a text"),
        (b"[1, null]", 422, "must be a record (an object), not a number"),
        (b'{"ApplicantIncome": 1e999}', 400, "out of range"),
    ],
)
def test_a_body_that_is_no_list_of_records(server, body, status, said):
    answer = server.ask("/predict", body)
    assert answer.status == status
    assert said in answer.json["detail"][0]["msg"]


def test_a_number_out_of_the_range_of_a_float(server, record):
    body = json.dumps([record]).replace(json.dumps(record["ApplicantIncome"]), "1" + "0" * 400).encode()
    assert server.ask("/predict", body).status in {400, 422}
    answer = server.predict({**record, "ApplicantIncome": 1e308})
    assert answer.status == 500, "a 64-bit float, but none that this forest takes"
    assert "the model failed on these records: ValueError" in answer.json["detail"]


def test_too_many_rows_and_too_large_a_body(server, record):
    answer = server.predict(*[record] * (MOST_ROWS + 1))
    assert (answer.status, "at most 400" in answer.body.decode()) == (413, True)
    answer = server.ask("/predict", b" " * (MOST_BODY + 1))
    assert (answer.status, f"larger than {MOST_BODY} bytes" in answer.body.decode()) == (413, True)
    answer = server.ask("/predict", b" " * (MOST_BODY * 7))
    assert answer.status == 413, "it is read on to its end, so that the client gets the answer"
    assert server.predict(record).status == 200


def test_a_huge_body_is_refused_by_its_announced_length(server):
    with socket.create_connection(_place(server), 10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n["
        )
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_counted_too(server, record):
    connection = http.client.HTTPConnection(*_place(server), timeout=10)
    chunks = (b" " * 50_000 for _ in range(8))
    connection.request("POST", "/predict", chunks, {"content-type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    connection = http.client.HTTPConnection(*_place(server), timeout=10)
    body = json.dumps([record]).encode()
    connection.request("POST", "/predict", iter([body[:5], body[5:]]), {}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()


def test_media_types_methods_and_places(server, record):
    body = json.dumps([record]).encode()
    answer = server.ask("/predict", body, {"content-type": "text/csv"})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (415, ["header", "content-type"])
    assert server.ask("/predict", body, {"content-type": "application/json; charset=utf-8"}).status == 200
    assert server.ask("/predict", body, {"content-encoding": "gzip"}).status == 415
    answer = server.ask("/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert "Method Not Allowed" in answer.json["detail"]
    assert server.ask("/nowhere").status == 404
    assert server.ask("/incidents/i-20200101-000000-1").status == 404
    assert server.ask("/incidents/..%2f..%2fmodels").status == 404


def test_pieces_pipelines_and_old_clients(server, record):
    """A body in pieces; three requests in one piece; HTTP/1.0; one that asks before it sends its body; one that wants to be the last."""
    body = json.dumps([record]).encode()

    def head(*more, version="1.1"):
        lines = [f"POST /predict HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *more]
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    with _connected(server) as raw, raw.makefile("rb") as answers:
        for pieces in (
            (head(), body),
            (head()[:30], head()[30:] + body[:20], body[20:25], body[25:]),
            (head() + body,),
        ):
            for piece in pieces:
                raw.sendall(piece)
                time.sleep(0.05)
            assert _answer(answers) == (200, [record["Loan_ID"]], None)
        raw.sendall(
            (head() + body) * 3 + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + head("Connection: close") + body
        )
        assert [_answer(answers) for _ in range(3)] == [(200, [record["Loan_ID"]], None)] * 3
        assert _answer(answers)[0] == 200
        assert _answer(answers) == (200, [record["Loan_ID"]], "close")
        assert raw.recv(1) == b""
    with _connected(server) as raw, raw.makefile("rb") as answers:
        raw.sendall(head("Expect: 100-continue"))
        assert answers.readline() + answers.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body)
        assert _answer(answers) == (200, [record["Loan_ID"]], None)
    with _connected(server) as raw, raw.makefile("rb") as answers:
        raw.sendall(head(version="1.0") + body)
        assert _answer(answers) == (200, [record["Loan_ID"]], "close")


def _connected(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def _answer(lines):
    """(status, ids, Connection) of the next answer."""
    status = int(lines.readline().split()[1])
    headers = {}
    while (line := lines.readline().decode().strip()) != "":
        name, _, value = line.partition(": ")
        headers[name] = value
    found = json.loads(lines.read(int(headers["content-length"])))
    return status, [one["Loan_ID"] for one in found.get("predictions", [])], headers.get("connection")


def test_clients_that_hang_up_disturb_nobody(server, record):
    before = len(server.log)
    body = json.dumps([record] * 100).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    for number in range(60):
        with socket.create_connection(_place(server), 10) as client:
            client.sendall(head.encode() + (body if number % 2 else body[:100]))
    assert all(server.predict(record).status == 200 for _ in range(10))
    assert not [one for one in server.log[before:] if one["level"] == "error"]


def test_no_http_at_all(server, record):
    with socket.create_connection(_place(server), 10) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert server.predict(record).status == 200


def test_health_pages(server):
    assert server.ask("/livez").status == 200
    assert server.ask("/readyz").json["ready"] is True
    found = server.ask("/healthz").json
    assert found["status"] == "ok"
    assert (found["model"], found["version"]) == ("loan", 1)
    assert all("last predicted rightly" in worker["sentence"] for worker in found["workers"])


def test_metrics_are_of_all_workers_whichever_is_asked(server, record):
    for _ in range(20):
        assert server.predict(record).status == 200
    pages = [server.ask("/metrics").body.decode() for _ in range(6)]
    for page in pages:
        lines = [line for line in page.splitlines() if not line.startswith("#")]
        values = dict(line.rsplit(" ", 1) for line in lines)
        ok = sum(int(value) for name, value in values.items() if 'status="200"' in name)
        assert ok >= 20
        for worker in (0, 1):
            count = values[f'pellucid_request_seconds_count{{worker="{worker}"}}']
            assert values[f'pellucid_request_seconds_bucket{{worker="{worker}",le="+Inf"}}'] == count
        assert values["pellucid_workers_ready"] == "2"


def test_idle_workers_stay_ready_by_predicting_their_sample(server):
    """Nobody asks for longer than one prediction makes them ready."""
    before = checks(server)
    until = time.monotonic() + 60
    while (now := checks(server)) - before < 4:
        assert time.monotonic() < until, (before, now)
        time.sleep(0.5)
    assert server.ask("/readyz").status == 200


def checks(server):
    """How often all workers together have predicted their own samples."""
    lines = server.ask("/metrics").body.decode().splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("pellucid_self_checks_total{"))


def test_the_command_predicts_like_the_server(server, home, applications, tmp_path):
    records, labels = applications
    table, listing = tmp_path / "some.csv", tmp_path / "some.json"
    names = list(records[0])
    cells = [",".join("" if one[name] is None else str(one[name]) for name in names) for one in records[:50]]
    table.write_text("\n".join([",".join(names), *cells]))
    listing.write_text(json.dumps(records[:50]))
    expected = [
        {"Loan_ID": one["Loan_ID"], "prediction": label} for one, label in zip(records[:50], labels[:50], strict=True)
    ]
    for arguments in ([str(table), "--url", server.url], [str(listing), "--url", server.url], [str(table)]):
        ended = _run(home, "predict", "loan", *arguments, "--json")
        assert json.loads(ended.stdout)["predictions"] == expected, ended.stderr
    nowhere = tmp_path / "nothing is stored here"
    for arguments in ([str(table)], [str(listing)], ["--example"]):
        ended = _run(nowhere, "predict", "loan", *arguments, "--url", server.url, "--json")
        found = json.loads(ended.stdout)["predictions"]
        assert found == expected if "--example" not in arguments else len(found) == 5, ended.stderr
    other = _run(home, "predict", "towns", str(listing), "--url", server.url)
    assert (other.returncode, "that server serves loan version 1" in other.stderr) == (2, True)
    plain = _run(home, "predict", "loan", "--example", "--url", server.url)
    assert plain.stdout.split()[:2] == ["LOAN_ID", "PREDICTION"]
    assert len(plain.stdout.splitlines()) == 6


def test_the_command_tells_what_is_wrong_with_the_records(server, home, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text('[{"Gender": "X"}]')
    for arguments in ([str(wrong), "--url", server.url], [str(wrong)]):
        ended = _run(home, "predict", "loan", *arguments)
        assert ended.returncode == 2
        assert '0.Gender must be "Female", "Male" or null, not "X"' in ended.stderr
    assert "ENOENT" in _run(home, "predict", "loan", "nowhere.json").stderr
    assert "either a FILE or --example" in _run(home, "predict", "loan").stderr
    ended = _run(home, "predict", "loan", "--example", "--url", "http://127.0.0.1:1")
    assert (ended.returncode, "refused" in ended.stderr) == (2, True)


def test_the_port_is_taken_and_by_whom(server, home):
    port = server.url.rpartition(":")[2]
    ended = _run(home, "serve", "loan", "--port", port)
    assert ended.returncode == 2
    assert f"can't listen on 127.0.0.1:{port}" in ended.stderr
    assert f"EADDRINUSE, Address already in use; it is held by pid {server.process.pid}" in ended.stderr


def test_addresses_that_this_host_has_not(home):
    assert "EADDRNOTAVAIL" in _run(home, "serve", "loan", "--port", "0", "--host", "192.0.2.1").stderr
    assert (
        "no address of this host" in _run(home, "serve", "loan", "--port", "0", "--host", "no.such.host.invalid").stderr
    )


def _run(home, *arguments):
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    return subprocess.run(
        [*PELLUCID, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def _place(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    return host, int(port)


def test_the_live_page_finds_it_and_tells_what_it_tells(server, record):
    from pellucid.present.view.serving import servers

    (found,) = [one for one in servers() if server.url.endswith(one.address)]
    assert found.why_not == ""
    assert found.model == "loan"
    assert {worker.pid for worker in found.workers} == {worker["pid"] for worker in server.workers()}
    assert server.predict(record).status == 200
    (found,) = [one for one in servers() if server.url.endswith(one.address)]
    assert found.answers["200"] > 0
    assert found.buckets[-1][0] is None
