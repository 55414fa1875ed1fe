"""`pellucid predict NAME FILE`: predictions for the records of a file, by a stored model in this process or by a server."""

from typing import TYPE_CHECKING, Any

import click

from pellucid.serve.cli import output

if TYPE_CHECKING:
    from pellucid.serve.store import Store

ANSWER_S = 60.0


@click.command("predict")
@click.argument("name")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--url", help="Ask the server there, instead of loading the model here.")
@click.option(
    "--example", is_flag=True, help="Predict records that were stored with the model, instead of those of a file."
)
@output.as_json
def command(name: str, file: str | None, url: str | None, example: bool, as_json: bool) -> None:
    """Predict the records of FILE (.csv with a header, .json, or - for JSON on stdin) with the model NAME."""
    import time

    from pellucid.model.errors import UsageError
    from pellucid.serve.report import PredictReport
    from pellucid.serve.store import Store

    if (file is None) == (not example):
        raise UsageError(
            tried="predict",
            said="either a FILE or --example is needed",
            remedy=f"pellucid predict {name} --example",
        )
    store = Store()
    found = _example(store, name) if example else _records(store, name, str(file))
    answer = _asked(url, found) if url else _here(store, name, found)
    report = PredictReport(process=None, taken_at=time.time(), gaps=(), **answer)
    if as_json:
        output.emit(report)
        return
    rows = [tuple(str(value) for value in row.values()) for row in report.predictions]
    if rows:
        output.table(tuple(key.upper() for key in report.predictions[0]), rows)
    click.echo(f"{len(rows)} predictions by {report.model} version {report.version}", err=True)


def _example(store: "Store", name: str) -> list[dict[str, Any]]:
    from pellucid.serve import package

    return package.example(store, store.resolve(name))


def _records(store: "Store", name: str, file: str) -> Any:
    from pellucid.serve.tables import read_csv, read_json

    if file.endswith(".csv"):
        return read_csv(file, store.resolve(name).signature)
    return read_json(file)


def _here(store: "Store", name: str, found: Any) -> dict[str, Any]:
    from pellucid.model.errors import UsageError
    from pellucid.serve import extras

    extras.need("predict", extras.PREDICT)
    from pellucid.serve import package
    from pellucid.serve.records import BadInput

    model = package.load(store, store.resolve(name), max_rows=1 << 31)
    try:
        records = model.reader.check(found)
    except BadInput as bad:
        raise _wrong([{"loc": problem.loc, "msg": problem.msg} for problem in bad.problems]) from bad
    try:
        labels = model.predict(records) if records else []
    except Exception as error:  # whatever the pipeline raises
        said = f"the model failed on these records: {type(error).__name__}: {error}"
        raise UsageError(tried=f"predict with {name}", said=said, remedy=f"pellucid models show {name}") from error
    answers = tuple(model.answers(records, labels))
    return {"predictions": answers, "model": model.manifest.name, "version": model.manifest.version}


def _asked(url: str, found: Any) -> dict[str, Any]:
    """POST /predict; the answer without keys that the report does not have."""
    import json
    import urllib.error
    import urllib.request

    from pellucid.model.errors import UsageError

    place = url.rstrip("/") + "/predict"
    request = urllib.request.Request(place, json.dumps(found).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
            told = json.load(reply)
            return {key: told[key] for key in ("predictions", "model", "version")}
    except urllib.error.HTTPError as error:
        detail = _detail(error.read())
        if isinstance(detail, list):
            raise _wrong(detail) from error
        raise UsageError(
            tried=f"ask {place}",
            said=f"{error.code} {error.reason}: {detail}",
            remedy=f"curl {url.rstrip('/')}/healthz",
        ) from error
    except (OSError, ValueError, KeyError) as error:
        said = str(getattr(error, "reason", error))
        raise UsageError(tried=f"ask {place}", said=said, remedy="pellucid serve NAME  (starts a server)") from error


def _detail(body: bytes) -> Any:
    import json

    try:
        return json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def _wrong(problems: list[Any]) -> Exception:
    from pellucid.model.errors import UsageError

    told = [f"{'.'.join(map(str, problem['loc'][1:])) or 'the whole'} {problem['msg']}" for problem in problems[:5]]
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return UsageError(
        tried="predict these records",
        said="; ".join(told) + more,
        remedy="mend these fields  (pellucid models show NAME lists the columns)",
    )
