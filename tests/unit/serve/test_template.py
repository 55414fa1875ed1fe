"""What the template imports without the help of optional modules."""

import importlib
import sys

import pytest

from pellucid.serve.template import _without


def test_a_module_is_hidden_for_a_while_and_one_that_is_there_is_not(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with _without(["colorsys", "json"]):
        importlib.import_module("json")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
