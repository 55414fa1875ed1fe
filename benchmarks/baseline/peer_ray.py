"""The model behind Ray Serve on a cluster of its own, batching left at its default (none): `peer_ray.py PORT REPLICAS`."""

import signal
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=int(sys.argv[2]), max_ongoing_requests=64)
class Loan:
    def __init__(self) -> None:
        import loaded

        self.predict = loaded.predict

    async def __call__(self, request: Request) -> dict[str, Any]:
        return {"predictions": self.predict(await request.json())}


if __name__ == "__main__":
    ray.init(num_cpus=int(sys.argv[2]), object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Loan.bind())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()
