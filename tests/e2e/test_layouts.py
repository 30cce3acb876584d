"""What a container sees of the image, in each of the three ways in which platforms deliver it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.serving import vllm
from oci_model_serving.outputs import ModelOutput
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.mounted import digests_of, mounted
from tests.e2e.server.vllm.entrypoints.openai.api_server import fingerprint
from tests.e2e.stack import Stack
from tests.integration.cluster import client, wait_for
from watch.containers import container_statuses
from watch.kube import KubeApi, namespaced
from watch.pods import is_ready, object_path, pods_of
from watch.running import running_adapter, running_digest

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

STARTS = 10


def ready_pod(api: KubeApi, model: ModelOutput) -> dict[str, Any]:
    pods = [pod for pod in pods_of(api, model) if is_ready(pod)]
    return pods[0]


@pytest.fixture(params=["tiny.native", "tiny.kubeai", "tiny"])
def served(request: pytest.FixtureRequest) -> tuple[Stack, ModelOutput]:
    key = request.param
    deployed: Stack = request.getfixturevalue("modelcar" if key == "tiny" else "volumes")
    return deployed, deployed.outputs.models[key]


def test_every_file_is_there_byte_for_byte(node: Node, served: tuple[Stack, ModelOutput]) -> None:
    deployed, model = served
    pod = ready_pod(node.api, model)["metadata"]["name"]

    found = mounted(node.api, model.namespace, pod, model.serving.platform.container, model.serving.platform.mount)

    assert found == digests_of(deployed.weights)


@pytest.fixture(params=["tiny.native", "tiny"])
def adapted(request: pytest.FixtureRequest) -> tuple[Stack, ModelOutput]:
    key = request.param
    deployed: Stack = request.getfixturevalue("modelcar" if key == "tiny" else "volumes")
    return deployed, deployed.outputs.models[key]


def test_an_adapter_is_beside_the_model_byte_for_byte_and_read_only(
    node: Node, adapted: tuple[Stack, ModelOutput], adapter: Path
) -> None:
    _, model = adapted
    pod = ready_pod(node.api, model)
    name, container = pod["metadata"]["name"], model.serving.platform.container

    found = mounted(node.api, model.namespace, name, container, "/adapters/sql")
    written = node.api.execute(model.namespace, name, container, ["touch", "/adapters/sql/x"])

    assert found == digests_of(adapter)
    assert "Read-only file system" in written.stderr
    assert running_adapter(node.api, pod, model, "sql").digests == {model.adapters["sql"].digest}
    assert running_digest(node.api, pod, model).digests == {model.digest}


def test_a_request_by_the_adapters_name_is_answered_by_the_adapter(
    node: Node, adapted: tuple[Stack, ModelOutput], adapter: Path
) -> None:
    deployed, model = adapted
    name = ready_pod(node.api, model)["metadata"]["name"]
    proxy = f"{namespaced('v1', model.namespace, 'pods', f'{name}:{vllm.PORT}')}/proxy"
    messages = [{"role": "user", "content": "ping"}]

    with client(node.admin) as api:
        listed = {one["id"] for one in api.get(f"{proxy}/v1/models").json()["data"]}
        answers = {
            asked: api.post(f"{proxy}/v1/chat/completions", json={"model": asked, "messages": messages}).json()
            for asked in (model.served_name, "sql")
        }

    assert listed == {model.served_name, "sql"}
    assert {asked: answer["system_fingerprint"] for asked, answer in answers.items()} == {
        model.served_name: fingerprint(deployed.weights),
        "sql": fingerprint(adapter),
    }


def test_a_write_to_the_weights_fails(node: Node, served: tuple[Stack, ModelOutput]) -> None:
    _, model = served
    pod = ready_pod(node.api, model)["metadata"]["name"]
    path = f"{model.serving.platform.mount}/config.json"

    done = node.api.execute(
        model.namespace, pod, model.serving.platform.container, ["sh", "-c", 'echo x >> "$0"', path]
    )

    assert done.code != 0
    assert any(reason in done.stderr for reason in ("Read-only file system", "Permission denied")), done.stderr


def test_kubeai_mounts_the_tag_that_spells_the_digest_and_its_links_lead_to_the_files(
    node: Node, volumes: Stack
) -> None:
    model = volumes.outputs.models["tiny.kubeai"]
    pod = ready_pod(node.api, model)
    image = next(volume["image"] for volume in pod["spec"]["volumes"] if "image" in volume)

    listed = node.api.execute(model.namespace, pod["metadata"]["name"], "server", ["ls", "-l", "/model"]).stdout

    assert image["reference"].endswith(model.digest.replace("sha256:", ":digest-sha256-"))
    assert "config.json -> models/config.json" in listed


def test_native_runs_in_a_namespace_that_enforces_restricted(node: Node, volumes: Stack) -> None:
    model = volumes.outputs.models["tiny.native"]
    namespace = node.api.get(f"/api/v1/namespaces/{model.namespace}")
    pod = ready_pod(node.api, model)
    (mount,) = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/mnt/models"]

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert (mount["subPath"], mount["readOnly"]) == ("models", True)
    assert pod["status"]["phase"] == "Running"


def test_a_modelcars_server_runs_our_command_as_the_uid_that_kserve_forces(node: Node, modelcar: Stack) -> None:
    model = modelcar.outputs.models["tiny"]
    pod = ready_pod(node.api, model)
    containers = {container["name"]: container for container in pod["spec"]["containers"]}

    uid = node.api.execute(model.namespace, pod["metadata"]["name"], "kserve-container", ["id", "-u"]).stdout

    assert containers["kserve-container"]["command"] == vllm.COMMAND
    assert containers["modelcar"]["image"] == model.image
    assert pod["spec"]["shareProcessNamespace"] is True
    assert uid.strip() == "1010"


@pytest.fixture
def ten_pods(node: Node, modelcar: Stack) -> Iterator[list[dict[str, Any]]]:
    model = modelcar.outputs.models["tiny"]
    path = object_path(model)

    def scale(replicas: int) -> None:
        node.api.patch(path, {"spec": {"predictor": {"minReplicas": replicas, "maxReplicas": replicas}}})

    def settled(replicas: int) -> bool:
        pods = pods_of(node.api, model)
        return len(pods) == replicas and all(map(is_ready, pods))

    # None of the ten may be one that was there: each start is seen from its beginning.
    for pod in pods_of(node.api, model):
        node.api.delete(namespaced("v1", model.namespace, "pods", pod["metadata"]["name"]))
    scale(STARTS)
    wait_for(lambda: settled(STARTS), SECONDS)
    yield pods_of(node.api, model)
    scale(1)
    wait_for(lambda: settled(1), SECONDS)


def test_ten_of_ten_modelcar_starts_serve_the_weights_without_a_restart(
    node: Node, modelcar: Stack, ten_pods: list[dict[str, Any]]
) -> None:
    model = modelcar.outputs.models["tiny"]
    expected = fingerprint(modelcar.weights)
    question = {"model": "tiny", "messages": [{"role": "user", "content": "ping"}]}
    restarts: dict[str, int] = {}
    answers = []
    for pod in ten_pods:
        name = pod["metadata"]["name"]
        for status in container_statuses(pod):
            restarts[f"{name}/{status['name']}"] = status["restartCount"]
        proxy = f"{namespaced('v1', model.namespace, 'pods', f'{name}:{vllm.PORT}')}/proxy"
        with client(node.admin) as api:
            listed = api.get(f"{proxy}/v1/models").json()
            answers.append(api.post(f"{proxy}/v1/chat/completions", json=question).json()["system_fingerprint"])
        assert [one["id"] for one in listed["data"]] == ["tiny", "sql"]

    assert len(restarts) == 3 * STARTS
    assert {name: count for name, count in restarts.items() if count} == {}
    assert answers == [expected] * STARTS
