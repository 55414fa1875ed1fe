"""Source that is imported by its content and not by its place."""

import importlib
import pickle
import sys
import traceback

import pytest

from pellucid.serve import stored_code

SOURCES = {
    "first.py": "from .second import VALUE\n\n\ndef fail():\n    raise ValueError(VALUE)\n\n\nclass Thing:\n    pass\n",
    "second.py": "VALUE = 7\n",
}


@pytest.fixture
def package():
    before = list(sys.meta_path)
    package = stored_code.bring_to_life(SOURCES, "loan")
    yield package
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]


def test_modules_import_each_other(package):
    assert importlib.import_module(f"{package}.first").VALUE == 7


def test_a_traceback_shows_the_model_the_file_and_the_line(package):
    first = importlib.import_module(f"{package}.first")
    with pytest.raises(ValueError, match="7") as caught:
        first.fail()
    told = "".join(traceback.format_exception(caught.value))
    assert 'File "loan.model/first.py", line 5, in fail' in told
    assert "raise ValueError(VALUE)" in told


def test_two_versions_live_side_by_side(package):
    other = {**SOURCES, "second.py": "VALUE = 8\n"}
    again = stored_code.bring_to_life(other, "loan")
    assert again != package
    assert importlib.import_module(f"{again}.first").VALUE == 8
    assert importlib.import_module(f"{package}.first").VALUE == 7


def test_nothing_runs_before_it_is_imported():
    stored_code.bring_to_life({"bad.py": "raise SystemExit(3)"}, "loan")


def test_the_name_depends_on_the_content_alone():
    assert stored_code.package_of(SOURCES) == stored_code.package_of(dict(reversed(SOURCES.items())))
    assert stored_code.package_of({"a.py": "b"}) != stored_code.package_of({"a.py": "c"})
    assert stored_code.package_of({"a.py": "b"}) != stored_code.package_of({"b.py": "b"})


def test_its_classes_pickle_by_that_name(package):
    first = importlib.import_module(f"{package}.first")
    assert isinstance(pickle.loads(pickle.dumps(first.Thing())), first.Thing)


def test_other_imports_are_not_touched(package):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{package}.third")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pellucid_model_0000000000000000.first")
