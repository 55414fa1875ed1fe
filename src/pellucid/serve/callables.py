"""`pellucid serve module:function`: any function from a list of records to a list of predictions, or any object with `predict`.

    def price(records: list[dict]) -> list[float]: ...        pellucid serve shop:price

It is imported as the user would import it, with the working directory on the path. There is no signature, so that a record may be any JSON value; and
no stored sample, so that requests are never predicted together, unless the function says of itself that its rows are independent:
`price.batches = True`. An `async def` is run to its end in the predict thread.
"""

import asyncio
import contextlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import msgspec

from pellucid.model.errors import UsageError
from pellucid.serve.callable_names import plain
from pellucid.serve.manifest import Manifest, Training
from pellucid.serve.package import Model
from pellucid.serve.records import NO_JSON, BadInput, Problem, Reader, Unseen, not_json
from pellucid.serve.signature import Signature

TARGET = "prediction"


class Anything(Reader):
    """Reads records that may be any JSON value."""

    def __init__(self, max_rows: int) -> None:
        super().__init__(Signature((), None, TARGET), max_rows)

    def read(self, body: bytes) -> list[Any]:
        try:
            return self.check(msgspec.json.decode(body))
        except NO_JSON as error:
            raise not_json(error) from error

    def check(self, found: Any) -> list[Any]:
        records = found if isinstance(found, list) else [found]
        if len(records) > self.max_rows:
            msg = f"has {len(records)} records; at most {self.max_rows} are taken in one request"
            raise BadInput(413, Problem(("body",), msg))
        return records


class Function(Model):
    """A model that is a function."""

    def __init__(self, manifest: Manifest, function: Callable[[list[Any]], Any], max_rows: int) -> None:
        super().__init__(manifest, function, max_rows)
        self.function = function
        self.reader = Anything(max_rows)
        self.batches = bool(getattr(function, "batches", False))

    def use_reader(self, unseen: Unseen | None) -> None:
        """There are no categories to count."""

    def predict(self, records: list[Any]) -> list[Any]:
        if not records:
            return []
        found = self.function(records)
        if inspect.isawaitable(found):
            found = asyncio.run(_awaited(found))
        labels = found.tolist() if hasattr(found, "tolist") else list(found)
        if len(labels) != len(records):
            raise ValueError(f"{len(labels)} predictions came for {len(records)} records")
        labels = [label.tolist() if hasattr(label, "tolist") else label for label in labels]
        msgspec.json.encode(labels)  # what JSON has not is this function's mistake, and told as that
        return labels

    def answers(self, records: list[Any], labels: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002  there are no ids
        return [{TARGET: label} for label in labels]


async def _awaited(found: Any) -> Any:
    return await found


def load(wanted: str, folder: str, max_rows: int) -> Function:
    """Import `module:function`. UsageError where it is not there, or nothing that predicts."""
    module, _, name = wanted.partition(":")
    sys.path.insert(0, folder)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            tried=f"serve {wanted}",
            said=f"there is no module {error.name!r} in {folder} or on the path",
            remedy="run it from the folder that holds the module, or name a stored model (pellucid models)",
        ) from error
    except AttributeError as error:
        raise UsageError(tried=f"serve {wanted}", said=str(error), remedy=f"name an object of {module}") from error
    if hasattr(found, "predict"):
        found = _of_estimator(found)
    elif not callable(found):
        raise UsageError(
            tried=f"serve {wanted}",
            said=f"it is a {type(found).__name__}, which can't be called and has no predict",
            remedy="name a function of a list of records",
        )
    manifest = Manifest(
        name=plain(name), version=1, created_at=time.time(), python=".".join(map(str, sys.version_info[:3])), libraries={},
        signature=Signature((), None, TARGET), metrics={}, trusted=(), members=(), sample_rows=0, format="callable",
        training=Training(rows=0, data_sha256="", seconds=0.0, parameters={}), origin=f"{wanted} in {folder}",
    )  # fmt: skip
    return Function(manifest, found, max_rows)


def _of_estimator(estimator: Any) -> Callable[[list[Any]], Any]:
    """A fitted estimator gets the records as a table."""

    def predict(records: list[Any]) -> Any:
        import pandas as pd

        return estimator.predict(pd.DataFrame(records))

    return predict


def how(model: Function) -> str:
    """For the log."""
    with contextlib.suppress(TypeError, OSError):
        file = inspect.getsourcefile(inspect.unwrap(model.function))
        if file:
            return f"by {model.manifest.name} of {os.path.relpath(file)}; " + _together(model)
    return _together(model)


def _together(model: Function) -> str:
    if model.batches:
        return "requests are predicted together, since it says `batches = True` of itself"
    return "each request is predicted alone, since nothing proves that its rows are independent"
