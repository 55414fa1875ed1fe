"""The files beside the example say what its README says of them."""

import json
from pathlib import Path

import pytest

from pellucid.serve.loan import data
from pellucid.serve.records import BadInput, Reader
from pellucid.serve.signature import infer

LOAN = Path(__file__).parents[3] / "examples" / "loan"


@pytest.fixture(scope="module")
def reader():
    training, _ = data.load()
    return Reader(infer(training, data.COLUMNS, id_column=data.ID, target=data.TARGET), 100)


def test_the_applications_can_be_predicted(reader):
    records = reader.read((LOAN / "applications.json").read_bytes())
    assert [record.id for record in records] == ["LP900001", "LP900002", "LP900003"]


def test_the_wrong_one_is_refused_as_the_readme_shows(reader):
    with pytest.raises(BadInput) as caught:
        reader.read((LOAN / "wrong.json").read_bytes())
    readme = (LOAN / "README.md").read_text()
    for problem in caught.value.problems:
        shown = json.dumps({"loc": problem.loc, "msg": problem.msg}, separators=(",", ":"), ensure_ascii=False)
        assert shown in readme


def test_the_readme_counts_the_empty_cells():
    training, _ = data.load()
    assert f"{training.isna().sum().sum()} of their cells left empty" in (LOAN / "README.md").read_text()
