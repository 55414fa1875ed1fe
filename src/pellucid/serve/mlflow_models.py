"""Models that MLflow stored, read without MLflow: the folder with its MLmodel file, and `models:/NAME@ALIAS` in its registry.

MLmodel is YAML (mlflow/models/model.py): `flavors.sklearn` names the model and how it was serialised, `flavors.python_function` the pickle of a
PythonModel, `signature.inputs` is JSON in a string,
`saved_input_example_info` names the example. The registry is an SQLite file (mlflow/store/model_registry/dbmodels/models.py: registered_model_aliases,
model_versions; `storage_location` is where the files are, `source` may be a `models:/m-…` of MLflow 3) or a folder of YAML files.
"""

import contextlib
import json
import os
import sqlite3
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pellucid.model.errors import UsageError
from pellucid.serve import foreign, pyfunc
from pellucid.serve.foreign import Found
from pellucid.serve.manifest import Format
from pellucid.serve.signature import Column, Kind

KINDS: dict[str, Kind] = {
    "boolean": "boolean", "integer": "whole", "long": "whole", "float": "number", "double": "number", "string": "text",
}  # fmt: skip
MOST_CODE = 4 << 20


class Reference(NamedTuple):
    """`models:/NAME@ALIAS` or `models:/NAME/VERSION`."""

    name: str
    alias: str
    version: str


def found(place: str) -> Found:
    """What lies at a folder or at `models:/…`. UsageError."""
    name = ""
    folder = place
    if place.startswith(("models:/", "runs:/")):
        reference = _parsed(place)
        name, folder = reference.name, located(reference)
    described = _yaml(os.path.join(folder, "MLmodel"))
    content, form = _model(folder, described)
    artifacts = _artifacts(folder, described) if form == "pyfunc" else {}
    return Found(
        name=name or _plain(str(described.get("model_id") or os.path.basename(os.path.abspath(folder)))),
        content=content,
        format=form,
        origin=place,
        sources=_code(folder, described),
        columns=_columns(place, described),
        sample=_example(folder, described),
        extras=artifacts,
    )


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() or char in "_-." else "_" for char in name) or "mlflow"


def _parsed(place: str) -> Reference:
    rest = place.removeprefix("models:").lstrip("/")
    name, at, alias = rest.partition("@")
    if at:
        return Reference(name, alias, "")
    name, slash, version = rest.partition("/")
    if place.startswith("runs:/") or not slash or not version.isdecimal():
        raise UsageError(
            tried=f"find {place}",
            said="a model of an MLflow registry is named as models:/NAME@ALIAS or models:/NAME/VERSION",
            remedy="name it so, or give the folder that holds its MLmodel",
        )
    return Reference(name, "", version)


def located(reference: Reference) -> str:
    """The folder of the files, by the registry at MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI, mlflow.db or mlruns here. UsageError."""
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI") or _default()
    parts = urlsplit(uri)
    if parts.scheme == "sqlite":
        place = _of_sqlite(uri.removeprefix("sqlite:///"), reference)
    elif parts.scheme in {"", "file"}:
        place = _of_folder(unquote(parts.path) or uri, reference)
    else:
        raise UsageError(
            tried=f"find the model {reference.name} in {uri}",
            said=f"a registry behind {parts.scheme}:// is not read here, only sqlite:/// and folders",
            remedy="download it (mlflow artifacts download) and import its folder",
        )
    return unquote(urlsplit(place).path) if place.startswith("file:") else place


def _default() -> str:
    return "sqlite:///mlflow.db" if os.path.exists("mlflow.db") else "mlruns"


def _of_sqlite(path: str, reference: Reference) -> str:
    if not os.path.exists(path):
        raise _nowhere(reference, f"there is no {path}")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
            version = reference.version
            if reference.alias:
                query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
                row = base.execute(query, (reference.name, reference.alias)).fetchone()
                if row is None:
                    raise _nowhere(reference, f"{path} has no alias {reference.alias!r} of it")
                version = str(row[0])
            columns = {row[1] for row in base.execute("PRAGMA table_info(model_versions)")}
            wanted = "storage_location, source" if "storage_location" in columns else "NULL, source"
            row = base.execute(
                f"SELECT {wanted} FROM model_versions WHERE name = ? AND version = ?", (reference.name, int(version))
            ).fetchone()
    except sqlite3.Error as error:
        raise _nowhere(reference, f"{path}: {error}") from error
    if row is None:
        raise _nowhere(reference, f"{path} has no version {version} of it")
    return str(row[0] or row[1])


def _of_folder(path: str, reference: Reference) -> str:
    model = os.path.join(path, "models", reference.name)
    version = reference.version
    if reference.alias:
        try:
            with open(os.path.join(model, "aliases", reference.alias), encoding="utf-8") as file:
                version = file.read().strip()
        except OSError:
            raise _nowhere(reference, f"{model} has no alias {reference.alias!r}") from None
    meta = os.path.join(model, f"version-{version}", "meta.yaml")
    if not os.path.exists(meta):
        raise _nowhere(reference, f"there is no {meta}")
    described = _yaml(meta)
    return str(described.get("storage_location") or described.get("source"))


def _nowhere(reference: Reference, said: str) -> UsageError:
    return UsageError(
        tried=f"find the model {reference.name} in MLflow's registry",
        said=said,
        remedy="set MLFLOW_TRACKING_URI to sqlite:////PATH/mlflow.db or to the folder mlruns",
    )


