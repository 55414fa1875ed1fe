"""The OpenAPI 3.1 description of a served model, made from its signature: columns with types, nulls and categories as they were in training."""

from typing import Any

from pellucid.serve.manifest import Manifest
from pellucid.serve.signature import Column

_TYPES = {"number": "number", "whole": "integer", "text": "string", "boolean": "boolean"}


def describe(manifest: Manifest, example: list[dict[str, Any]], *, keyed: bool, unseen: bool) -> dict[str, Any]:
    """`keyed`: an API key is needed; `unseen`: categories that training had not are counted, not refused."""
    name = manifest.name
    post = {
        "/predict": _predict(example),
        f"/v2/models/{name}/infer": _operation(
            "Predict, Open Inference Protocol V2", "InferenceRequest", "InferenceResponse"
        ),
        "/invocations": _operation("Predict, as MLflow's server takes it", "Invocation", "Invoked"),
    }
    paths: dict[str, Any] = {path: {"post": operation} for path, operation in post.items()}
    for path, told in {
        "/livez": "The event loop turns.",
        "/readyz": "A worker predicted rightly within the last seconds.",
        "/healthz": "Each worker in a sentence.",
        "/metrics": "Prometheus text.",
        "/incidents": "What happened to workers, newest first.",
        f"/v2/models/{name}": "The model's tensors.",
    }.items():
        paths[path] = {"get": {"summary": told, "responses": {"200": {"description": "it is so"}}}}
    for path in ("/readyz", "/healthz"):
        paths[path]["get"]["responses"]["503"] = {"description": "no worker is ready"}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name}, version {manifest.version}",
            "version": str(manifest.version),
            "description": "Metrics on held-out rows: "
            + (", ".join(f"{key} {value:g}" for key, value in manifest.metrics.items()) or "none are stored"),
        },
        "paths": paths,
        "components": {"schemas": _schemas(manifest, unseen=unseen)},
    }
    if keyed:
        described["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        described["security"] = [{"bearer": []}, {"header": []}]
    return described


def _predict(example: list[dict[str, Any]]) -> dict[str, Any]:
    operation = _operation("Predict", "Records", "Predictions")
    operation["requestBody"]["content"]["application/json"]["example"] = example
    operation["parameters"] = [
        {
            "name": "X-Request-Timeout",
            "in": "header",
            "description": "Seconds that you wait; the server's own deadline where that is shorter.",
            "schema": {"type": "number", "exclusiveMinimum": 0},
        }
    ]
    return operation


def _operation(summary: str, request: str, response: str) -> dict[str, Any]:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    told = {
        "400": "no JSON, or no request of this protocol",
        "401": "no API key, or a wrong one",
        "413": "too many bytes or rows",
        "415": "not application/json",
        "422": "wrong fields, each with its path",
        "429": "more requests than this key may have; Retry-After says when again",
        "500": "the model raised",
        "503": "too many requests wait; Retry-After says when again",
        "504": "the deadline has passed; with the id of the incident",
    }
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{request}"}}},
        },
        "responses": {
            "200": {
                "description": "predictions, in the order of the records",
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{response}"}}},
            },
            **{status: {"description": text, "content": refused} for status, text in told.items()},
        },
    }


def _schemas(manifest: Manifest, *, unseen: bool) -> dict[str, Any]:
    signature = manifest.signature
    properties = {column.name: _column(column, unseen=unseen) for column in signature.columns}
    answer: dict[str, Any] = {"prediction": {}}
    if signature.id_column is not None:
        identity = {"type": ["string", "integer", "null"], "description": "comes back with the prediction"}
        properties[signature.id_column] = answer[signature.id_column] = identity
    properties[signature.target] = {"description": "is ignored"}
    record: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [column.name for column in signature.columns if not column.nullable],
        "additionalProperties": False,
    }
    if not signature.columns:  # a function takes any JSON value
        record = {}
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype", "data"],
    }
    one = {"$ref": "#/components/schemas/Record"}
    return {
        "Record": record,
        "Records": {"anyOf": [{"type": "array", "items": one}, one]},
        "Predictions": _object(
            {
                "predictions": {"type": "array", "items": _object(answer, ["prediction"])},
                "model": {"type": "string"},
                "version": {"type": "integer"},
            },
            ["predictions", "model", "version"],
        ),
        "InferenceRequest": _object(
            {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor}}, ["inputs"]
        ),
        "InferenceResponse": _object({"outputs": {"type": "array", "items": tensor}}, ["model_name", "outputs"]),
        "Invocation": {
            "type": "object",
            "properties": {
                "dataframe_records": {"type": "array", "items": one},
                "dataframe_split": {"type": "object"},
                "instances": {"type": "array"},
                "inputs": {},
            },
        },
        "Invoked": _object({"predictions": {"type": "array"}}, ["predictions"]),
        "Refusal": _object({"detail": {}}, []),
    }


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _column(column: Column, *, unseen: bool) -> dict[str, Any]:
    kind = _TYPES[column.kind]
    described: dict[str, Any] = {"type": [kind, "null"] if column.nullable else kind}
    if column.categories and not unseen:
        described["enum"] = [*column.categories, *([None] if column.nullable else [])]
    return described
