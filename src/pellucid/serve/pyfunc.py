"""Models of MLflow's flavor python_function that are an object of one's own (`mlflow.pyfunc.PythonModel`), without MLflow.

    class Own(mlflow.pyfunc.PythonModel):
        def load_context(self, context): ...                       context.artifacts["threshold"] is a path
        def predict(self, context, model_input, params=None): ...

Such a pickle names MLflow for the base class, which does nothing (mlflow/pyfunc/model.py), and for the signature that was logged, which the manifest has.
Where MLflow is not installed, empty classes stand in for those while the pickle is read; an object that really uses MLflow fails, and is refused.
"""

import contextlib
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pellucid import home
from pellucid.serve import durable

if TYPE_CHECKING:
    import pandas as pd

ARTIFACTS = "artifacts.json"
"""The member that names the artifacts: name → the path of their member, or of the folder of their members."""
MLFLOW = "mlflow"


class Context(Struct):
    """What MLflow calls PythonModelContext."""

    artifacts: dict[str, str]
    model_config: dict[str, Any]


class PythonModel:
    """Stands in for MLflow's."""

    def load_context(self, context: Context) -> None:
        """For who has artifacts."""


class Pyfunc:
    """The object as an estimator."""

    def __init__(self, model: Any, members: Mapping[str, bytes]) -> None:
        self._model = model
        context = Context(_laid_out(members), {})
        with contextlib.suppress(AttributeError):
            model.context = context  # since MLflow 2.20 it may be asked for there
        if hasattr(model, "load_context"):
            model.load_context(context)
        taken = [name for name in inspect.signature(model.predict).parameters if name not in {"self", "params"}]
        self._before = (context,) if len(taken) > 1 else ()

    def predict(self, rows: "pd.DataFrame") -> Any:
        """An array of one object a row."""
        return _one_a_row(self._model.predict(*self._before, rows))


def loaded(content: bytes, members: Mapping[str, bytes]) -> Any:
    """Unpickle it, which runs its code: only after consent. What has no `predict` is returned as it is."""
    from pellucid.serve.package import unpickled

    with _stand_ins():
        model = unpickled(content)
    return Pyfunc(model, members) if hasattr(model, "predict") else model


def is_of_mlflow(module: str) -> bool:
    """Whether it need not be installed."""
    return module == MLFLOW or module.startswith(f"{MLFLOW}.")


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    if importlib.util.find_spec(MLFLOW) is not None:
        yield
        return
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if is_of_mlflow(name)]:
            del sys.modules[name]


class _Empty:
    """A class of MLflow's: it takes what its pickle gives it, and has no method."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As the constructor of any."""


class _Finder(MetaPathFinder, Loader):
    """Every module of MLflow, with whatever class is asked for."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return importlib.util.spec_from_loader(fullname, self, is_package=True) if is_of_mlflow(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        def asked_for(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            known = {"PythonModel": PythonModel, "PythonModelContext": Context}
            found = known.get(name) or type(name, (_Empty,), {"__module__": module.__name__})
            setattr(module, name, found)
            return found

        vars(module)["__getattr__"] = asked_for  # PEP 562


def _laid_out(members: Mapping[str, bytes]) -> dict[str, str]:
    """The artifacts as files, since their reader opens paths; name → path. Their folder is named by their content, and stays for the next process."""
    named: dict[str, str] = msgspec.json.decode(members.get(ARTIFACTS, b"{}"), type=dict[str, str])
    wanted = {
        path: content
        for path, content in sorted(members.items())
        if any(path == one or path.startswith(f"{one}/") for one in named.values())
    }
    digest = hashlib.sha256()
    for path, content in wanted.items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    folder = os.path.join(home.home(), "artifacts", digest.hexdigest())
    for path, content in wanted.items():
        place = os.path.join(folder, path)
        if not os.path.exists(place):
            durable.write(place, content)
    return {name: os.path.join(folder, path) for name, path in named.items()}


def _one_a_row(found: Any) -> Any:
    """Of a list, an array, a Series or a DataFrame an array of plain objects; of several columns each row is an object of them."""
    import numpy as np

    if hasattr(found, "to_dict") and hasattr(found, "columns"):
        found = found.iloc[:, 0] if len(found.columns) == 1 else found.to_dict("records")
    values = found.tolist() if hasattr(found, "tolist") else list(found)
    rows = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        rows[number] = value.item() if isinstance(value, np.generic) else value
    return rows
