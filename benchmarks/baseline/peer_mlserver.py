"""The model behind MLServer. Its tensors know no null, so every value is a text of JSON."""

import json
import os
import sys

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Loan(MLModel):
    async def load(self) -> bool:
        sys.path.insert(0, os.environ["BENCH_BASELINE"])
        import loaded

        self.predict_records = loaded.predict
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = {one.name: [json.loads(text) for text in StringCodec.decode_input(one)] for one in payload.inputs}
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        labels = [row["prediction"] for row in self.predict_records(records)]
        output = StringCodec.encode_output("prediction", labels, use_bytes=False)
        return InferenceResponse(model_name=self.name, outputs=[output])
