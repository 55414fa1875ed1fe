"""The baseline of `serve`: the usual small model server, Flask under gunicorn, one request one predict.

    BASELINE_MODEL=model.joblib gunicorn --workers 2 --bind 127.0.0.1:8401 --chdir benchmarks/baseline app:app

It loads the same fitted pipeline as pellucid, once a worker. `/predict` takes a list of records. `/predict-text` takes them
as many such servers do, as a JSON string that holds JSON, read by pandas.
"""

import io
import os

import joblib
import pandas as pd
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
model = joblib.load(os.environ["BASELINE_MODEL"])


@app.post("/predict")
def predict() -> Response:
    return answer(pd.DataFrame(request.get_json()))


@app.post("/predict-text")
def predict_text() -> Response:
    records = pd.read_json(io.StringIO(request.get_json()), orient="records")
    records["Dependents"] = [None if value is None else str(value) for value in records["Dependents"]]
    return answer(records)


def answer(records: pd.DataFrame) -> Response:
    labels = model.predict(records)
    pairs = zip(records["Loan_ID"], labels, strict=True)
    return jsonify(predictions=[{"Loan_ID": name, "prediction": str(label)} for name, label in pairs])