def _yaml(path: str) -> dict[str, Any]:
    import yaml

    try:
        described = yaml.safe_load(foreign.read(path))
    except yaml.YAMLError as error:
        raise UsageError(tried=f"read {path}", said=str(error).splitlines()[0], remedy="log the model anew") from error
    return described if isinstance(described, dict) else {}


def _model(folder: str, described: dict[str, Any]) -> tuple[bytes, Format]:
    flavors = described.get("flavors") or {}
    if "sklearn" in flavors:
        flavor = flavors["sklearn"]
        name = _inside(folder, str(flavor.get("pickled_model", "model.pkl")))
        return foreign.read(name), "skops" if flavor.get("serialization_format") == "skops" else "pickle"
    if "onnx" in flavors:
        return foreign.read(_inside(folder, str(flavors["onnx"].get("data", "model.onnx")))), "onnx"
    function = flavors.get("python_function") or {}
    if function.get("python_model"):
        return foreign.read(_inside(folder, str(function["python_model"]))), "pyfunc"
    told = [
        f"{name} ({flavor['loader_module']})" if "loader_module" in flavor else name for name, flavor in flavors.items()
    ]
    raise UsageError(
        tried=f"read the MLflow model in {folder}",
        said=f"it has no flavor that is served here, only {', '.join(told) or 'none'}",
        remedy="log it with the flavor sklearn or onnx, or as a PythonModel (an object, not a file of code)",
    )


def _artifacts(folder: str, described: dict[str, Any]) -> dict[str, bytes]:
    """The files that were logged with a PythonModel, by their path, and the member that names them."""
    told = described["flavors"]["python_function"].get("artifacts") or {}
    named = {str(name): str(one["path"]) for name, one in told.items()}
    found: dict[str, bytes] = {pyfunc.ARTIFACTS: json.dumps(named).encode()}
    for path in named.values():
        top = _inside(folder, path)
        inside = [os.path.join(place, file) for place, _, files in os.walk(top) for file in sorted(files)]
        for file in inside or [top]:
            found[os.path.relpath(file, os.path.realpath(folder))] = foreign.read(file)
    return found


def _inside(folder: str, name: str) -> str:
    """UsageError for a name that leads out of the folder: an MLmodel comes from elsewhere."""
    path = os.path.realpath(os.path.join(folder, name))
    if not path.startswith(os.path.realpath(folder) + os.sep):
        raise UsageError(
            tried=f"read {name} of {folder}", said="it lies outside of the folder", remedy="log the model anew"
        )
    return path


def _code(folder: str, described: dict[str, Any]) -> dict[str, str]:
    """The modules that were logged with it (`code_paths`), by their path below the folder of code."""
    flavors = described.get("flavors") or {}
    name = next(
        (flavor["code"] for flavor in flavors.values() if isinstance(flavor, dict) and flavor.get("code")), None
    )
    if not name:
        return {}
    top = _inside(folder, str(name))
    sources: dict[str, str] = {}
    for place, _, files in os.walk(top):
        for file in sorted(files):
            if file.endswith(".py"):
                path = os.path.join(place, file)
                sources[os.path.relpath(path, top)] = foreign.read(path).decode("utf-8", "replace")
                if sum(map(len, sources.values())) > MOST_CODE:
                    raise UsageError(
                        tried=f"read the code in {top}",
                        said=f"it is larger than {MOST_CODE} bytes",
                        remedy="log less code",
                    )
    return sources


def _columns(place: str, described: dict[str, Any]) -> tuple[Column, ...] | None:
    text = (described.get("signature") or {}).get("inputs")
    if not text:
        return None
    columns = []
    for one in json.loads(text):
        kind = KINDS.get(str(one.get("type")))
        if one.get("type") == "tensor" and "name" not in one and (numbers := _positions(one.get("tensor-spec") or {})):
            return tuple(Column(str(number), "number", nullable=False) for number in range(numbers))
        if kind is None or "name" not in one:
            raise UsageError(
                tried=f"read the signature of {place}",
                said=f"an input of the type {one.get('type')!r} is not understood here",
                remedy="--sample FILE.csv  (some rows that it can predict)",
            )
        nullable = not one.get("required", True)
        columns.append(Column(str(one["name"]), "number" if nullable and kind == "whole" else kind, nullable=nullable))
    return tuple(columns)


def _positions(spec: dict[str, Any]) -> int:
    """How many numbers a row of this tensor has: its columns are named by their positions. 0 where it is another tensor."""
    shape = spec.get("shape") or []
    numeric = str(spec.get("dtype")).rstrip("0123456789") in {"float", "int", "uint"}
    return int(shape[1]) if numeric and len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 0 else 0


def _example(folder: str, described: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The logged input example as records, None where there is none of a shape that we know."""
    told = described.get("saved_input_example_info") or {}
    name = told.get("artifact_path")
    if not name or not os.path.exists(os.path.join(folder, name)):
        return None
    found = json.loads(foreign.read(_inside(folder, str(name))))
    if isinstance(found, dict) and {"columns", "data"} <= set(found):
        return [dict(zip(map(str, found["columns"]), row, strict=True)) for row in found["data"]]
    return None
