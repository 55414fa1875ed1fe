"""The model behind FastAPI, one request one predict."""

from typing import Any

import loaded
from fastapi import FastAPI

app = FastAPI()


@app.post("/predict")
def predict(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {"predictions": loaded.predict(records)}
