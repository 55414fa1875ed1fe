"""Saves the model and becomes `mlflow models serve`: `peer_mlflow.py FOLDER PORT WORKERS`."""

import os
import sys
from pathlib import Path
from typing import Any

import loaded
import mlflow
import pandas as pd


class Loan(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:  # noqa: ARG002  MLflow's signature, as below
        sys.path.insert(0, str(Path(loaded.__file__).parent))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[str]:  # noqa: ARG002
        import loaded

        return [str(label) for label in loaded.model.pipeline.predict(model_input[loaded.columns])]


if __name__ == "__main__":
    folder, port, workers = sys.argv[1:]
    mlflow.pyfunc.save_model(folder, python_model=Loan(), code_paths=[loaded.__file__])
    mlflow_command = str(Path(sys.executable).with_name("mlflow"))
    line = ["models", "serve", "--model-uri", folder, "--env-manager", "local", "--port", port, "--workers", workers]
    os.execv(mlflow_command, [mlflow_command, *line])
