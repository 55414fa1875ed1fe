"""What is handed to us to do harm: files of skops, pickles and bundles. Nothing of them runs, fills the memory or leaves its place without consent."""

import importlib
import io
import json
import os
import pickle
import sys
import tarfile
import textwrap
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, normalize
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from pellucid.model.errors import UsageError
from pellucid.serve import bundle, foreign, package, pickles, stored_code, trust
from pellucid.serve.foreign import Wishes
from pellucid.serve.manifest import Training
from pellucid.serve.signature import Column, Signature
from pellucid.serve.store import Store


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def silent(line):
    """Nobody reads the preflight here."""


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "models"))


def kept(store, estimator, sources):
    """A model of the one column `size`, as version 1 of `own`."""
    return package.save(
        store, "own", estimator, signature=Signature((Column("size", "number", nullable=False),), None, "price"),
        sources=sources, sample=[{"size": 1.0}, {"size": 2.0}], metrics={},
        training=Training(rows=2, data_sha256="", seconds=0.0, parameters={}),
    )  # fmt: skip


def as_skops(folder, pipeline, *, was="", becomes=""):
    """A file of skops, in which a name was replaced by another one."""
    place = folder / "given.skops"
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(pipeline))) as made, zipfile.ZipFile(place, "w") as archive:
        for entry in made.namelist():
            archive.writestr(entry, made.read(entry).replace(was.encode(), becomes.encode()))
    return place


def test_a_file_of_skops_calls_no_function_that_scikit_learn_has_beside_its_estimators(store, tmp_path):
    mark, sample = tmp_path / "mark", tmp_path / "some.csv"
    sample.write_text(f"touch,{mark}\n1,2\n3,4\n")  # a program and its argument, as the names of the columns
    pipeline = make_pipeline(FunctionTransformer(normalize), LinearRegression().fit([[1], [2]], [1, 2]))
    was = '"sklearn.preprocessing._data",'
    for module, function in (
        ("sklearn.utils._testing", "check_output"),
        ("sklearn.utils._testing", "assert_run_python_script_without_output"),
        ("sklearn.datasets._base", "load_files"),
        ("sklearn.utils.fixes", "os"),
    ):
        place = as_skops(tmp_path, pipeline, was='"normalize"', becomes=f'"{function}"')
        place = rewritten(place, was, f'"{module}",')
        with pytest.raises(UsageError, match=f"{module}.{function}"):
            foreign.bring_in(store, str(place), Wishes(sample=str(sample)), silent)
    assert not mark.exists()
    columns = tmp_path / "columns.csv"
    columns.write_text("size\n1\n3\n")
    place = as_skops(tmp_path, pipeline)
    assert foreign.bring_in(store, str(place), Wishes(sample=str(columns)), silent)[1], (
        "one that only computes is taken"
    )


def rewritten(place, was, becomes):
    with zipfile.ZipFile(place) as made:
        content = {entry: made.read(entry) for entry in made.namelist()}
    assert any(was.encode() in text for text in content.values())
    with zipfile.ZipFile(place, "w") as archive:
        for entry, text in content.items():
            archive.writestr(entry, text.replace(was.encode(), becomes.encode()))
    return place


def test_what_estimators_hold_of_scikit_learn_is_known():
    numbers, labels = make_classification(60, 4, random_state=0)
    for final in (RandomForestClassifier(3), HistGradientBoostingClassifier(max_iter=2), KNeighborsClassifier(), SVC()):
        made = make_pipeline(StandardScaler(), SelectKBest(k=2), final).fit(numbers, labels)
        assert trust.strangers(skops.io.get_untrusted_types(data=skops.io.dumps(made))) == []
    strange = ["sklearn", "sklearn.", "sklearn.no_such.Thing", "os.system"]
    assert trust.strangers(strange) == strange


def test_a_file_of_skops_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0.npy", "w") as array:
        for _ in range(20):
            array.write(bytes(1 << 20))
    trust.not_too_large(content.getvalue(), "small.skops")
    whole = content.getvalue()
    place = whole.rindex(b"PK\1\2") + 24  # the length as the archive's directory tells it
    told = whole[:place] + (0x7FFF0000).to_bytes(4, "little") + whole[place + 4 :]
    with pytest.raises(UsageError, match="would unpack to 2147418112"):
        trust.not_too_large(told, "large.skops")


def test_the_code_of_a_model_from_elsewhere_runs_only_with_consent(store, tmp_path):
    mark = tmp_path / "mark"
    text = f"""
        import pathlib
        from sklearn.base import BaseEstimator
        pathlib.Path({str(mark)!r}).touch()
        class Constant(BaseEstimator):
            def predict(self, inputs):
                return [1] * len(inputs)
    """
    sources = {"own.py": textwrap.dedent(text)}
    name = stored_code.bring_to_life(sources, "own")
    estimator = importlib.import_module(f"{name}.own").Constant()
    manifest = kept(store, estimator, sources)
    path = str(tmp_path / "own.pellucid-model")
    bundle.export(store, manifest, path)
    mark.unlink()
    sys.modules.pop(f"{name}.own")
    other = Store(str(tmp_path / "other"))
    for wishes in (Wishes(), Wishes(allow_pickle=True)):
        with pytest.raises(UsageError, match=r"whose code would run: code/own.py \(\d lines\)") as refused:
            bundle.bring_in(other, path, wishes)
        assert f"tar -xOf {path} code/own.py" in refused.value.remedy
    assert not other.listed()
    there, _ = bundle.bring_in(other, path, Wishes(allow_code=True))
    assert not mark.exists()
    package.load(other, there, 10)
    assert mark.exists()


