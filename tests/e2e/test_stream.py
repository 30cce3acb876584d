"""A real vLLM by delivery `stream`, from the project's own manifests: out of the registry past the node's disk.

The same image is then served as an image volume, by the same server: it answers the same, and now the node has it,
which shows that what was looked for would have been found.
"""

import base64
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oci_model_serving.delivery import STREAM_ANNOTATION, STREAM_CONTAINER, STREAM_HEALTH_PORT, Delivery
from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import ImageReference
from smoke import manifests
from tests.e2e import step_image
from tests.e2e.conftest import Node, deployed, settings_of
from tests.e2e.stack import Stack, modelimage
from tests.e2e.test_diagnosis import NOWHERE, SECONDS_TO_TELL, USER, Told, wait_in_vain
from tests.e2e.test_real_server import ARGS, RESOURCES, SECONDS, ask, pod_of
from tests.e2e.test_smoke import told
from tests.e2e.vllm_cpu import image, install
from tests.integration import cluster, controllers
from tests.registry import RegistryServer
from watch.containers import container_statuses
from watch.kube import ApiError, namespaced
from watch.pods import object_path, pods_of
from watch.running import running_digest

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(1800)]

STREAMED = "tiny.stream"
_REGISTRY_PORT = int(cluster.REGISTRY.rpartition(":")[2])
_SERVER = "kserve-container"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that asks for a password."""
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (Debian: apache2-utils)")
    with RegistryServer(tmp_path_factory.mktemp("private"), htpasswd=USER) as registry:
        yield registry


@pytest.fixture(scope="module")
def streaming_server(node: Node, private: RegistryServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image with the real vLLM, whose sidecar finds this machine's registries by their names."""
    why = install.install()
    if why:
        pytest.skip(why)
    with step_image.reachable(_REGISTRY_PORT, private.port) as environment:
        yield image.push(cluster.REGISTRY, f"{node.token}/streaming", tmp_path_factory.mktemp("streaming"), environment)


