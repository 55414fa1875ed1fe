"""The model behind LitServe, its own batching left at its default: `peer_litserve.py PORT WORKERS`."""

import sys
from typing import Any

import litserve
import loaded


class Loan(litserve.LitAPI):
    def setup(self, device: str) -> None:
        """The model is loaded with its module."""

    def decode_request(self, request):  # noqa: ANN001, ANN201  an annotation would make it a parameter of the query (litserve/server.py)
        return request

    def predict(self, inputs: Any) -> Any:
        return loaded.predict(inputs)

    def encode_response(self, output: Any) -> Any:
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Loan(), accelerator="cpu", workers_per_device=int(sys.argv[2]))
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
