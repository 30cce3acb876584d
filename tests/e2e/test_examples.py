"""An example that needs no GPU, served: the stack of examples/cpu-only with the real vLLM on the node's processors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_model_serving.outputs import ModelOutput
from tests import serving
from tests.e2e.conftest import Node, deployed, settings_of
from tests.e2e.stack import Stack
from tests.e2e.test_real_server import ARGS, RESOURCES, SECONDS, chat
from tests.e2e.test_smoke import told
from tests.e2e.vllm_cpu import install

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(1800)]

EXAMPLE = serving.ROOT / "examples" / "cpu-only" / "Pulumi.cpu-only.yaml"


@pytest.fixture(scope="module")
def example(node: Node, real_server: str, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The example's file with this machine's own: a registry, a cluster, a server's image, and a model of a few MB."""
    settings = serving.settings_of(EXAMPLE)
    models: dict[str, dict[str, Any]] = settings["models"]
    for model in models.values():
        del model["sizeGb"]
        model |= {"source": ".local/model", "resources": RESOURCES, "args": ARGS, "startupTimeout": SECONDS}
    settings |= {**settings_of(node, "cpu-only", real_server, models), "target": settings["target"]}
    stack = Stack.create(tmp_path_factory.mktemp("cpu-only") / "project", settings, weights, node.kubeconfig)
    yield from deployed(node, "cpu-only", stack, real_server, SECONDS)


@pytest.fixture
def model(example: Stack) -> ModelOutput:
    (found,) = example.outputs.models.values()
    return found


def test_the_example_is_served_as_its_page_says(model: ModelOutput) -> None:
    (said,) = serving.settings_of(EXAMPLE)["models"].items()
    assert (model.served_name, model.delivery, model.node_pool) == (said[0], said[1]["delivery"], None)


def test_the_model_answers_a_chat_by_the_name_in_the_file(node: Node, model: ModelOutput) -> None:
    answer = chat(node, model, model.served_name)

    assert answer["model"] == model.served_name
    assert answer["system_fingerprint"].startswith(f"vllm-{install.VERSION}")
    assert answer["usage"]["completion_tokens"] > 0


def test_oms_check_finds_nothing_wrong_with_it(example: Stack) -> None:
    code, document = example.smoke(seconds=SECONDS)

    assert (code, told(document, "fail")) == (0, [])
    validated = {check["model"] for check in document["checks"] if check["step"] == "validate"}
    assert validated >= example.outputs.models.keys()