@pytest.fixture(scope="module")
def own_weights(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose layers no other test has brought to the node."""
    folder = tmp_path_factory.mktemp("own") / "model"
    modelimage("tiny", str(folder), "--seed", str(_seed(node)))
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_name_or_path": node.token}))
    return folder


@pytest.fixture(scope="module")
def streamed(
    node: Node, streaming_server: str, own_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    models = {
        STREAMED: {
            "source": ".local/model",
            "delivery": "stream",
            "args": ARGS,
            "resources": RESOURCES,
            "startupTimeout": SECONDS,
        }
    }
    folder = tmp_path_factory.mktemp("streamed") / "project"
    settings = settings_of(node, "streamed", streaming_server, models)
    stack = Stack.create(folder, settings, own_weights, node.kubeconfig)
    yield from deployed(node, "streamed", stack, streaming_server, SECONDS)


@pytest.fixture
def model(streamed: Stack) -> ModelOutput:
    return streamed.outputs.models[STREAMED]


def _seed(node: Node) -> int:
    """Of this session: node and registry keep what earlier ones brought and broke."""
    return int(node.token.rpartition("-")[2], 16)


def asked_of_sidecar(node: Node, model: ModelOutput, path: str) -> str:
    name = pod_of(node, model)["metadata"]["name"]
    with cluster.client(node.admin) as api:
        url = f"{namespaced('v1', model.namespace, 'pods', f'{name}:{STREAM_HEALTH_PORT}')}/proxy{path}"
        return api.get(url).raise_for_status().text


def metrics(node: Node, model: ModelOutput) -> dict[str, float]:
    lines = [line for line in asked_of_sidecar(node, model, "/metrics").splitlines() if not line.startswith("#")]
    pairs = [line.split() for line in lines]
    return {name.removeprefix("oci_model_serving_stream_"): float(value) for name, value in pairs}


def stored(node: Node) -> Path:
    """Where the node's containerd keeps blobs and snapshots."""
    return node.admin.parent / "node" / "containerd"


def layers_of(image: str) -> set[str]:
    return {layer["digest"] for layer in modelimage("inspect", image)["layers"]}


def kept(node: Node, image: str) -> set[str]:
    """The layers of an image of which the node has the blob."""
    blobs = stored(node) / "io.containerd.content.v1.content" / "blobs" / "sha256"
    return {digest for digest in layers_of(image) if (blobs / digest.partition(":")[2]).exists()}


def weights_on_disk(node: Node, weights: Path) -> list[Path]:
    """Files of the node with the content of a weights file: in containers' layers, snapshots, volumes and downloads."""
    wanted = {file.stat().st_size: file.read_bytes() for file in weights.glob("*.safetensors")}
    places = [stored(node), node.admin.parent / "node" / "varlib"]
    found = []
    for place in places:
        for folder, _, names in os.walk(place):
            for path in (Path(folder, name) for name in names):
                if path.is_file() and not path.is_symlink() and path.stat().st_size in wanted:
                    found += [path] if path.read_bytes() == wanted[path.stat().st_size] else []
    return found


def processes(pod: dict[str, Any], container: str) -> list[int]:
    """The processes of a pod's container, as this machine counts them."""
    statuses = container_statuses(pod)
    (status,) = [one for one in statuses if one["name"] == container]
    wanted = status["containerID"].rpartition("/")[2]
    return sorted(
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if (process / "cgroup").exists() and wanted in (process / "cgroup").read_text()
    )


def written(pids: list[int]) -> int:
    """Bytes that processes have had written to disks."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/io").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def chat(node: Node, model: ModelOutput) -> dict[str, Any]:
    question = {
        "model": model.served_name,
        "messages": [{"role": "user", "content": "ping"}],
        "max_tokens": 16,
        "temperature": 0,
        "logprobs": True,
    }
    (choice,) = ask(node, model, "/v1/chat/completions", question)["choices"]
    tokens = [one["token"] for one in choice["logprobs"]["content"]]
    assert len(tokens) == 16
    return {"text": choice["message"]["content"], "tokens": tokens}


def test_the_pod_mounts_no_image_and_starts_once(node: Node, model: ModelOutput) -> None:
    pod = pod_of(node, model)

    assert [volume for volume in pod["spec"]["volumes"] if "image" in volume] == []
    assert {one["name"]: one["restartCount"] for one in container_statuses(pod)} == {STREAM_CONTAINER: 0, _SERVER: 0}


def test_no_byte_of_the_weights_is_written_to_the_nodes_disk(node: Node, model: ModelOutput, own_weights: Path) -> None:
    pod = pod_of(node, model)

    assert kept(node, model.image) == set()
    assert weights_on_disk(node, own_weights) == []
    # What they write is the runtime's, before it becomes the container, and the server's files of config and tokenizer.
    amounts = {name: written(processes(pod, name)) for name in (STREAM_CONTAINER, _SERVER)}
    print(f"bytes written: {amounts}")  # pytest -rP shows it
    size = sum(file.stat().st_size for file in own_weights.glob("*.safetensors"))
    assert amounts[STREAM_CONTAINER] < size / 25
    assert amounts[_SERVER] < size / 4


def test_the_sidecar_tells_what_it_served_and_that_all_of_it_was_checked(
    node: Node, model: ModelOutput, own_weights: Path
) -> None:
    size = sum(file.stat().st_size for file in own_weights.glob("*.safetensors"))

    counted, described = metrics(node, model), json.loads(asked_of_sidecar(node, model, "/image"))

    assert counted["served_bytes_total"] >= size
    assert counted["fetched_bytes_total"] >= size
    assert (counted["mismatches_total"], counted["unverified_layers"]) == (0, 0)
    assert described["image"] == model.image
    assert running_digest(node.api, pod_of(node, model), model).digests == {model.digest}


def test_smoke_holds_whole(streamed: Stack) -> None:
    code, document = streamed.smoke(seconds=SECONDS)

    assert (code, told(document, "fail")) == (0, [])
    answers = [check for check in document["checks"] if check["step"] == "validate" and check["status"] == "pass"]
    assert {check["model"] for check in answers} >= {STREAMED}


def test_a_sidecar_that_is_killed_comes_back_and_the_next_server_loads_from_it(node: Node, model: ModelOutput) -> None:
    before = chat(node, model)
    first = pod_of(node, model)

    _kill(node, model, STREAM_CONTAINER)
    assert chat(node, model) == before  # the weights are the server's by now
    _kill(node, model, _SERVER)

    assert chat(node, model) == before
    again = pod_of(node, model)
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    assert {one["name"]: one["restartCount"] for one in container_statuses(again)} == {STREAM_CONTAINER: 1, _SERVER: 1}
    assert metrics(node, model)["mismatches_total"] == 0


def _kill(node: Node, model: ModelOutput, container: str) -> None:
    """End a container's first process, as the kernel does it, and wait until the pod is ready again."""
    pod = pod_of(node, model)
    os.kill(min(processes(pod, container)), signal.SIGKILL)
    path = namespaced("v1", model.namespace, "pods", pod["metadata"]["name"])

    def back() -> bool:
        found = node.api.get(path)
        started = {one["name"]: one["restartCount"] for one in container_statuses(found)}
        ready = [one["status"] for one in found["status"]["conditions"] if one["type"] == "Ready"]
        return started[container] == 1 and ready == ["True"]

    cluster.wait_for(back, SECONDS)


def test_an_image_volume_of_the_same_image_answers_the_same_and_is_on_the_disk(
    node: Node, streamed: Stack, streaming_server: str, own_weights: Path, tmp_path: Path
) -> None:
    model = streamed.outputs.models[STREAMED]
    answer = chat(node, model)
    mounted = {
        "digest": model.image,
        "delivery": "native",
        "args": [*ARGS, "--load-format=runai_streamer"],
        "resources": RESOURCES,
        "startupTimeout": SECONDS,
    }
    settings = settings_of(node, "mounted", streaming_server, {"tiny.mounted": mounted})
    stack = Stack.create(tmp_path / "project", settings, own_weights, node.kubeconfig)

    with contextmanager(deployed)(node, "mounted", stack, streaming_server, SECONDS) as up:
        other = up.outputs.models["tiny.mounted"]

        assert other.digest == model.digest
        assert chat(node, other) == answer
        assert kept(node, model.image) == layers_of(model.image)
        assert weights_on_disk(node, own_weights)


def test_an_image_that_the_stack_has_not_verified_is_streamed_by_nobody(
    node: Node, streamed: Stack, private_image: str
) -> None:
    model = streamed.outputs.models[STREAMED]
    body, platform = _anew(node, model, "other", ImageReference.parse(private_image)), model.serving.platform

    with pytest.raises(ApiError, match="a sidecar streams what the stack has not verified"):
        node.api.create(namespaced(platform.api_version, model.namespace, platform.plural), body)


CASES = {
    "absent": "stream-image-missing",
    "private": "stream-no-login",
    "no-streamer": "stream-no-streamer",
    "little-memory": "stream-out-of-memory",
    "flipped-byte": "stream-corrupt",
    "cut-short": "stream-corrupt",
}
"""What is wrong with the image or the pod, and the cause that is named first."""


def _no_streamer(server: str, body: Any) -> None:
    # The stand-in's image has no packages of vLLM; the sidecar keeps its own.
    body["spec"]["predictor"]["model"]["image"] = server


def _little_memory(body: Any) -> None:
    (sidecar,) = body["spec"]["predictor"]["initContainers"]
    sidecar["resources"]["limits"]["memory"] = "32Mi"


def blob(node: Node, digest: str) -> Path:
    """The file in which the cluster's registry keeps a blob."""
    name = digest.partition(":")[2]
    return node.admin.parent / "registry" / "docker" / "registry" / "v2" / "blobs" / "sha256" / name[:2] / name / "data"


def largest_layer(image: str) -> str:
    layers = modelimage("inspect", image)["layers"]
    return str(max(layers, key=lambda layer: layer["size_bytes"])["digest"])


def _packed(node: Node, name: str, seed: int, folder: Path) -> str:
    """An image of a model of its own: no blob of it is another's."""
    modelimage("tiny", str(folder / name), "--seed", str(seed))
    return str(modelimage("pack", str(folder / name), f"{node.registry}/{name}")["reference"])


def _flipped(node: Node, image: str) -> str:
    with blob(node, largest_layer(image)).open("r+b") as file:
        file.seek(-5000, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    return image


def _cut(node: Node, image: str) -> str:
    file = blob(node, largest_layer(image))
    os.truncate(file, file.stat().st_size // 2)
    return image


@pytest.fixture(scope="module")
def private_image(private: RegistryServer, own_weights: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELIMAGE_USERNAME", USER[0])
        patch.setenv("MODELIMAGE_PASSWORD", USER[1])
        return str(modelimage("pack", str(own_weights), f"{private.host}/private/model")["reference"])


@dataclass(frozen=True)
class StreamWard:
    """A namespace where nobody asks what is verified; the stack's model is deployed there with what is to go wrong."""

    node: Node
    model: ModelOutput
    name: str

    def serve(self, name: str, image: str = "", change: Callable[[Any], None] | None = None) -> ModelOutput:
        """Deploy the stack's InferenceService anew, as `name` with another image."""
        reference = ImageReference.parse(image or self.model.image)
        body = _anew(self.node, self.model, name, reference)
        predictor = body["spec"]["predictor"]
        predictor["serviceAccountName"] = "default"
        # All of them are on one small node at once, and most end before they have begun.
        for container in (predictor["model"], *predictor["initContainers"]):
            container["resources"]["requests"] = {"cpu": "10m", "memory": "32Mi"}
        if change:
            change(body)
        platform, uri = self.model.serving.platform, Delivery.STREAM.uri(reference)
        self.node.api.create(namespaced(platform.api_version, self.name, platform.plural), body)
        changed = {"name": name, "namespace": self.name, "image": str(reference), "digest": reference.digest}
        return self.model.model_copy(update={**changed, "storage_uri": uri})


def _anew(node: Node, model: ModelOutput, name: str, reference: ImageReference) -> Any:
    body = manifests.like_deployed(node.api.get(object_path(model)), name)
    uri = Delivery.STREAM.uri(reference)
    body["spec"]["predictor"]["initContainers"][0]["args"][0] = uri
    body["metadata"]["annotations"][STREAM_ANNOTATION] = uri
    return body


@pytest.fixture(scope="module")
def ward(node: Node, streamed: Stack) -> Iterator[StreamWard]:
    model = streamed.outputs.models[STREAMED]
    predictor = node.api.get(object_path(model))["spec"]["predictor"]
    needed = {
        namespaced(manifests.RUNTIME_API, "{}", "servingruntimes"): [predictor["model"]["runtime"]],
        namespaced("v1", "{}", "configmaps"): [
            one["configMap"]["name"] for one in predictor["volumes"] if "configMap" in one
        ],
    }
    with cluster.namespace(node.admin, node.token, {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        for path, names in needed.items():
            for one in names:
                found = node.api.get(f"{path.format(model.namespace)}/{one}")
                node.api.create(path.format(name), _copied(found))
        with controllers.playing(node.admin, kserve=name):
            yield StreamWard(node, model, name)


def _copied(found: Any) -> Any:
    kept = {key: value for key, value in found.items() if key != "metadata"}
    return {**kept, "metadata": {"name": found["metadata"]["name"]}}


@pytest.fixture(scope="module")
def broken(
    node: Node, ward: StreamWard, private_image: str, server: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Told]:
    """How one model for each thing that goes wrong ends, all at the same time."""
    folder = tmp_path_factory.mktemp("broken")
    images = {
        "absent": str(ImageReference(ward.model.reference.repository, NOWHERE)),
        "private": private_image,
        "flipped-byte": _flipped(node, _packed(node, "flipped", _seed(node) + 1, folder)),
        "cut-short": _cut(node, _packed(node, "cut", _seed(node) + 2, folder)),
    }
    changes: dict[str, Callable[[Any], None]] = {
        "no-streamer": partial(_no_streamer, server),
        "little-memory": _little_memory,
    }
    models = {name: ward.serve(name, images.get(name, ""), changes.get(name)) for name in CASES}
    with ThreadPoolExecutor(len(models)) as watching:
        return dict(zip(models, watching.map(partial(wait_in_vain, node, SECONDS), models.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_streamed_model_that_cannot_start_ends_in_its_cause(broken: dict[str, Told], name: str) -> None:
    found = broken[name]

    print(f"{name}: {found.seconds:.1f} s from the first sign to the cause\n{found.text}")  # pytest -rP shows it
    assert found.causes[:1] == [CASES[name]], found.text
    assert found.seconds <= SECONDS_TO_TELL, f"{found.seconds:.1f} s, and {found.text}"


def test_a_private_image_is_read_by_the_login_that_is_mounted(
    node: Node, ward: StreamWard, private_image: str, server: str
) -> None:
    auth = {"username": USER[0], "password": USER[1], "auth": base64.b64encode(":".join(USER).encode()).decode()}
    secret = {
        "metadata": {"name": "readable"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {private_image.partition("/")[0]: auth}})},
    }
    node.api.create(namespaced("v1", ward.name, "secrets"), secret)

    def login(body: Any) -> None:
        # As components/serving/streaming.py writes it for a stack with pullSecrets.
        predictor = body["spec"]["predictor"]
        (sidecar,) = predictor["initContainers"]
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        volume = {"secretName": "readable", "defaultMode": 0o440, "items": items}
        predictor["volumes"].append({"name": "stream-logins", "secret": volume})
        predictor["securityContext"] = {"fsGroup": 1010}
        sidecar["volumeMounts"].append({"name": "stream-logins", "mountPath": "/oms/logins", "readOnly": True})
        sidecar["env"].append({"name": "DOCKER_CONFIG", "value": "/oms/logins"})
        _no_streamer(server, body)  # the sidecar alone is looked at

    readable = ward.serve("readable", private_image, login)

    def is_started() -> bool:
        statuses = [one for pod in pods_of(node.api, readable) for one in container_statuses(pod)]
        return any(one["name"] == STREAM_CONTAINER and one["ready"] for one in statuses)

    cluster.wait_for(is_started, SECONDS)
