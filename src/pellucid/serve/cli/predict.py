"""`pellucid predict NAME FILE`: predictions for the records of a file, by a stored model in this process or by a server."""

from typing import TYPE_CHECKING, Any

import click

from pellucid.serve.cli import output

if TYPE_CHECKING:
    from pellucid.serve.cli.elsewhere import Served
    from pellucid.serve.signature import Signature


@click.command("predict")
@click.argument("name")
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--url",
    help="Ask the server there, instead of loading the model here; with the API key in $PELLUCID_API_KEY, if there is one.",
)
@click.option(
    "--example", is_flag=True, help="Predict records that were stored with the model, instead of those of a file."
)
@output.as_json
def command(name: str, file: str | None, url: str | None, example: bool, as_json: bool) -> None:
    """Predict the records of FILE (.csv with a header, .json, or - for JSON on stdin) with the model NAME."""
    import time

    from pellucid.model.errors import UsageError
    from pellucid.serve.report import PredictReport

    if (file is None) == (not example):
        raise UsageError(
            tried="predict",
            said="either a FILE or --example is needed",
            remedy=f"pellucid predict {name} --example",
        )
    source = _served(url, name) if url else _Stored(name)
    found = source.example() if example else _records(source, str(file))
    answer = source.predict(found)
    report = PredictReport(process=None, taken_at=time.time(), gaps=(), **answer)
    if as_json:
        output.emit(report)
        return
    rows = [tuple(str(value) for value in row.values()) for row in report.predictions]
    if rows:
        output.table(tuple(key.upper() for key in report.predictions[0]), rows)
    click.echo(f"{len(rows)} predictions by {report.model} version {report.version}", err=True)


class _Stored:
    """A model of this machine's store, computed in this process."""

    def __init__(self, name: str) -> None:
        from pellucid.serve.store import Store

        self.store = Store()
        self.name = name
        self.manifest = self.store.resolve(name)

    def example(self) -> list[dict[str, Any]]:
        from pellucid.serve import package

        return package.example(self.store, self.manifest)

    def signature(self) -> "Signature":
        return self.manifest.signature

    def predict(self, found: Any) -> dict[str, Any]:
        from pellucid.model.errors import UsageError
        from pellucid.serve import extras
        from pellucid.serve.cli.elsewhere import wrong

        extras.need("predict", extras.PREDICT)
        from pellucid.serve import package
        from pellucid.serve.records import BadInput

        model = package.load(self.store, self.manifest, max_rows=1 << 31)
        try:
            records = model.reader.check(found)
        except BadInput as bad:
            raise wrong([{"loc": problem.loc, "msg": problem.msg} for problem in bad.problems]) from bad
        try:
            labels = model.predict(records) if records else []
        except Exception as error:  # whatever the pipeline raises
            said = f"the model failed on these records: {type(error).__name__}: {error}"
            remedy = f"pellucid models show {self.name}"
            raise UsageError(tried=f"predict with {self.name}", said=said, remedy=remedy) from error
        answers = tuple(model.answers(records, labels))
        return {"predictions": answers, "model": self.manifest.name, "version": self.manifest.version}


def _records(source: "_Stored | Served", file: str) -> Any:
    from pellucid.serve.tables import read_csv, read_json

    return read_csv(file, source.signature()) if file.endswith(".csv") else read_json(file)


def _served(url: str, name: str) -> "Served":
    from pellucid.serve.cli.elsewhere import Served

    return Served(url, name)
