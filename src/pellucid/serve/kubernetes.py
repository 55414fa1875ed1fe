"""Manifests for Kubernetes: a Deployment with our probes and a Service, and the same as KServe's InferenceService.

    pellucid models export loan --k8s --image registry.example/pellucid:1 > loan.yaml

The image has pellucid[serve]; the version travels as its `.pellucid-model` in a ConfigMap where it is small enough (1 MiB, the limit of Kubernetes), else it
has to lie at the path that the manifest names, on a volume of the claim `NAME-model`. The deadlines of the probes follow the server's own:
readiness goes through a real prediction (/readyz), liveness only asks whether the event loop turns. Before a pod is told to stop it goes on for
some seconds, until no proxy sends it anything more; the grace before a kill covers those and the deadline of a prediction. The pod meets the Pod
Security Standard "restricted".
"""

import base64
import json
import math
from typing import Any

from pellucid.serve.manifest import PICKLED, Manifest

MOST_IN_A_CONFIG_MAP = 900_000
"""Bytes of the bundle; in base64 they are a third more, and 1 MiB is the limit of a ConfigMap (kubernetes.io, ConfigMap)."""
PLACE = "/model"
PORT = 8000
USER = 10001
"""Without one the image's own would count, and root may not be (runAsNonRoot)."""
UNROUTED_S = 5
"""For the endpoints of the Service to lose a pod that stops: they learn of it at the same time as the pod itself (kubernetes.io, Pod Lifecycle)."""
DRAIN_S = 10
"""Beyond the deadline of a prediction; the supervisor gives a worker 2 s (`supervised.Limits`)."""
GROWTH_MIB = 512
"""By which the supervisor lets a worker grow before another takes its place (`serve --max-growth`)."""


def documents(manifest: Manifest, bundle: bytes, *, image: str, workers: int, timeout_s: float) -> list[dict[str, Any]]:
    """The documents in the order in which they are applied."""
    name = _named(manifest)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/version": str(manifest.version)}
    metadata = {"name": name, "labels": labels}
    selector = {"app.kubernetes.io/name": name}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": selector},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": _pod(manifest, bundle, "pellucid", image, workers, timeout_s)},
        },
    }  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }  # fmt: skip
    return [*_model(manifest, bundle), deployment, service]


def inference_service(
    manifest: Manifest, bundle: bytes, *, image: str, workers: int, timeout_s: float
) -> list[dict[str, Any]]:
    """KServe's InferenceService with a container of its own; it speaks the Open Inference Protocol V2 on the same port.

    As plain Deployments: Knative's pods may have neither a preStop hook nor a grace of their own (knative.dev/serving, pkg/apis/serving/fieldmask.go). Since KServe 0.16
    that mode is called Standard, and its former name is understood as well.
    """
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": _named(manifest),
            "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"},
        },
        "spec": {
            "predictor": {
                "minReplicas": 2,
                "timeout": round(timeout_s) + 5,
                # The name by which KServe finds the container of the model (pkg/constants, InferenceServiceContainerName).
                **_pod(manifest, bundle, "kserve-container", image, workers, timeout_s),
            }
        },
    }
    return [*_model(manifest, bundle), service]


def _fits(bundle: bytes) -> bool:
    return len(bundle) * 4 // 3 <= MOST_IN_A_CONFIG_MAP


def _file(manifest: Manifest) -> str:
    return f"{manifest.name}-{manifest.version}.pellucid-model"


def _config_map(manifest: Manifest) -> str:
    """One for each version: pods of the version before, and those of a rollback, need theirs."""
    return f"{_named(manifest)}-{manifest.version}-model"


def _model(manifest: Manifest, bundle: bytes) -> list[dict[str, Any]]:
    if not _fits(bundle):
        return []
    content = {_file(manifest): base64.b64encode(bundle).decode()}
    metadata = {"name": _config_map(manifest)}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "binaryData": content}]


def _pod(
    manifest: Manifest, bundle: bytes, container: str, image: str, workers: int, timeout_s: float
) -> dict[str, Any]:
    model: dict[str, Any] = {"configMap": {"name": _config_map(manifest)}} if _fits(bundle) else {
        "persistentVolumeClaim": {"claimName": f"{_named(manifest)}-model", "readOnly": True},
    }  # fmt: skip
    return {
        "terminationGracePeriodSeconds": UNROUTED_S + math.ceil(timeout_s) + DRAIN_S,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(manifest, bundle, container, image, workers, timeout_s)],
        "volumes": [{"name": "model", **model}, {"name": "state", "emptyDir": {}}],
    }


def _container(
    manifest: Manifest, bundle: bytes, name: str, image: str, workers: int, timeout_s: float
) -> dict[str, Any]:
    def probe(path: str, **more: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3, **more}

    memory = 256 + 64 * workers + 2 * math.ceil(len(bundle) / (1 << 20))  # its file and what is made of it
    return {
        "name": name,
        "image": image,
        "command": ["pellucid", "serve", f"{PLACE}/{_file(manifest)}"],
        "args": [
            *("--host", "0.0.0.0", "--port", str(PORT), "--workers", str(workers), "--timeout", f"{timeout_s:g}"),
            *_consent(manifest),
        ],
        "env": [{"name": "XDG_DATA_HOME", "value": "/state"}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": probe("/readyz", periodSeconds=2, failureThreshold=90),
        "readinessProbe": probe("/readyz", periodSeconds=5, failureThreshold=2),
        # What holds all workers up is replaced by the supervisor at the deadline; only if it does not is the pod begun anew.
        "livenessProbe": probe("/livez", periodSeconds=10, failureThreshold=max(6, math.ceil(timeout_s / 10) + 3)),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(UNROUTED_S)]}}},
        "resources": {
            "requests": {"cpu": str(workers), "memory": f"{memory}Mi"},
            "limits": {"memory": f"{memory + GROWTH_MIB * (workers + 1)}Mi"},
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
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
    """A DNS label (RFC 1035, which a Service asks for): a letter, then lower case, digits and hyphens, at most 63 of them and no hyphen at the end."""
    plain = "".join(char if char.isalnum() else "-" for char in manifest.name.lower()).strip("-")
    named = plain if plain[:1].isalpha() else f"model-{plain}"
    return named[:44].strip("-")


def text(documents: list[dict[str, Any]]) -> str:
    """YAML 1.2, of which JSON is a part: each document is an object in JSON, apart by `---`."""
    return "".join(f"---\n{json.dumps(document, indent=2)}\n" for document in documents)
