"""Models that were made elsewhere: what a pickle would import, MLflow's folders and registry, ONNX graphs, bundles."""

import contextlib
import importlib.util
import io
import json
import os
import pickle
import sqlite3
import sys
import textwrap
import warnings
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from pellucid.model.errors import UsageError
from pellucid.serve import bundle, foreign, package, pickles
from pellucid.serve.foreign import Wishes
from pellucid.serve.forms.mlflow import Mlflow
from pellucid.serve.manifest import Training
from pellucid.serve.records import BadInput
from pellucid.serve.signature import infer
from pellucid.serve.store import Store
from tests.conftest import TARGETS


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def silent(line):
    """Nobody reads the preflight here."""


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "models"))


@pytest.fixture(scope="module")
def houses():
    dice = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "size": dice.normal(100, 30, 80).round(1),
            "rooms": dice.integers(1, 6, 80),
            "town": dice.choice(["a", "b"], 80),
        }
    )
    labels = np.where(table["size"] + 10 * table["rooms"] > 130, "dear", "cheap")
    transform = make_column_transformer((StandardScaler(), ["size", "rooms"]), (OneHotEncoder(), ["town"]))
    pipeline = make_pipeline(transform, RandomForestClassifier(5, random_state=0)).fit(table, labels)
    return table, pipeline


def test_a_pickle_is_read_without_being_loaded(monkeypatch):
    contents = [pickle.dumps([Evil(), Evil()], protocol=protocol) for protocol in range(6)]
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("it was loaded"))
    for content in contents:
        seen = pickles.preflight(content)
        assert [(one.module, one.name, one.dangerous) for one in seen.globals] == [("posix", "system", True)]


def test_names_that_come_out_of_the_memo_are_seen():
    """Module and name are pushed, memoised and dropped, and only fetched again at the end."""
    content = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940" + b"0" + b"h\x00h\x01\x93."
    assert [str(one) for one in pickles.preflight(content).globals] == ["posix.system  (can run anything)"]


def test_the_version_that_made_it_and_what_is_missing_here_are_told(houses):
    content = pickle.dumps(houses[1]).replace(b"sklearn.compose", b"nolearn.compose")
    seen = pickles.preflight(content)
    import sklearn

    assert seen.sklearn == sklearn.__version__
    assert any("nolearn.compose" in line and "not installed here" in line for line in seen.lines())
    assert "not all of it can be read" in pickles.preflight(content[:500]).lines()[-1]
    assert pickles.preflight(b"garbage").unreadable


def test_a_pickle_is_only_loaded_with_consent(store, houses, tmp_path):
    table, pipeline = houses
    place, sample = tmp_path / "houses.pkl", tmp_path / "some.csv"
    place.write_bytes(pickle.dumps(pipeline))
    table.to_csv(sample, index=False)
    told = []
    with pytest.raises(UsageError) as refused:
        foreign.bring_in(store, str(place), Wishes(sample=str(sample)), told.append)
    assert "--allow-pickle" in refused.value.remedy
    assert any("would import  sklearn.ensemble._forest.RandomForestClassifier" in line for line in told)
    manifest, fresh = foreign.bring_in(store, str(place), Wishes(sample=str(sample), allow_pickle=True), silent)
    assert (manifest.name, manifest.version, manifest.format, fresh) == ("houses", 1, "pickle", True)
    assert manifest.rows_proof.equal
    assert [proof.equal for proof in manifest.proofs] == [True]
    model = package.load(store, manifest, 100)
    records = model.reader.check(json.loads(table.to_json(orient="records")))
    assert model.predict(records) == pipeline.predict(table).tolist()
    again, fresh = foreign.bring_in(store, str(place), Wishes(sample=str(sample), allow_pickle=True), silent)
    assert (again.version, fresh) == (1, False), "the same content is stored once"


