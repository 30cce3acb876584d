"""A rendered folder, taken by a real kubectl and a real API server as it is."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from offline.manifests import OBJECTS, render, write_files
from offline.plan import Plan
from tests import serving, tools

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]


@dataclass
class Folder:
    """A rendered stack, and the kubectl that applies it."""

    path: Path
    kubeconfig: Path
    home: Path

    @property
    def objects(self) -> str:
        return str(self.path / OBJECTS)

    def kubectl(self, *arguments: str) -> tuple[int, str]:
        done = tools.run("kubectl", *arguments, KUBECONFIG=str(self.kubeconfig), HOME=str(self.home))
        return done.returncode, done.stdout + done.stderr

    def there(self) -> dict[str, Any]:
        """What the cluster holds of each object that the files ask for."""
        code, said = self.kubectl("get", "-f", self.objects, "-o", "json")
        assert code == 0, said
        items = json.loads(said)["items"]
        return {f"{one['kind']} {one['metadata']['name']}": one.get("spec") for one in items}

    def bodies(self) -> list[dict[str, Any]]:
        return [yaml.safe_load(file.read_text()) for file in sorted((self.path / OBJECTS).iterdir())]


@pytest.fixture(scope="module")
def folder(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """Models of both platforms, with all that Kubernetes and the CRDs of the test cluster know."""
    token = secrets.token_hex(3)
    common: dict[str, Any] = {"digest": serving.IMAGE, "nodePool": "l4"}
    models = {
        "car": {**common, "warm": "prepull", "secretEnv": {"VLLM_API_KEY": "very-secret"}},
        "native": {**common, "delivery": "native"},
        "kube": {**common, "delivery": "kubeai"},
    }
    platforms = {
        "kserve": {"gateway": "none", "modelNamespace": f"models-{token}", "namespace": f"kserve-{token}"},
        "kubeai": {"version": "0.24.0", "namespace": f"kubeai-{token}"},
    }
    secret = [f"{serving.NAMESPACE}:models"]
    recording = serving.run(serving.gke(models, platforms=platforms), secret_keys=secret)
    plan = Plan("oci-model-serving", "dev", recording)
    path = tmp_path_factory.mktemp("rendered")
    write_files(render(plan), path, option="--output")
    made = Folder(path, kubeconfig, tmp_path_factory.mktemp("home"))
    yield made
    made.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", made.objects)


def test_one_kubectl_apply_of_the_folder_makes_everything_and_the_next_changes_nothing(
    folder: Folder, api: httpx.Client
) -> None:
    code, said = folder.kubectl("apply", "-f", folder.objects)
    assert code == 0, said
    assert said.count(" created") == len(folder.bodies()) >= 20, said
    assert "warning" not in said.lower()

    before = folder.there()
    code, said = folder.kubectl("apply", "-f", folder.objects)
    assert code == 0, said
    assert folder.there() == before
    assert len(before) == len(folder.bodies())

    kinds = {body["kind"] for body in folder.bodies()}
    assert {"Namespace", "ValidatingAdmissionPolicy", "InferenceService", "Model", "DaemonSet"} <= kinds
    assert "Secret" not in kinds
    namespace = next(body["metadata"]["name"] for body in folder.bodies() if body["metadata"]["name"][:6] == "models")
    served = api.get(f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices").json()["items"]
    assert {one["spec"]["predictor"]["model"]["storageUri"].rpartition("@")[2] for one in served} == {
        serving.IMAGE.rpartition("@")[2]
    }


def test_kustomize_gives_the_same_objects_in_the_same_order(folder: Folder) -> None:
    for tool in (("kubectl", "kustomize"), ("kustomize", "build")):
        done = tools.run(*tool, str(folder.path), HOME=str(folder.home))
        assert done.returncode == 0, done.stderr
        assert list(yaml.safe_load_all(done.stdout)) == folder.bodies()

    code, said = folder.kubectl("apply", "--dry-run=server", "-k", str(folder.path))
    assert code == 0, said


def test_what_kubernetes_knows_by_itself_comes_first_by_its_number(folder: Folder) -> None:
    """So that it can be there before the charts, which bring the CRDs of the rest: docs/gitops.md."""
    early = [file.name for file in sorted((folder.path / OBJECTS).glob("[1-4]*"))]
    code, said = folder.kubectl("apply", "--dry-run=server", "-f", str(folder.path / OBJECTS / "[1-4]*"))

    assert code == 0, said
    assert len(said.splitlines()) == len(early) >= 10
    groups = {
        yaml.safe_load((folder.path / OBJECTS / name).read_text())["apiVersion"].partition("/")[0] for name in early
    }
    assert groups == {"v1", "networking.k8s.io", "admissionregistration.k8s.io"}
