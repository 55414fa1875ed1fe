"""The shapes in which predictions may be asked for, chosen by the path of a request; behind them is one queue.

    records.py   POST /predict           JSON records, or a JSON string that holds them
    v2.py        POST /v2/models/…/infer Open Inference Protocol V2: one tensor a column
    mlflow.py    POST /invocations       what `mlflow models serve` takes

`form.py` says what they have in common.
"""
