"""Other model servers, each in an environment of its own under .cache/peers, made once: what they need, how they start, what they take.

All of them load the same pipeline by `pellucid.serve.package`, so that the bytes of the model are the same.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from benchmarks import harness

Body = Literal["records", "named", "text", "v2", "dataframe"]
HERE = harness.here() / "benchmarks" / "baseline"


class Peer(Struct, frozen=True):
    """`requirements` beside pellucid[serve]; `command`: (python's folder, working folder, port, workers) → command line."""

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Path, Path, int, int], list[str]]
    path: str
    shape: Body
    environment: dict[str, str] = {}

    def prepare(self, folder: Path, port: int, workers: int) -> list[str]:
        """The command line that starts it; makes its environment if need be. Raises harness.Failed."""
        folder.mkdir(exist_ok=True)
        return self.command(self.environ() / "bin", folder, port, workers)

    def environ(self) -> Path:
        """Its environment, made if need be."""
        key = "".join(char for char in self.name.lower() if char.isalnum())
        place = harness.here() / ".cache" / "peers" / key
        if not (place / ".made").exists():
            print(f"making an environment for {self.name} ...", file=sys.stderr, flush=True)
            _run([sys.executable, "-m", "venv", "--clear", str(place)])
            wanted = ["--editable", f"{harness.here()}[serve]", *self.requirements]
            _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", *wanted])
            (place / ".made").touch()
        return place


def _run(line: Sequence[str]) -> None:
    ended = subprocess.run(line, capture_output=True, text=True, timeout=1200, check=False)
    if ended.returncode:
        raise harness.Failed(f"{' '.join(line[:6])} ...: {ended.stderr.strip().splitlines()[-1:] or ended.returncode}")


def body(shape: Body, records: Sequence[dict[str, Any]]) -> bytes:
    """The request for these records."""
    if shape == "text":
        return json.dumps(json.dumps(records)).encode()
    if shape == "named":
        return json.dumps({"records": records}).encode()
    if shape == "dataframe":
        return json.dumps({"dataframe_records": records}).encode()
    if shape == "v2":
        inputs = [
            {
                "name": name,
                "shape": [len(records), 1],
                "datatype": "BYTES",
                "data": [_text(one[name]) for one in records],
            }
            for name in records[0]
        ]
        return json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs}).encode()
    return json.dumps(records).encode()


def _text(value: object) -> str:
    """MLServer has no null in a tensor: every value is a text of JSON."""
    return json.dumps(value)


def answers(shape: Body, content: bytes, ids: Sequence[str]) -> list[tuple[str, str]]:
    """(id, label) of each record in an answer."""
    found = json.loads(content)
    if shape == "v2":
        return list(zip(ids, map(str, found["outputs"][0]["data"]), strict=True))
    rows = found["predictions"] if isinstance(found, dict) else found
    if rows and not isinstance(rows[0], dict):
        return list(zip(ids, map(str, rows), strict=True))
    return [(row["Loan_ID"], str(row["prediction"])) for row in rows]


def _fastapi(python: Path, folder: Path, port: int, workers: int) -> list[str]:  # noqa: ARG001
    return [
        str(python / "uvicorn"), "--workers", str(workers), "--port", str(port), "--no-access-log", "--app-dir", str(HERE),
        "peer_fastapi:app",
    ]  # fmt: skip


def _litserve(python: Path, folder: Path, port: int, workers: int) -> list[str]:  # noqa: ARG001
    return [str(python / "python"), str(HERE / "peer_litserve.py"), str(port), str(workers)]


def _mlserver(python: Path, folder: Path, port: int, workers: int) -> list[str]:
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": port + 1 if port < 65000 else port - 1, "metrics_port": 0,
        "metrics_endpoint": None, "parallel_workers": workers, "debug": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps({"name": "loan", "implementation": "peer_mlserver.Loan"}))
    (folder / "peer_mlserver.py").write_text((HERE / "peer_mlserver.py").read_text())
    return [str(python / "mlserver"), "start", str(folder)]


def _bentoml(python: Path, folder: Path, port: int, workers: int) -> list[str]:  # noqa: ARG001
    return [
        str(python / "bentoml"), "serve", "peer_bentoml:Loan", "--working-dir", str(HERE), "--port", str(port),
    ]  # fmt: skip


def _mlflow(python: Path, folder: Path, port: int, workers: int) -> list[str]:
    return [str(python / "python"), str(HERE / "peer_mlflow.py"), str(folder / "model"), str(port), str(workers)]


def _ray(python: Path, folder: Path, port: int, workers: int) -> list[str]:  # noqa: ARG001
    return [str(python / "python"), str(HERE / "peer_ray.py"), str(port), str(workers)]


PEERS = {
    "fastapi": Peer("FastAPI + uvicorn", ("fastapi",), _fastapi, "/predict", "records"),
    "litserve": Peer("LitServe", ("litserve==0.2.19",), _litserve, "/predict", "records"),
    "mlserver": Peer(
        "MLServer",
        ("mlserver==1.7.1", "uvloop<0.22"),
        _mlserver,
        "/v2/models/loan/infer",
        "v2",
        {"BENCH_BASELINE": str(HERE)},
    ),
    "bentoml": Peer(
        "BentoML",
        ("bentoml==1.4.39", "uvloop<0.22"),
        _bentoml,
        "/predict",
        "named",
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    "mlflow": Peer("MLflow", ("mlflow",), _mlflow, "/invocations", "dataframe"),
    "ray": Peer(
        "Ray Serve",
        ("ray[serve]",),
        _ray,
        "/",
        "records",
        {"PYTHONPATH": str(HERE), "RAY_USAGE_STATS_ENABLED": "0"},
    ),
}
