"""From one changed byte of the weights to pods that serve it: a new digest, a rollout, and nothing of the old one."""

import pytest

from oci_model_serving.outputs import ModelOutput
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.server.vllm.entrypoints.openai.api_server import fingerprint
from tests.e2e.stack import Stack
from tests.integration.cluster import wait_for
from watch.pods import pods_of, running_digests

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]


def digests_that_run(node: Node, model: ModelOutput) -> set[str]:
    """Of all the model's pods, those included that are going."""
    pods = pods_of(node.api, model, going=True)
    return {digest for pod in pods for digest in running_digests(pod, model)}


def test_a_changed_weight_file_is_a_new_digest_that_replaces_the_old_pods(node: Node, volumes: Stack) -> None:
    before = volumes.outputs.models
    shard = min(volumes.weights.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)

    after = volumes.up().models

    for key, model in after.items():
        assert model.digest != before[key].digest
        wait_for(lambda model=model: digests_that_run(node, model) == {model.digest}, SECONDS)
    code, document = volumes.smoke("--only", "deployed", "--only", "validate")
    assert code == 0, document
    chats = [check["evidence"] for check in document["checks"] if check["name"] == "chat"]
    assert all(fingerprint(volumes.weights) in chat for chat in chats)


def test_the_same_weights_give_the_same_digest_and_leave_the_pods_alone(node: Node, volumes: Stack) -> None:
    def pods() -> set[str]:
        found = [pods_of(node.api, model, going=True) for model in volumes.outputs.models.values()]
        return {pod["metadata"]["uid"] for some in found for pod in some}

    before, running = volumes.outputs.models, pods()

    after = volumes.up().models

    assert {key: model.digest for key, model in after.items()} == {key: model.digest for key, model in before.items()}
    assert pods() == running
