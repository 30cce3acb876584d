"""With which credentials a model's pods pull: those of their images' registries, and never too few."""

from typing import Any

import pytest

from components.settings.pulling import of_hosts
from components.settings.reader import SettingsError
from oci_model_serving.reference import host_of
from tests import serving
from tests.components.settings.reading import read

WEIGHTS = serving.IMAGE  # registry.example
SERVERS = {"weights": "registry.example", "server": "docker.io", "adapter": "lora.example", "mesh": "mesh.example:5000"}
SECRETS = {key: {"server": server, "username": "u", "password": "hunter2"} for key, server in SERVERS.items()}
SIDECAR = {"cluster": {"create": {"name": "demo"}, "allowList": {"images": ["mesh.example:5000/proxy:1"]}}}


def named(model: dict[str, Any] | None = None, **keys: Any) -> list[str]:
    """The secrets of the model's service account."""
    made = {"digest": WEIGHTS, "delivery": "native", "nodePool": "l4", **(model or {})}
    recording = serving.run(serving.gke({"qwen": made}, **{"pullSecrets": SECRETS, **keys}))
    return [one["name"] for one in serving.one(recording, "ServiceAccount", "qwen").get("imagePullSecrets") or ()]


def test_a_models_pods_have_the_credentials_of_the_registries_of_their_images_and_no_others() -> None:
    assert named() == ["weights", "server"]  # vLLM's image is Docker Hub's
    assert named({"adapters": {"a": {"digest": WEIGHTS.replace("registry", "lora")}}}) == [
        "weights",
        "server",
        "adapter",
    ]
    own = {"image": "lora.example/sglang:1", "command": ["serve"], "port": 30000}
    assert named({"server": own}) == ["weights", "adapter"]
    cpu = {"kserve": {"server": {"cpuImage": "lora.example/vllm:1"}}}
    assert named({"nodePool": None}, platforms=cpu) == ["weights", "adapter"]


def test_sidecars_that_the_cluster_accepts_are_pulled_as_well() -> None:
    assert named(**SIDECAR) == ["weights", "server", "mesh"]


@pytest.mark.parametrize(
    "keys",
    [
        {"cluster": {"create": {"name": "demo"}, "allowList": {"enforce": False}}},
        {"platforms": {"kserve": {"deploymentMode": "Knative", "gateway": "none"}}},
    ],
)
def test_where_a_pod_may_have_any_image_it_has_all_credentials(keys: dict[str, Any]) -> None:
    assert named(**keys) == list(SECRETS)


def test_where_another_stack_says_where_the_image_is_its_pods_have_all_credentials() -> None:
    model = {"fromStack": "acme/p/dev", "delivery": "native", "nodePool": "l4"}
    made = read(serving.gke({"qwen": model}, pullSecrets=SECRETS), secret=["pullSecrets"])
    copied = read(serving.gke({"qwen": {**model, "copy": True}}, pullSecrets=SECRETS), secret=["pullSecrets"])

    assert made.models["qwen"].pull_secrets == tuple(SECRETS)
    assert copied.models["qwen"].pull_secrets == ("server",)  # Google's registry, which the nodes read


def test_a_model_may_name_its_own() -> None:
    assert named({"pullSecrets": ["mesh"]}) == ["mesh"]
    assert named({"pullSecrets": []}) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"pullSecrets": ["wrong"]}, "models.qwen.pullSecrets: names wrong, which pullSecrets has not"),
        ({"pullSecrets": ["mesh"], "delivery": "kubeai"}, "models.qwen.pullSecrets: is for pods that have their own"),
    ],
)
def test_credentials_that_a_model_cannot_have_are_refused(model: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        named(model)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("server", "image", "is_for"),
    [
        ("registry.example", "registry.example/a/b:1", True),
        ("registry.example", "registry.example:443/a/b:1", True),
        ("https://registry.example/v1/", "registry.example/a:1", True),
        ("Registry.Example", "registry.example/a:1", True),
        ("registry.gitlab.com/group/project", "registry.gitlab.com/group/project/model:1", True),
        ("*.jfrog.io", "acme.jfrog.io/models/m:1", True),
        ("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/m:1", True),
        ("https://index.docker.io/v1/", "vllm/vllm-openai:v1", True),
        ("docker.io", "index.docker.io/vllm/vllm-openai:v1", True),
        ("registry-1.docker.io", "busybox", True),
        ("localhost:5000", "localhost:5000/m:1", True),
        ("[::1]:5000", "[::1]:5000/m:1", True),
        ("registry.example", "registry.example.org/a:1", False),
        ("example", "registry.example/a:1", False),
        ("ghcr.io", "vllm/vllm-openai:v1", False),
        ("docker.io", "mydocker.io/a:1", False),
    ],
)
def test_credentials_are_for_a_registry_as_the_kubelet_says(server: str, image: str, is_for: bool) -> None:
    assert of_hosts({"it": server}, [host_of(image)]) == (("it",) if is_for else ())