def packed_anew(place, change, mode="w"):
    """The bundle again, each entry as `change` leaves it."""
    with tarfile.open(place) as archive:
        entries = [(entry, archive.extractfile(entry).read()) for entry in archive]
    with tarfile.open(place, mode) as archive:
        for entry, content in entries:
            entry, content = change(entry, content)
            archive.addfile(entry, io.BytesIO(content))


def renamed(name):
    def change(entry, content):
        if entry.name == "MANIFEST.json":
            content = content.replace(b'"sample.json"', json.dumps(name).encode())
            entry.size = len(content)
        elif entry.name == "sample.json":
            entry.name = name
        return entry, content

    return change


def linked(entry, content):
    if entry.name == "sample.json":
        entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
    return entry, content


@pytest.mark.parametrize(
    ("change", "mode", "said"),
    [
        (renamed("../../../sample.json"), "w", "is no name of a member"),
        (renamed("/etc/sample.json"), "w", "is no name of a member"),
        (renamed("\x1b[31msample.json"), "w", r"'\\x1b\[31msample.json' is no name"),
        (linked, "w", "'sample.json' is not what its manifest names"),
        (lambda entry, content: (entry, content), "w:gz", "invalid header"),
    ],
)
def test_a_hostile_bundle_is_refused(store, tmp_path, change, mode, said):
    place = tmp_path / "own.pellucid-model"
    bundle.export(
        store, kept(store, LinearRegression().fit(pd.DataFrame({"size": [1.0, 2.0]}), [1, 2]), {}), str(place)
    )
    packed_anew(place, change, mode)
    with pytest.raises(UsageError, match=said):
        bundle.bring_in(Store(str(tmp_path / "other")), str(place), Wishes(allow_pickle=True))


def test_an_array_that_looks_like_the_end_of_a_pickle_hides_nothing(tmp_path):
    place = tmp_path / "hides.joblib"
    joblib.dump([np.frombuffer(b"N." * 40, dtype="u1"), Evil()], place)
    seen = pickles.preflight(place.read_bytes())
    assert not any(one.name == "system" for one in seen.globals), "it can't be seen"
    assert "raw arrays" in seen.lines()[-1]
    assert "12 bytes follow its end" in pickles.preflight(pickle.dumps(1) + b"cos\nsystem\n.").unreadable


@pytest.mark.parametrize("compress", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_a_compressed_pickle_is_read_too(tmp_path, compress):
    place = tmp_path / "evil.joblib"
    joblib.dump(Evil(), place, compress=(compress, 3))
    assert pickles.preflight(place.read_bytes()).lines() == ["would import  posix.system  (can run anything)"]


@pytest.mark.parametrize(
    "final",
    [RandomForestClassifier(3, random_state=0), GradientBoostingRegressor(n_estimators=3), HistGradientBoostingClassifier(max_iter=2), DecisionTreeClassifier()],
)  # fmt: skip
def test_a_tree_that_leads_out_of_its_memory_is_refused(final):
    numbers, labels = make_classification(80, 4, random_state=0)
    made = make_pipeline(StandardScaler(), final).fit(numbers, labels)
    content = skops.io.dumps(made)
    trust.load(content, "a.skops")
    for change, said in (
        (lambda nodes, left, column: nodes[left].__setitem__(0, len(nodes) + 5), "leads out of its nodes, or back"),
        (lambda nodes, left, column: nodes[left].__setitem__(0, 0), "leads out of its nodes, or back"),
        (lambda nodes, left, column: nodes[column].__setitem__(0, 1000), "asks for a column beyond its 4"),
    ):
        other = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as was, zipfile.ZipFile(other, "w") as archive:
            for name in was.namelist():
                archive.writestr(name, changed_nodes(was.read(name), change))
        with pytest.raises(UsageError, match=said):
            trust.load(other.getvalue(), "a.skops")


def changed_nodes(content, change):
    """The array with another first node, where it is one of nodes."""
    if not content.startswith(b"\x93NUMPY"):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    names = array.dtype.names or ()
    if "left_child" in names:
        change(array, "left_child", "feature")
    elif "left" in names:
        change(array, "left", "feature_idx")
    else:
        return content
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def test_an_ensemble_whose_trees_want_more_columns_than_it_looks_at_is_refused():
    numbers, labels = make_classification(80, 4, n_informative=4, n_redundant=0, random_state=0)
    forest = RandomForestClassifier(3, random_state=0).fit(numbers, labels)
    forest.n_features_in_ = 1
    assert "asks for a column beyond its 1" in trust.unsound(make_pipeline(StandardScaler(), forest))