def test_raw_arrays_of_joblib_are_told_to_be_unread_and_loaded_all_the_same(store, houses, tmp_path):
    place, sample = tmp_path / "houses.joblib", tmp_path / "some.csv"
    joblib.dump(houses[1], place)
    houses[0].to_csv(sample, index=False)
    told = []
    foreign.bring_in(store, str(place), Wishes(sample=str(sample), allow_pickle=True), told.append)
    assert "not all of it can be read" in told[-1]


def test_a_file_that_holds_no_estimator(store, tmp_path):
    place = tmp_path / "list.pkl"
    place.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UsageError, match="holds a list, which has no predict"):
        foreign.bring_in(store, str(place), Wishes(allow_pickle=True), silent)
    with pytest.raises(UsageError, match="no kind of model file"):
        foreign.bring_in(store, __file__, Wishes(), silent)


def mlflow_folder(folder, houses, *, code=False):
    """What `mlflow.sklearn.log_model` writes, of an estimator that may have code of its own."""
    import cloudpickle

    table, pipeline = houses
    folder.mkdir(parents=True)
    flavor = {
        "pickled_model": "model.pkl",
        "serialization_format": "cloudpickle",
        "sklearn_version": "1.5.2",
        "code": None,
    }
    content = cloudpickle.dumps(pipeline)
    if code:
        (folder / "code" / "own").mkdir(parents=True)
        (folder / "code" / "own" / "__init__.py").write_text("")
        (folder / "code" / "own" / "wrapped.py").write_text(
            textwrap.dedent("""
            class Wrapped:
                def __init__(self, inner):
                    self.inner = inner
                def predict(self, rows):
                    return self.inner.predict(rows)
            """)
        )
        import sys

        sys.path.insert(0, str(folder / "code"))
        try:
            from own.wrapped import Wrapped

            content = pickle.dumps(Wrapped(pipeline))
        finally:
            sys.path.remove(str(folder / "code"))
            for name in ("own", "own.wrapped"):
                sys.modules.pop(name, None)
        flavor["code"] = "code"
    (folder / "model.pkl").write_bytes(content)
    inputs = [
        {"type": "double", "name": "size", "required": True},
        {"type": "long", "name": "rooms", "required": True},
        {"type": "string", "name": "town", "required": True},
    ]
    rows = table.head(20)
    (folder / "input_example.json").write_text(rows.to_json(orient="split", index=False))
    described = {
        "flavors": {"sklearn": flavor, "python_function": {"loader_module": "mlflow.sklearn"}},
        "signature": {"inputs": json.dumps(inputs), "outputs": "[]"},
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
    }
    (folder / "MLmodel").write_text(json.dumps(described))  # JSON is YAML
    return folder


@pytest.mark.parametrize("code", [False, True])
def test_an_mlflow_model_is_served_without_mlflow(store, houses, tmp_path, code):
    folder = mlflow_folder(tmp_path / "model", houses, code=code)
    manifest, _ = foreign.bring_in(store, str(folder), Wishes(name="houses", allow_pickle=True), silent)
    assert [column.kind for column in manifest.signature.columns] == ["number", "whole", "text"]
    assert manifest.sample_rows == 20
    model = package.load(store, manifest, 100)
    records = model.reader.check(json.loads(houses[0].to_json(orient="records")))
    assert model.predict(records) == houses[1].predict(houses[0]).tolist()
    if code:
        assert [member.path for member in manifest.code()] == ["code/own/__init__.py", "code/own/wrapped.py"]


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_mlflow_s_registry_by_alias_and_by_version(store, houses, tmp_path, monkeypatch, kind):
    folder = mlflow_folder(tmp_path / "artifacts" / "m-1", houses)
    if kind == "sqlite":
        with sqlite3.connect(tmp_path / "mlflow.db") as base:
            base.execute("CREATE TABLE model_versions (name TEXT, version INTEGER, source TEXT, storage_location TEXT)")
            base.execute("CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)")
            base.execute("INSERT INTO model_versions VALUES ('houses', 3, 'models:/m-1', ?)", (folder.as_uri(),))
            base.execute("INSERT INTO registered_model_aliases VALUES ('houses', 'champion', 3)")
        base.close()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    else:
        version = tmp_path / "mlruns" / "models" / "houses" / "version-3"
        version.mkdir(parents=True)
        (version / "meta.yaml").write_text(f"source: models:/m-1\nstorage_location: {folder}\n")
        (version.parent / "aliases").mkdir()
        (version.parent / "aliases" / "champion").write_text("3")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    for place in ("models:/houses@champion", "models:/houses/3"):
        manifest, _ = foreign.bring_in(store, place, Wishes(allow_pickle=True), silent)
        assert (manifest.name, manifest.version, manifest.origin) == ("houses", 1, "models:/houses@champion")
    for place, said in (("models:/houses@x", "no alias"), ("models:/houses/9", "9"), ("models:/houses", "is named as")):
        with pytest.raises(UsageError, match=said):
            foreign.bring_in(store, place, Wishes(allow_pickle=True), silent)


