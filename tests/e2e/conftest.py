"""The suite's fixtures: one node, one base, one server image, two stacks; and the word on what was skipped."""

import contextlib
import ctypes
import json
import math
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors

from tests.e2e import leftovers, server_image
from tests.e2e.stack import Stack, modelimage
from tests.e2e.vllm_cpu import image, install
from tests.integration import cluster, controllers, kubelet, webhook
from watch.controllers import CONTROLLERS
from watch.kube import KubeApi, namespaced
from watch.rollout import wait_for_ready_pod

SECONDS = 120
_SUITES = ("tests/e2e/", "tests/lifecycle/")
_BUILD_SECONDS = 40 * 60
_RESOURCES = {"cpu": "100m", "memory": "128Mi"}


@dataclass(frozen=True)
class Node:
    """The running node.

    Attributes:
        admin: the admin's kubeconfig.
        kubeconfig: one whose server can also `exec`.
        api: a client that uses it.
        token: what this session's names begin with.
    """

    admin: Path
    kubeconfig: Path
    api: KubeApi
    token: str

    @property
    def registry(self) -> str:
        """Where this session's images go."""
        return f"{cluster.REGISTRY}/{self.token}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the test cluster's programs where that was not done yet: no test may take that long."""
    ours = any(item.get_closest_marker("node") for item in session.items)
    script = cluster.SHARED / "cluster" / "build"
    if not ours or session.config.option.collectonly or not script.exists() or not shutil.which("go"):
        return
    # What is missing afterwards is the reason that the tests are skipped for.
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run([script, "--node"], check=False, timeout=_BUILD_SECONDS)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Close with what was not tested, below pytest's own last line: a run that skipped is no proof."""
    yield
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    skipped = [report for report in reporter.stats.get("skipped", []) if report.nodeid.startswith(_SUITES)]
    if skipped:
        names = ", ".join(sorted({report.nodeid.rpartition("::")[2].partition("[")[0] for report in skipped}))
        reporter.write_line(f"NOT TESTED on a node, {len(skipped)} tests skipped: {names}", yellow=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster"))
    with leftovers.nothing_left(home, tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session")
def node(nothing_left: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if not server_image.BUSYBOX.exists():
        pytest.skip(f"no {server_image.BUSYBOX}: install busybox-static")
    with (
        cluster.api_server(node=True) as admin,
        kubelet.front(admin, tmp_path_factory.mktemp("front")) as kubeconfig,
    ):
        api = KubeApi(kubeconfig)
        yield Node(admin, kubeconfig, api, f"e2e-{secrets.token_hex(3)}")
        api.close()


@pytest.fixture(scope="session")
def base(node: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's busybox as a base image in the cluster's registry, by digest."""
    folder = tmp_path_factory.mktemp("base") / "layout"
    made = modelimage("base", str(folder), "--busybox", str(server_image.BUSYBOX))
    return str(modelimage("copy", made["reference"], f"{node.registry}/busybox")["reference"])


@pytest.fixture(scope="session")
def server(node: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with the stand-in for vLLM, by digest."""
    return server_image.push(cluster.REGISTRY, f"{node.token}/server", tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def real_server(node: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with the real vLLM, by digest; its packages are installed where that was not done yet."""
    why = install.install()
    if why:
        pytest.skip(why)
    return image.push(cluster.REGISTRY, f"{node.token}/vllm", tmp_path_factory.mktemp("vllm"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small valid model."""
    folder = tmp_path_factory.mktemp("weights") / "model"
    modelimage("tiny", str(folder))
    return folder


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of that model, of a higher rank than the server takes unless it is told."""
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 32, "lora_alpha": 64, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {f"{layer}.lora_A.weight": [32, 128], f"{layer}.lora_B.weight": [128, 32]}
    buffers = {name: ctypes.create_string_buffer(2 * math.prod(shape)) for name, shape in shapes.items()}
    specs = {
        name: safetensors.TensorSpec(
            dtype="bfloat16", shape=shape, data_ptr=ctypes.addressof(buffers[name]), data_len=2 * math.prod(shape)
        )
        for name, shape in shapes.items()
    }
    safetensors.serialize_file(specs, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def volumes(
    node: Node, server: str, weights: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack with both deliveries by image volume: KServe's native and KubeAI's; images without any base."""
    models = {
        "tiny.native": {
            "source": ".local/model",
            "delivery": "native",
            "resources": _RESOURCES,
            "adapters": {"sql": {"source": str(adapter)}},
        },
        "tiny.kubeai": {"source": ".local/model", "delivery": "kubeai", "resources": _RESOURCES},
    }
    own = tmp_path_factory.mktemp("volumes-weights") / "model"
    shutil.copytree(weights, own)
    folder = tmp_path_factory.mktemp("volumes") / "project"
    stack = Stack.create(folder, settings_of(node, "volumes", server, models), own, node.kubeconfig)
    yield from deployed(node, "volumes", stack, server)


@pytest.fixture(scope="session")
def modelcar(
    node: Node, server: str, base: str, weights: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack with a modelcar, on a base with a shell."""
    models = {
        "tiny": {
            "source": ".local/model",
            "delivery": "modelcar",
            "base": base,
            "resources": _RESOURCES,
            "adapters": {"sql": {"source": str(adapter)}},
        },
    }
    folder = tmp_path_factory.mktemp("modelcar") / "project"
    stack = Stack.create(folder, settings_of(node, "modelcar", server, models), weights, node.kubeconfig)
    yield from deployed(node, "modelcar", stack, server)


def settings_of(node: Node, name: str, server: str, models: dict[str, Any]) -> dict[str, Any]:
    engine = {"image": server, "cpuImage": server}
    kubeai = {"install": False, "version": "0.24.0", "namespace": f"{node.token}-{name}-kubeai", "server": engine}
    return {
        "target": "local",
        # Nobody else writes to the registry of these tests.
        "registry": {"url": f"{node.registry}/{name}", "mutableTags": "accept"},
        "cluster": {"kubeconfig": str(node.admin)},
        "platforms": {
            "kserve": {"install": False, "modelNamespace": f"{node.token}-{name}", "server": engine},
            "kubeai": kubeai,
        },
        "models": models,
    }


def deployed(node: Node, name: str, stack: Stack, server: str, seconds: int = SECONDS) -> Iterator[Stack]:
    """Deploy a stack of `settings_of`, wait until each model has a ready pod, and remove it at the end.

    Args:
        node: where.
        name: as `settings_of` was told.
        stack: with its settings.
        server: the image of the stand-in, which the stand-ins for controllers sleep in.
        seconds: for a model to be ready.
    """
    kserve, kubeai = f"{node.token}-{name}", f"{node.token}-{name}-kubeai"
    own = {"kserve": kserve, "kubeai": kubeai}
    with (
        webhook.pod_webhook(node.admin, kserve),
        controllers.playing(node.admin, kserve=kserve, kubeai=kubeai, values=stack.chart_values()),
    ):
        try:
            outputs = stack.up()
            for platform in outputs.platforms:
                controllers.stand_in(node.admin, own[platform], CONTROLLERS[platform], server)
            for model in outputs.models.values():
                wait_for_ready_pod(node.api, model, timeout=seconds, tell=lambda _: None)
            yield stack
        finally:
            for namespace in (kserve, kubeai):
                node.api.delete(f"/api/v1/namespaces/{namespace}")
            # The pods go while somebody still plays their platform, as the namespaces' finalizers want it.
            left = (namespaced("v1", namespace, "pods") for namespace in (kserve, kubeai))
            cluster.wait_for(lambda paths=[*left]: not any(map(node.api.items, paths)), SECONDS)
