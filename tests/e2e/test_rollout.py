"""From one changed byte of the weights to pods that serve it: a new digest, a rollout, and nothing of the old one."""

import pytest

from oci_model_serving.outputs import ModelOutput
from tests.e2e.conftest import SECONDS, Node
from tests.e2e.server.vllm.entrypoints.openai.api_server import fingerprint
from tests.e2e.stack import Stack
from tests.integration.cluster import wait_for
from watch.causes import NotHeldError
from watch.pods import pods_of
from watch.pulling import PullProgress
from watch.running import running_digest

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]


def digests_that_run(node: Node, model: ModelOutput) -> set[str]:
    """Of all the model's pods; no digest while there are some that cannot be asked yet, or no longer."""
    pods = pods_of(node.api, model, going=True)
    if any(pod["metadata"].get("deletionTimestamp") for pod in pods):
        return {"going"}
    try:
        return {digest for pod in pods for digest in running_digest(node.api, pod, model).digests}
    except NotHeldError:
        return {"starting"}


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
    assert code == 0, [check for check in document["checks"] if check["status"] == "fail"]
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


def test_a_node_tells_how_much_its_disk_has_taken_of_a_pull(node: Node) -> None:
    (name,) = [one["metadata"]["name"] for one in node.api.items("/api/v1/nodes")]

    assert "of about 2.0 GB written" in PullProgress(node.api).told(name, 1_000_000_000)
