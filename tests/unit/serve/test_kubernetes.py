"""Manifests for Kubernetes: they are YAML, their parts fit together, and the model is in them."""

import base64
import io
import tarfile

import pytest
from msgspec.structs import replace

from pellucid.serve import kubernetes
from pellucid.serve.manifest import Member
from tests.unit.serve.test_slots import a_manifest

yaml = pytest.importorskip("yaml")
ASKED = {"image": "registry.example/pellucid:1", "workers": 3, "timeout_s": 20.0}


def bundle(size):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("MANIFEST.json")
        entry.size = size
        archive.addfile(entry, io.BytesIO(b"x" * size))
    return buffer.getvalue()


def test_the_documents_fit_together():
    content = bundle(1000)
    found = list(yaml.safe_load_all(kubernetes.text(kubernetes.documents(a_manifest("Loan_1", 3), content, **ASKED))))
    config, deployment, service = found
    assert [one["kind"] for one in found] == ["ConfigMap", "Deployment", "Service"]
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert service["metadata"]["name"] == "loan-1"
    (container,) = pod["spec"]["containers"]
    (file,) = config["binaryData"]
    assert container["command"] == ["pellucid", "serve", f"/model/{file}"]
    assert base64.b64decode(config["binaryData"][file]) == content
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["spec"]["terminationGracePeriodSeconds"] > 20
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_a_large_model_is_expected_on_a_volume():
    found = kubernetes.documents(a_manifest("loan", 3), bundle(2_000_000), **ASKED)
    assert [one["kind"] for one in found] == ["Deployment", "Service"]
    volumes = found[0]["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["persistentVolumeClaim"]["claimName"] == "loan-model"


def test_kserve_s_inference_service():
    found = kubernetes.inference_service(a_manifest("loan", 3), **ASKED)
    assert (found["kind"], found["apiVersion"]) == ("InferenceService", "serving.kserve.io/v1beta1")
    (container,) = found["spec"]["predictor"]["containers"]
    assert container["args"][:4] == ["--host", "0.0.0.0", "--port", "8000"]


@pytest.mark.parametrize(
    ("form", "code", "allowed"), [("skops", False, []), ("skops", True, ["--allow-code"]), ("pickle", True, ["--allow-pickle"])]
)  # fmt: skip
def test_a_pod_may_run_the_code_that_its_model_brings_along(form, code, allowed):
    members = (Member("code/own.py", "00", 1),) if code else ()
    manifest = replace(a_manifest("loan", 3), format=form, members=members)
    deployment = next(one for one in kubernetes.documents(manifest, bundle(9), **ASKED) if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][8:] == allowed
