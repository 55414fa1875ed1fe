"""Manifests for Kubernetes: they are YAML, their parts fit together, and the model is in them."""

import base64
import io
import re
import tarfile

import pytest
from msgspec.structs import replace

from pellucid.serve import kubernetes
from pellucid.serve.manifest import Member
from pellucid.serve.supervised import Limits
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
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    most = Limits(model="", version=1, workers=1, timeout_s=ASKED["timeout_s"])
    assert pod["spec"]["terminationGracePeriodSeconds"] > waits + most.timeout_s + 2, (
        "the supervisor kills before Kubernetes does"
    )
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > ASKED["timeout_s"], (
        "and replaces stuck workers before the pod is"
    )
    assert f"{kubernetes.GROWTH_MIB << 20}" == str(most.most_growth)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_a_large_model_is_expected_on_a_volume():
    found = kubernetes.documents(a_manifest("loan", 3), bundle(2_000_000), **ASKED)
    assert [one["kind"] for one in found] == ["Deployment", "Service"]
    volumes = found[0]["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["persistentVolumeClaim"]["claimName"] == "loan-model"
    (alone,) = kubernetes.inference_service(a_manifest("loan", 3), bundle(2_000_000), **ASKED)
    assert alone["spec"]["predictor"]["volumes"] == volumes


def test_each_version_has_a_config_map_of_its_own_that_a_rollback_still_finds():
    maps = [kubernetes.documents(a_manifest("loan", version), bundle(9), **ASKED)[0] for version in (1, 2)]
    assert [one["metadata"]["name"] for one in maps] == ["loan-1-model", "loan-2-model"]


def test_kserve_s_inference_service():
    config, found = kubernetes.inference_service(a_manifest("loan", 3), bundle(9), **ASKED)
    assert (found["kind"], found["apiVersion"]) == ("InferenceService", "serving.kserve.io/v1beta1")
    predictor = found["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"
    assert container["args"][:4] == ["--host", "0.0.0.0", "--port", "8000"]
    assert predictor["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    assert predictor["terminationGracePeriodSeconds"] > ASKED["timeout_s"]


@pytest.mark.parametrize("name", ["Loan_1", "9lives", "_private.x", "a" * 100, "a" * 43 + "_b", "_"])
def test_a_service_may_have_the_name(name):
    named = kubernetes._named(a_manifest(name, 3))
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", named), named
    assert len(f"{named}-1234567-model") <= 63


def test_the_probes_ask_what_the_server_answers_without_a_key():
    from pellucid.serve import app

    (container,) = kubernetes.documents(a_manifest("loan", 3), bundle(9), **ASKED)[1]["spec"]["template"]["spec"][
        "containers"
    ]
    asked = {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert asked <= app.OPEN, "without a key, where it wants one"


@pytest.mark.parametrize(
    ("form", "code", "allowed"), [("skops", False, []), ("skops", True, ["--allow-code"]), ("pickle", True, ["--allow-pickle"])]
)  # fmt: skip
def test_a_pod_may_run_the_code_that_its_model_brings_along(form, code, allowed):
    members = (Member("code/own.py", "00", 1),) if code else ()
    manifest = replace(a_manifest("loan", 3), format=form, members=members)
    deployment = next(one for one in kubernetes.documents(manifest, bundle(9), **ASKED) if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][8:] == allowed
