"""`serve module:function`: any function of records, without a stored model."""

import json
import os
import subprocess

import pytest

from tests import serving
from tests.serving import PELLUCID

SHOP = """
import numpy as np

def price(records):
    return [3 * record["size"] for record in records]

async def slowly(records):
    return np.array([len(str(record)) for record in records])

def few(records):
    return [1]

def odd(records):
    return [object() for _ in records]

class Estimator:
    def predict(self, table):
        return table["size"] + 1

fitted = Estimator()

async def chosen(records):
    function, *rest = records
    found = globals()[function](rest)
    return np.array(["chosen", *(await found if function == "slowly" else found)])

price.batches = True
NUMBER = 3
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_is_served(shop):
    with serving.serving(shop, "shop:price", "--workers", "1") as server:
        loaded = server.wait_log("template_ready")["sentence"]
        assert "by price of shop.py; requests are predicted together" in loaded
        answer = server.ask("/predict", [{"size": 2}, {"size": 4}])
        assert answer.json == {"predictions": [{"prediction": 6}, {"prediction": 12}], "model": "price", "version": 1}
        tensor = {"name": "size", "shape": [2], "datatype": "FP64", "data": [1.5, 2]}
        answer = server.ask("/v2/models/price/infer", {"inputs": [tensor]})
        assert answer.json["outputs"][0]["data"] == [4.5, 6]
        answer = server.predict({"colour": "red"})
        assert (answer.status, "KeyError" in answer.json["detail"]) == (500, True)
        assert server.ask("/readyz").status == 200
        assert server.ask("/docs").status == 200


def test_functions_that_wait_return_arrays_or_nonsense(shop):
    with serving.serving(shop, "shop:chosen", "--workers", "1") as server:
        found = server.ask("/predict", ["slowly", 7, 4242]).json["predictions"]
        assert [one["prediction"] for one in found] == ["chosen", "1", "4"]
        for function, said in (("few", "2 predictions came for 3 records"), ("odd", "TypeError")):
            answer = server.ask("/predict", [function, 1, 2])
            assert answer.status == 500
            assert said in answer.json["detail"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop:NUMBER", "it is a int, which can't be called"),
        ("shop:nothing", "has no attribute 'nothing'"),
        ("nowhere:price", "there is no module 'nowhere'"),
    ],
)
def test_what_is_no_function(shop, name, said):
    environment = {**os.environ, "XDG_DATA_HOME": str(shop)}
    ended = subprocess.run(
        [*PELLUCID, "serve", name, "--port", "0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr


def test_an_object_that_predicts_gets_a_table(shop):
    with serving.serving(shop, "shop:fitted", "--workers", "1") as server:
        assert json.loads(server.predict({"size": 2}, {"size": 4}).body)["predictions"] == [
            {"prediction": 3},
            {"prediction": 5},
        ]
