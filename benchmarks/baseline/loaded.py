"""The model as every peer loads it: once a process, out of the store of the benchmark."""

from typing import Any

import pandas as pd

from pellucid.serve import package
from pellucid.serve.store import Store

store = Store()
model = package.load(store, store.resolve("loan"), max_rows=1000, engine="pipeline")
columns = model.manifest.signature.names()


def predict(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A label a record, with its id."""
    table = pd.DataFrame(records)
    labels = model.pipeline.predict(table[columns])
    return [{"Loan_ID": name, "prediction": str(label)} for name, label in zip(table["Loan_ID"], labels, strict=True)]
