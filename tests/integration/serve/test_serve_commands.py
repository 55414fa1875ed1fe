"""`train`, `models` and `incidents` as a person and a program meet them."""

import json
import os
import subprocess
import time

import pytest

from tests.serving import PELLUCID


def run(home, *arguments):
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    return subprocess.run(
        [*PELLUCID, *arguments], env=environment, capture_output=True, text=True, timeout=110, check=False
    )


def test_training_the_loan_model(tmp_path):
    began = time.monotonic()
    ended = run(tmp_path, "train", "loan", "--json")
    took = time.monotonic() - began
    assert ended.returncode == 0, ended.stderr
    assert "loan: candidate 0 of 36, 0 %" in ended.stderr
    assert "loan: candidate 36 of 36, 100 %, 0 s left" in ended.stderr
    model = json.loads(ended.stdout)["model"]
    assert (model["name"], model["version"]) == ("loan", 1)
    assert model["metrics"]["accuracy"] > 0.8
    assert model["metrics"]["held_out_rows"] == 154
    assert len(model["signature"]["columns"]) == 11
    assert model["trusted"][1] == "sklearn.tree._tree.Tree"
    assert took < 60, "about 10 s on two free cores"

    listed = json.loads(run(tmp_path, "models", "--json").stdout)
    (row,) = listed["models"]
    assert (row["name"], row["version"], row["aliases"]) == ("loan", 1, ["latest"])
    assert row["metrics"] == model["metrics"]
    told = run(tmp_path, "models", "show", "loan").stdout
    assert 'column      Property_Area: "Rural", "Semiurban" or "Urban"' in told
    assert "model.skops" in told


def test_the_data_is_the_same_on_every_machine():
    import hashlib

    from pellucid.serve.loan import data

    training, test = data.load()
    assert training.shape == (614, 13)
    assert test.shape == (367, 12)
    assert training.isna().sum().to_dict()["Credit_History"] == 50
    again, _ = data.load()
    assert training.equals(again)
    text = training.to_csv(index=False).encode()
    assert hashlib.sha256(text).hexdigest().startswith("8ea41945ca3da92a")


def test_models_where_there_are_none(tmp_path):
    ended = run(tmp_path, "models")
    assert ended.returncode == 0
    assert "pellucid train loan makes the example" in ended.stdout
    assert json.loads(run(tmp_path, "models", "list", "--json").stdout)["models"] == []
    ended = run(tmp_path, "models", "show", "loan", "--json")
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["error"]["remedy"] == "pellucid train loan"


def test_an_unknown_recipe(tmp_path):
    ended = run(tmp_path, "train", "lone")
    assert ended.returncode == 2
    assert "try: pellucid train loan" in ended.stderr


def test_incidents_are_listed_and_shown(tmp_path):
    from pellucid.model.incident import Incident
    from pellucid.serve.incidents import Incidents

    assert "no incidents in" in run(tmp_path, "incidents").stdout
    Incidents(str(tmp_path / "pellucid" / "incidents")).save(
        Incident(
            id="i-20261122-000001-42",
            at=1.0,
            pid=42,
            worker=0,
            kind="died",
            sentence="worker 0 (pid 42) died",
            cause="killed by SIGKILL",
            model="loan\x1b[2J",
            version=1,
        )
    )
    listed = json.loads(run(tmp_path, "incidents", "--json").stdout)
    (row,) = listed["incidents"]
    assert {"id", "pid", "at", "sentence", "cause"} <= set(row)
    told = run(tmp_path, "incidents").stdout
    assert "worker 0 (pid 42) died: killed by SIGKILL" in told
    assert "\x1b" not in told
    assert "why     killed by SIGKILL" in run(tmp_path, "incidents", "show", row["id"]).stdout
    shown = json.loads(run(tmp_path, "incidents", "show", row["id"], "--json").stdout)
    assert shown["incident"]["kind"] == "died"
    assert run(tmp_path, "incidents", "show", "i-none").returncode == 2


@pytest.mark.parametrize("command", ["train", "models", "serve", "predict", "incidents"])
def test_the_help_of_a_command_imports_neither_libraries_nor_the_rest_of_the_server(command):
    program = (
        "import sys; from pellucid.app import main\n"
        f"sys.argv = ['pellucid', {command!r}, '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'uvicorn', 'starlette', 'skops', 'asyncio', 'ctypes', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([*PELLUCID[:1], "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stderr.strip().endswith("[]"), ended.stderr


def test_the_supervisor_imports_no_library_of_the_model():
    program = (
        "import sys; import pellucid.serve.supervisor, pellucid.serve.listener, pellucid.serve.store\n"
        "from pellucid.serve import look; look.prepare()\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'uvicorn', 'starlette', 'skops', 'asyncio', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    ended = subprocess.run([*PELLUCID[:1], "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stdout.strip() == "[]", ended.stderr