def test_a_model_file_can_not_lead_out_of_its_folder(store, houses, tmp_path):
    folder = mlflow_folder(tmp_path / "model", houses)
    described = json.loads((folder / "MLmodel").read_text())
    described["flavors"]["sklearn"]["pickled_model"] = "../secret"
    (folder / "MLmodel").write_text(json.dumps(described))
    (tmp_path / "secret").write_bytes(b"x")
    with pytest.raises(UsageError, match="lies outside"):
        foreign.bring_in(store, str(folder), Wishes(allow_pickle=True), silent)


def test_an_onnx_graph(store, tmp_path):
    skl2onnx = pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
    numbers = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    estimator = LogisticRegression().fit(numbers, (numbers[:, 0] > 0).astype(int))
    place = tmp_path / "line.onnx"
    place.write_bytes(skl2onnx.to_onnx(estimator, numbers[:1]).SerializeToString())
    manifest, _ = foreign.bring_in(store, str(place), Wishes(), silent)
    assert manifest.signature.names() == ["X0", "X1", "X2", "X3"]
    model = package.load(store, manifest, 100)
    records = model.reader.check(
        [dict(zip(manifest.signature.names(), map(float, row), strict=True)) for row in numbers]
    )
    assert model.predict(records) == estimator.predict(numbers).tolist()


def stored(store, houses, tmp_path):
    place = tmp_path / "houses.pkl"
    place.write_bytes(pickle.dumps(houses[1]))
    sample = tmp_path / "some.csv"
    houses[0].to_csv(sample, index=False)
    return foreign.bring_in(store, str(place), Wishes(sample=str(sample), allow_pickle=True), silent)[0]


def test_a_bundle_carries_a_version_to_another_store(store, houses, tmp_path):
    manifest = stored(store, houses, tmp_path)
    path = str(tmp_path / "houses.pellucid-model")
    bundle.export(store, manifest, path)
    other = Store(str(tmp_path / "other"))
    with pytest.raises(UsageError, match="is a pickle that would import"):
        bundle.bring_in(other, path, Wishes())
    there, fresh = bundle.bring_in(other, path, Wishes(allow_pickle=True))
    assert (there.version, fresh, there.members) == (1, True, manifest.members)
    assert bundle.bring_in(other, path, Wishes(allow_pickle=True)) == (there, False)
    package.load(other, there, 10)


def test_a_damaged_bundle_is_refused(store, houses, tmp_path):
    manifest = stored(store, houses, tmp_path)
    path = tmp_path / "houses.pellucid-model"
    bundle.export(store, manifest, str(path))
    whole = path.read_bytes()
    place = whole.rindex(b"cheap")
    for damaged in (whole[:4000], whole[:place] + b"sheap" + whole[place + 5 :], b"", b"PK\3\4 no tar", whole[512:]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError):
            bundle.bring_in(Store(str(tmp_path / "other")), str(path), Wishes(allow_pickle=True))
    assert not list(Store(str(tmp_path / "other")).listed())


