"""Manifests for Kubernetes: a Deployment with our probes and a Service, and the same as KServe's InferenceService.

    pellucid models export loan --k8s --image registry.example/pellucid:1 > loan.yaml

The image has pellucid[serve]; the version travels as its `.pellucid-model` in a ConfigMap where it is small enough (1 MiB, the limit of Kubernetes), else it
has to lie at the path that the manifest names. The deadlines of the probes follow the server's own: readiness goes through a real prediction
(/readyz), liveness only asks whether the event loop turns, and the grace before a kill covers the deadline of a prediction.
"""

import base64
import json
from typing import Any

from pellucid.serve.manifest import PICKLED, Manifest

MOST_IN_A_CONFIG_MAP = 900_000
"""Bytes of the bundle; in base64 they are a third more, and 1 MiB is the limit of a ConfigMap (kubernetes.io, ConfigMap)."""
PLACE = "/model"
PORT = 8000


def documents(manifest: Manifest, bundle: bytes, *, image: str, workers: int, timeout_s: float) -> list[dict[str, Any]]:
    """The documents in the order in which they are applied."""
    name = _named(manifest)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/version": str(manifest.version)}
    file = f"{manifest.name}-{manifest.version}.pellucid-model"
    small = len(bundle) * 4 // 3 <= MOST_IN_A_CONFIG_MAP
    volume: dict[str, Any] = {"name": "model", "configMap": {"name": f"{name}-model"}} if small else {
        "name": "model", "persistentVolumeClaim": {"claimName": f"{name}-model"},
    }  # fmt: skip
    container = _container(manifest, f"{PLACE}/{file}", image, workers, timeout_s)
    spec = {
        "terminationGracePeriodSeconds": round(timeout_s) + 10,
        "containers": [container],
        "volumes": [volume, {"name": "state", "emptyDir": {}}],
    }
    found: list[dict[str, Any]] = []
    if small:
        content = {file: base64.b64encode(bundle).decode()}
        found.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-model"}, "binaryData": content}
        )
    metadata = {"name": name, "labels": labels}
    selector = {"app.kubernetes.io/name": name}
    found.append(
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": selector},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )  # fmt: skip
    found.append(
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }
    )  # fmt: skip
    return found


def inference_service(manifest: Manifest, *, image: str, workers: int, timeout_s: float) -> dict[str, Any]:
    """KServe's InferenceService with a container of its own; it speaks the Open Inference Protocol V2 on the same port."""
    name = _named(manifest)
    file = f"{PLACE}/{manifest.name}-{manifest.version}.pellucid-model"
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "predictor": {
                "timeout": round(timeout_s) + 5,
                "containers": [_container(manifest, file, image, workers, timeout_s)],
                "volumes": [
                    {"name": "model", "configMap": {"name": f"{name}-model"}},
                    {"name": "state", "emptyDir": {}},
                ],
            }
        },
    }


def _container(manifest: Manifest, place: str, image: str, workers: int, timeout_s: float) -> dict[str, Any]:
    def probe(path: str, **more: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3, **more}

    return {
        "name": "pellucid",
        "image": image,
        "command": ["pellucid", "serve", place],
        "args": [
            *("--host", "0.0.0.0", "--port", str(PORT), "--workers", str(workers), "--timeout", f"{timeout_s:g}"),
            *_consent(manifest),
        ],
        "env": [{"name": "XDG_DATA_HOME", "value": "/state"}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": probe("/readyz", periodSeconds=2, failureThreshold=90),
        "readinessProbe": probe("/readyz", periodSeconds=5, failureThreshold=2),
        "livenessProbe": probe("/livez", periodSeconds=10, failureThreshold=6),
        "resources": {"requests": {"cpu": str(workers), "memory": f"{256 + 64 * workers}Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "model", "mountPath": PLACE, "readOnly": True},
            {"name": "state", "mountPath": "/state"},
        ],
    }


def _consent(manifest: Manifest) -> list[str]:
    """What lets the model run code of its own: it comes from our own store."""
    if manifest.format in PICKLED:
        return ["--allow-pickle"]
    return ["--allow-code"] if manifest.code() else []


def _named(manifest: Manifest) -> str:
    """A DNS label (RFC 1123): lower case, digits and hyphens, at most 63 of them."""
    plain = "".join(char if char.isalnum() else "-" for char in manifest.name.lower()).strip("-")
    return plain[:50] or "model"


def text(documents: list[dict[str, Any]]) -> str:
    """YAML 1.2, of which JSON is a part: each document is an object in JSON, apart by `---`."""
    return "".join(f"---\n{json.dumps(document, indent=2)}\n" for document in documents)
