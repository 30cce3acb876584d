"""A real vLLM on our own pods: each delivery, an adapter, an embedding model and the streaming loader.

All in one stack, since a start takes a minute of two processors. What goes wrong on purpose is left to the stand-in.
"""

import ipaddress
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.serving import vllm
from oci_model_serving.delivery import KUBEAI as KUBEAI_PLATFORM
from oci_model_serving.outputs import ModelOutput
from tests.e2e.conftest import Node, deployed, settings_of
from tests.e2e.stack import Stack
from tests.e2e.test_smoke import PHASES, told
from tests.e2e.vllm_cpu import install
from tests.integration import cluster
from watch.containers import container_statuses
from watch.kube import namespaced
from watch.pods import is_ready, pods_of

# The first test waits for the packages, where the node's tests are run alone, and for four servers.
pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(1800)]

SECONDS = 900
ARGS = ["--enforce-eager", "--max-model-len=256"]
RESOURCES = {"cpu": "400m", "memory": "3Gi"}
MODELCAR, NATIVE, KUBEAI, VECTORS = "tiny", "tiny.native", "tiny.kubeai", "tiny.vectors"
HIDDEN = 128
"""The dimensions of the tiny model."""


@pytest.fixture(scope="module")
def vectors(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as one for embeddings: as sentence-transformers says so, by its module of pooling."""
    folder = tmp_path_factory.mktemp("vectors") / "model"
    shutil.copytree(weights, folder)
    modules = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules.items())
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.fixture(scope="module")
def real(
    node: Node,
    real_server: str,
    base: str,
    weights: Path,
    vectors: Path,
    adapter: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A stack whose models are all served by the real vLLM; nothing but the image tells it from any other stack."""
    common = {"args": ARGS, "resources": RESOURCES, "startupTimeout": SECONDS}
    models: dict[str, dict[str, Any]] = {
        MODELCAR: {
            "source": ".local/model",
            "delivery": "modelcar",
            "base": base,
            "adapters": {"sql": {"source": str(adapter)}},
            **common,
        },
        NATIVE: {
            "source": ".local/model",
            "delivery": "native",
            **common,
            "args": [*ARGS, "--load-format=runai_streamer"],
        },
        KUBEAI: {
            "source": ".local/model",
            "delivery": "kubeai",
            **common,
            # KubeAI's own proxy takes this prefix away; in the tests its Service leads to the pod directly.
            "args": [*ARGS, "--root-path=/openai"],
        },
        VECTORS: {"source": str(vectors), "delivery": "native", **common},
    }
    folder = tmp_path_factory.mktemp("real") / "project"
    stack = Stack.create(folder, settings_of(node, "real", real_server, models), weights, node.kubeconfig)
    yield from deployed(node, "real", stack, real_server, SECONDS)


def pod_of(node: Node, model: ModelOutput) -> dict[str, Any]:
    (pod,) = [pod for pod in pods_of(node.api, model) if is_ready(pod)]
    return pod


def port_of(model: ModelOutput) -> int:
    return vllm.KUBEAI_PORT if model.serving.platform is KUBEAI_PLATFORM else vllm.PORT


def ask(node: Node, model: ModelOutput, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The pod's own answer, through the API server."""
    name = pod_of(node, model)["metadata"]["name"]
    with cluster.client(node.admin) as api:
        url = f"{namespaced('v1', model.namespace, 'pods', f'{name}:{port_of(model)}')}/proxy{path}"
        answer = api.post(url, json=body) if body else api.get(url)
        found: dict[str, Any] = answer.raise_for_status().json()
    return found


def chat(node: Node, model: ModelOutput, asked: str) -> dict[str, Any]:
    question = {"model": asked, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 8}
    return ask(node, model, "/v1/chat/completions", question)


@pytest.fixture(params=[MODELCAR, NATIVE, KUBEAI, VECTORS])
def model(request: pytest.FixtureRequest, real: Stack) -> ModelOutput:
    return real.outputs.models[request.param]


@pytest.fixture(params=[MODELCAR, NATIVE, KUBEAI])
def generating(request: pytest.FixtureRequest, real: Stack) -> ModelOutput:
    return real.outputs.models[request.param]


def test_the_server_starts_once_and_as_our_uid(node: Node, model: ModelOutput) -> None:
    pod = pod_of(node, model)

    uid = node.api.execute(
        model.namespace, pod["metadata"]["name"], model.serving.platform.container, ["id", "-u"]
    ).stdout

    assert {
        status["name"]: status["restartCount"] for status in container_statuses(pod) if status["restartCount"]
    } == {}
    assert uid.strip() == str(vllm.UID)


def test_the_server_writes_nowhere_but_into_its_own_volumes(node: Node, model: ModelOutput) -> None:
    pod, name = pod_of(node, model), model.serving.platform.container
    places = ["/opt/x", f"{model.serving.platform.mount}/config.json", "/tmp/x"]  # noqa: S108 - the container's own

    said = [node.api.execute(model.namespace, pod["metadata"]["name"], name, ["touch", at]).stderr for at in places]

    assert ["Read-only file system" in one or "Permission denied" in one for one in said] == [True, True, False]
    assert "Read-only file system" in said[0]


def connections(table: str) -> list[tuple[int, str]]:
    """Of `/proc/net/tcp`: the own port and the other end of each connection; a listener's is unspecified."""
    found = []
    for line in table.splitlines():
        if re.match(r"\s*\d+: ", line):
            own, other = line.split()[1:3]
            words = bytes.fromhex(other.partition(":")[0])
            # Each word of an address is in the machine's byte order.
            parts = [words[at : at + 4][::-1] for at in range(0, len(words), 4)]
            address = ipaddress.ip_address(b"".join(parts))
            found.append((int(own.partition(":")[2], 16), str(getattr(address, "ipv4_mapped", None) or address)))
    return found


def test_the_server_has_opened_no_connection_to_anybody_else(node: Node, model: ModelOutput) -> None:
    pod, name = pod_of(node, model), model.serving.platform.container
    tables = ["cat", "/proc/net/tcp", "/proc/net/tcp6"]

    said = node.api.execute(model.namespace, pod["metadata"]["name"], name, tables).stdout

    found = connections(said)
    assert port_of(model) in {port for port, _ in found}
    opened = {other for port, other in found if port != port_of(model)}
    assert {other for other in opened if not other.startswith("127.")} <= {
        *("0.0.0.0", "::", "::1"),
        pod["status"]["podIP"],
    }


def test_the_models_name_is_listed_and_vllm_answers_a_chat(node: Node, generating: ModelOutput) -> None:
    listed = [one["id"] for one in ask(node, generating, "/v1/models")["data"]]

    answer = chat(node, generating, generating.served_name)

    assert generating.served_name in listed
    assert answer["system_fingerprint"].startswith(f"vllm-{install.VERSION}")
    assert answer["usage"]["completion_tokens"] > 0


def test_an_adapter_is_listed_and_answers_by_its_name(node: Node, real: Stack) -> None:
    model = real.outputs.models[MODELCAR]
    listed = {one["id"]: one["parent"] for one in ask(node, model, "/v1/models")["data"]}

    answer = chat(node, model, "sql")

    assert listed == {model.served_name: None, "sql": model.served_name}
    assert answer["model"] == "sql"


def test_an_embedding_model_answers_with_a_vector(node: Node, real: Stack) -> None:
    model = real.outputs.models[VECTORS]

    answer = ask(node, model, "/v1/embeddings", {"model": model.served_name, "input": "ping"})

    vector = answer["data"][0]["embedding"]
    assert len(vector) == HIDDEN
    assert sum(value * value for value in vector) == pytest.approx(1, abs=1e-3)


def test_the_streaming_loader_reads_an_image(node: Node, real: Stack) -> None:
    model = real.outputs.models[NATIVE]
    pod = pod_of(node, model)["metadata"]["name"]

    said = node.api.text(namespaced("v1", model.namespace, "pods", f"{pod}/log"), container="kserve-container")

    assert "Loading safetensors using Runai Model Streamer: 100%" in said


def test_smoke_holds_whole(real: Stack) -> None:
    code, document = real.smoke(seconds=SECONDS)

    assert (code, told(document, "fail")) == (0, [])
    assert {check["name"] for check in document["checks"] if check["status"] == "skip"} <= {
        "node-account",
        "connection",
    }
    answers = [check for check in document["checks"] if check["step"] == "validate" and check["status"] == "pass"]
    assert {check["model"] for check in answers} >= real.outputs.models.keys()


def test_a_cold_start_is_divided_into_its_phases(real: Stack) -> None:
    code, document = real.smoke("coldstart", "--model", NATIVE, seconds=SECONDS)

    assert (code, told(document, "fail")) == (0, [])
    figures = document["coldstart"][NATIVE]
    assert {phase for phase in PHASES if figures[phase] is None} == set()
    # A stand-in is there at once; this one reads its packages, its weights, and warms up, and its log tells each.
    assert figures["server_start"] > 5
    assert {stage for stage in ("process_start", "load", "engine_init", "ready") if figures[stage] is None} == set()