def test_promote_and_roll_back(store, houses, tmp_path):
    first = stored(store, houses, tmp_path)
    members = {member.path: store.read(first, member.path) for member in first.members}
    for _ in range(2):
        store.register(first, members)
    assert store.resolve("houses").version == 3, "the latest, as long as nothing was promoted"
    assert store.promote("houses", 1) is None
    assert store.promote("houses", 2) == 1
    assert store.promote("houses", 2) == 2
    store.register(first, members)
    assert store.resolve("houses").version == 2, "what was promoted, whatever is registered later"
    assert store.resolve("houses@latest").version == 4
    assert store.rollback("houses") == (1, 2)
    assert store.resolve("houses@production").version == 1
    with pytest.raises(UsageError, match="only ever pointed at version 1"):
        store.rollback("houses")
    with pytest.raises(UsageError, match="no such version"):
        store.promote("houses", 9)
    with pytest.raises(UsageError, match="no such alias"):
        store.rollback("houses", "blue")


@pytest.fixture
def genuine(tmp_path):
    """A folder with what MLflow itself wrote, and the addresses of its two stores."""
    source = TARGETS / "serving" / "mlflow"
    for place in sorted(source.rglob("*")):
        copy = tmp_path / "mlflow" / place.relative_to(source)
        if place.is_dir():
            copy.mkdir(parents=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(place.read_bytes().replace(b"/srv/mlflow", str(tmp_path / "mlflow").encode()))
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow" / "mlflow.db")) as base:
        base.executescript((tmp_path / "mlflow" / "registry.sql").read_text())
    return {"sqlite": f"sqlite:///{tmp_path}/mlflow/mlflow.db", "files": f"file:{tmp_path}/mlflow/files"}


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_an_object_of_ones_own_that_mlflow_wrote_is_served_without_it(store, genuine, tmp_path, monkeypatch, kind):
    assert importlib.util.find_spec("mlflow") is None, "this test is about a machine without MLflow"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", genuine[kind])
    told = []
    with pytest.raises(UsageError, match="is a pickle"):
        foreign.bring_in(store, "models:/prices@champion", Wishes(), told.append)
    assert any("town_prices.TownPrices" in line for line in told)
    wishes = Wishes(allow_pickle=True)
    manifest, fresh = foreign.bring_in(store, "models:/prices@champion", wishes, silent)
    assert (manifest.name, manifest.version, manifest.format, fresh) == ("prices", 1, "pyfunc", True)
    assert [column.kind for column in manifest.signature.columns] == ["number", "text"]
    model = package.load(store, manifest, 100)
    records = model.reader.check([{"size": 10.0, "town": "north"}, {"size": 3.0, "town": "south"}])
    assert model.predict(records) == [25.0, 12.0]
    assert not [name for name in sys.modules if name.partition(".")[0] == "mlflow"], "what stood in for it has gone"
    path = tmp_path / "prices.pellucid-model"
    bundle.export(store, manifest, str(path))
    elsewhere = Store(str(tmp_path / "elsewhere"))
    with pytest.raises(UsageError, match="is a pickle"):
        bundle.bring_in(elsewhere, str(path), Wishes())
    brought, _ = bundle.bring_in(elsewhere, str(path), wishes)
    assert package.load(elsewhere, brought, 100).predict(records) == [25.0, 12.0]


class UsesMlflow:
    def predict(self, rows):
        import mlflow

        return mlflow.predict(rows)


def test_an_object_that_needs_mlflow_itself_is_refused(store, tmp_path):
    import cloudpickle

    described = {
        "flavors": {"python_function": {"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl"}},
        "signature": {"inputs": json.dumps([{"type": "double", "name": "x", "required": True}])},
    }
    (tmp_path / "MLmodel").write_text(json.dumps(described))
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(UsesMlflow()))
    with pytest.raises(UsageError, match="mlflow"):
        foreign.bring_in(store, str(tmp_path), Wishes(allow_pickle=True), silent)
    described["flavors"]["python_function"] = {"loader_module": "mlflow.keras", "data": "data"}
    (tmp_path / "MLmodel").write_text(json.dumps(described))
    with pytest.raises(UsageError, match=r"only python_function \(mlflow.keras\)"):
        foreign.bring_in(store, str(tmp_path), Wishes(allow_pickle=True), silent)


