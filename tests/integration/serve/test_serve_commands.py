"""`train`, `models` and `incidents` as a person and a program meet them."""

import json
import os
import subprocess

import pytest

from tests.serving import PELLUCID


def run(home, *arguments, **options):
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    return subprocess.run(
        [*PELLUCID, *arguments], env=environment, capture_output=True, text=True, timeout=110, check=False, **options
    )


def test_training_the_loan_model(tmp_path):
    ended = run(tmp_path, "train", "loan", "--json")
    assert ended.returncode == 0, ended.stderr
    assert "loan: fit 0 of 108, 0 %" in ended.stderr
    assert "loan: fit 108 of 108, 100 %, 0 s left" in ended.stderr
    model = json.loads(ended.stdout)["model"]
    assert (model["name"], model["version"]) == ("loan", 1)
    assert model["metrics"]["accuracy"] > 0.8
    assert model["metrics"]["held_out_rows"] == 154
    assert len(model["signature"]["columns"]) == 11
    assert model["trusted"][1] == "sklearn.tree._tree.Tree"
    assert not list((tmp_path / "pellucid" / "training").iterdir()), "the journal of a search that is done"

    listed = json.loads(run(tmp_path, "models", "--json").stdout)
    (row,) = listed["models"]
    assert (row["name"], row["version"], row["aliases"]) == ("loan", 1, ["latest"])
    assert row["metrics"] == model["metrics"]
    told = run(tmp_path, "models", "show", "loan").stdout
    assert 'column      Property_Area: "Rural", "Semiurban" or "Urban"' in told
    assert "model.skops" in told


HOUSES = "id,size,rooms,town,garden,price,note,empty\n" + "".join(
    f"h{n},{'' if n % 17 == 3 else 60 + n % 71},{1 + n % 5},{('north', 'south', 'east')[n % 3]},{('yes', 'no', '')[n % 3 - 1]},"
    f"{(60 + n % 71) * 3 + 20 * (n % 5) + n % 7}.5,note {n},\n"
    for n in range(150)
)
MINE = """
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
from .steps import Fill
GRID = {"decisiontreeclassifier__max_depth": [2, 3]}
def pipeline():
    return make_pipeline(Fill(), DecisionTreeClassifier(random_state=0))
"""
STEPS = """
from sklearn.base import BaseEstimator, TransformerMixin
class Fill(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        self.mean_ = float(rows["size"].mean())
        return self
    def transform(self, rows):
        return rows[["size", "rooms"]].fillna(self.mean_).to_numpy(dtype=float)
"""


@pytest.fixture
def folder(tmp_path):
    for name, text in (("houses.csv", HOUSES), ("mine.py", MINE), ("steps.py", STEPS)):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_training_on_a_table_of_one_s_own(folder):
    ended = run(
        folder, "train", "houses.csv", "--target", "price", "--id", "id", "--plot", "p.svg", "--jobs", "1", cwd=folder
    )
    assert ended.returncode == 0, ended.stderr
    assert "r2 0." in ended.stdout
    assert "not used, since they are empty or nearly every row has another text: note, empty" in ended.stdout
    assert "Warning" not in ended.stderr
    assert "█" in ended.stdout
    assert (folder / "p.svg").read_text().startswith("<svg")
    rows = [{"id": "a", "size": 100, "rooms": 3, "town": "south", "garden": None}]
    (folder / "rows.json").write_text(json.dumps(rows))
    found = json.loads(run(folder, "predict", "houses", "rows.json", "--json", cwd=folder).stdout)
    assert 200 < found["predictions"][0]["prediction"] < 500


def test_training_with_a_pipeline_of_one_s_own_is_kept_by_value(folder):
    command = [
        "train",
        "houses.csv",
        "--target",
        "town",
        "--id",
        "id",
        "--name",
        "towns",
        "--pipeline",
        "mine:pipeline",
        "--jobs",
        "1",
    ]
    ended = run(folder, *command, "--json", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    model = json.loads(ended.stdout)["model"]
    assert {"code/mine.py", "code/steps.py", "plot.svg"} <= {member["path"] for member in model["members"]}
    (folder / "steps.py").write_text("raise SystemExit('the changed file is of no interest')")
    assert run(folder, "predict", "towns", "--example", cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["houses.csv"], "which column is to be predicted"),
        (["houses.csv", "--target", "prize"], "it has no column 'prize'"),
        (["nowhere.csv", "--target", "x"], "No such file"),
        (["houses.csv", "--target", "town", "--name", "../town"], "use '../town' as the name of a model"),
        (["houses.csv", "--target", "town", "--id", "nr"], "--id COLUMN  (one of these)"),
        (["houses.csv", "--target", "town", "--pipeline", "nothing:here"], "there is no nothing.py here"),
        (["houses.csv", "--target", "town", "--pipeline", "mine"], "it is not MODULE:OBJECT"),
        (["houses.csv", "--target", "town", "--pipeline", "mine:GRID"], "it is a dict, which can't be fitted"),
    ],
)
def test_what_can_not_be_trained(folder, arguments, said):
    ended = run(folder, "train", *arguments, cwd=folder)
    assert ended.returncode == 2
    assert said in ended.stderr


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
