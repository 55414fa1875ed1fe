"""The model behind BentoML, its own batching left at its default."""

from typing import Any

import bentoml


@bentoml.service(workers=2, traffic={"timeout": 30})
class Loan:
    def __init__(self) -> None:
        import loaded

        self.predict_records = loaded.predict

    @bentoml.api
    def predict(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.predict_records(records)
