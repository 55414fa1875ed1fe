"""The baseline of `serve`: the usual small model server, Flask under gunicorn, one request one predict.

    BASELINE_MODEL=loan gunicorn --workers 2 --bind 127.0.0.1:8401 --chdir benchmarks/baseline app:app

It loads the same fitted pipeline out of the same store as pellucid, once a worker. `/predict` takes a list of records.
`/predict-text` takes them as many such servers do, as a JSON string that holds JSON, read by pandas.
"""

import io
import os

import pandas as pd
from flask import Flask, Response, jsonify, request

from pellucid.serve import package
from pellucid.serve.store import Store

app = Flask(__name__)
store = Store()
model = package.load(store, store.resolve(os.environ["BASELINE_MODEL"]), max_rows=1000)
columns = model.manifest.signature.names()


@app.post("/predict")
def predict() -> Response:
    return answer(pd.DataFrame(request.get_json()))


@app.post("/predict-text")
def predict_text() -> Response:
    return answer(pd.read_json(io.StringIO(request.get_json()), orient="records", dtype=False, convert_dates=False))


def answer(records: pd.DataFrame) -> Response:
    pairs = zip(records["Loan_ID"], model.pipeline.predict(records[columns]), strict=True)
    return jsonify(predictions=[{"Loan_ID": name, "prediction": str(label)} for name, label in pairs])