def test_texts_that_a_fitted_encoder_knows_are_the_categories(store, houses, tmp_path):
    """Without a sample and without an example, its signature says only that there is a text."""
    folder = mlflow_folder(tmp_path / "model", houses)
    described = json.loads((folder / "MLmodel").read_text())
    del described["saved_input_example_info"]
    (folder / "MLmodel").write_text(json.dumps(described))
    manifest, _ = foreign.bring_in(store, str(folder), Wishes(allow_pickle=True), silent)
    assert manifest.signature.columns[2].categories == ("a", "b")
    assert manifest.sample_rows == foreign.MADE_UP_ROWS


def test_a_model_of_a_matrix_takes_columns_by_position(store, tmp_path):
    numbers = np.random.default_rng(0).normal(size=(60, 2))
    estimator = LogisticRegression().fit(numbers, (numbers[:, 0] > 0).astype(int))
    flavor = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
    inputs = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
    described = {"flavors": {"sklearn": flavor}, "signature": {"inputs": json.dumps(inputs)}}
    (tmp_path / "MLmodel").write_text(json.dumps(described))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(estimator))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of names that it did not see when it was fitted
        manifest, _ = foreign.bring_in(store, str(tmp_path), Wishes(allow_pickle=True), silent)
        model = package.load(store, manifest, 100)
        asked = Mlflow(model).read(json.dumps({"inputs": numbers[:5].tolist()}).encode(), "")
        assert model.predict(asked.records) == estimator.predict(numbers[:5]).tolist()
        with pytest.raises(BadInput, match="must be a list of 2 values"):
            Mlflow(model).read(b'{"instances": [[1, 2], [3]]}', "")


def test_a_model_that_the_libraries_here_can_not_compute_is_refused_with_those_of_its_training(store, houses, tmp_path):
    table, _ = houses
    numbers = table[["size", "rooms"]]
    made = make_pipeline(SimpleImputer(), LinearRegression()).fit(numbers, table["size"])
    manifest = package.save(
        store, "houses", made, signature=infer(table.assign(price=0), ["size", "rooms"], id_column=None, target="price"),
        sources={}, sample=json.loads(numbers[:4].to_json(orient="records")), metrics={},
        training=Training(rows=80, data_sha256="", seconds=0.0, parameters={}),
    )  # fmt: skip
    members = {member.path: store.read(manifest, member.path) for member in manifest.members}
    other = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(members["model.skops"])) as was, zipfile.ZipFile(other, "w") as archive:
        for name in was.namelist():
            archive.writestr(name, was.read(name).replace(b'"_fill_dtype"', b'"_as_it_was_once"'))
    older = replace(manifest, libraries=manifest.libraries | {"scikit-learn": "1.6.1"})
    older = store.register(older, members | {"model.skops": other.getvalue()})
    with pytest.raises(UsageError) as refused:
        package.load(store, older, 10)
    assert refused.value.tried == "load houses version 2 and predict its stored sample"
    assert "AttributeError: 'SimpleImputer' object has no attribute '_fill_dtype' (" in refused.value.said
    assert "_base.py:" in refused.value.said
    assert "made with scikit-learn 1.6.1, here is" in refused.value.said
    assert "install scikit-learn==1.6.1 pandas==" in refused.value.remedy
