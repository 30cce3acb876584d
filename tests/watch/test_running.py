"""Which image runs is read from the node and the pod's status, never from the spec that we wrote."""

from typing import Any

import pytest

from oci_model_serving.outputs import AdapterOutput, ModelOutput
from tests.recorded_api import RecordedApi
from tests.smoke import stacks
from watch import running
from watch.causes import NotHeldError
from watch.kube import Executed, KubeApi
from watch.running import running_adapter, running_digest

OTHER = "sha256:" + "b" * 64
NODE = "/api/v1/nodes/n-1"
TAG = stacks.URIS["kubeai"].removeprefix("oci://")
SHA = "f" * 64


def volume_status(image_ref: str) -> dict[str, Any]:
    return {"name": "model", "mountPath": "/mnt/models", "volumeStatus": {"image": {"imageRef": image_ref}}}


def with_status(delivery: str, image_ref: str) -> dict[str, Any]:
    pod = stacks.pod(delivery)
    pod["status"]["containerStatuses"][0]["volumeMounts"] = [volume_status(image_ref)]
    return pod


@pytest.mark.parametrize("delivery", ["native", "kubeai"])
@pytest.mark.parametrize("digest", [stacks.DIGEST, OTHER])
def test_the_pods_status_tells_where_the_server_has_it(api: KubeApi, delivery: str, digest: str) -> None:
    pod = with_status(delivery, f"{stacks.REPOSITORY}@{digest}")

    found = running_digest(api, pod, stacks.model(delivery).output)

    assert found.digests == {digest}
    assert "status" in found.evidence


def test_a_tag_that_the_node_resolved_to_another_digest_is_that_digest(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.objects[NODE] = stacks.node([TAG, f"{stacks.REPOSITORY}@{OTHER}"])

    found = running_digest(api, stacks.pod("kubeai"), stacks.model("kubeai").output)

    assert found.digests == {OTHER}
    assert "node n-1" in found.evidence


def test_an_image_that_has_two_names_on_the_node_is_ours_if_one_of_them_is(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.objects[NODE] = stacks.node([f"{stacks.REPOSITORY}-again@{OTHER}", stacks.IMAGE])

    assert running_digest(api, stacks.pod("native"), stacks.model("native").output).digests == {stacks.DIGEST}


@pytest.fixture
def unlisted(cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose list does not have the image, and a registry that has its files."""
    cluster.objects[NODE] = stacks.node(["r.example/other@sha256:" + "e" * 64])
    monkeypatch.setattr(running, "checksums_of", lambda _, length: {"b.safetensors": SHA, "a.json": "0" * 64})


@pytest.mark.usefixtures("unlisted")
def test_else_every_file_in_the_pod_is_compared_with_the_images_own(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def execute(_namespace: str, _pod: str, _container: str, command: list[str], **_: object) -> Executed:
        asked.append(command)
        return Executed(0, f"{'0' * 64}  -\n{SHA}  -\n", "")

    monkeypatch.setattr(api, "execute", execute)

    found = running_digest(api, stacks.pod("native"), stacks.model("native").output)

    assert found.digests == {stacks.DIGEST}
    assert "the first 1 MiB of each of its 2 files" in found.evidence
    assert asked[0][-3:] == ["1048576", "/mnt/models/a.json", "/mnt/models/b.safetensors"]


@pytest.mark.usefixtures("unlisted")
@pytest.mark.parametrize(
    ("done", "said"),
    [
        (Executed(0, f"{'0' * 64}  -\n{'1' * 64}  -\n", ""), "b.safetensors in p-1 is not as in"),
        (Executed(127, "", "sha256sum: not found"), "sha256sum: not found"),
        (Executed(1, f"{'0' * 64}  -\n", ""), "nothing shows which image"),
        (Executed(0, "", ""), "nothing shows which image"),
    ],
)
def test_a_file_that_differs_or_cannot_be_read_is_no_evidence(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch, done: Executed, said: str
) -> None:
    monkeypatch.setattr(api, "execute", lambda *_, **__: done)

    with pytest.raises(NotHeldError, match=said):
        running_digest(api, stacks.pod("native"), stacks.model("native").output)


@pytest.mark.parametrize("delivery", ["native", "kubeai"])
def test_a_reference_that_spells_another_digest_is_enough_to_say_no(api: KubeApi, delivery: str) -> None:
    new = stacks.model(delivery, digest=OTHER, image=f"{stacks.REPOSITORY}@{OTHER}").output

    assert running_digest(api, stacks.pod(delivery), new).digests == {stacks.DIGEST}


def test_a_pod_without_any_image_of_the_model_runs_none(api: KubeApi) -> None:
    pod = stacks.pod("native")
    pod["spec"]["volumes"] = []

    assert running_digest(api, pod, stacks.model("native").output).digests == frozenset()


# Adapters.

ADAPTER = "us-central1-docker.pkg.dev/demo/models/qwen-sql"


def with_adapter(delivery: str, reference: str = f"{ADAPTER}@{OTHER}") -> tuple[dict[str, Any], ModelOutput]:
    pod = stacks.pod(delivery)
    pod["spec"].setdefault("volumes", []).append({"name": "adapter-sql", "image": {"reference": reference}})
    image = {"image": f"{ADAPTER}@{OTHER}", "digest": OTHER, "size_bytes": 1}
    return pod, stacks.model(delivery, adapters={"sql": image}).output


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_an_adapters_volume_is_told_by_its_node(api: KubeApi, cluster: RecordedApi, delivery: str) -> None:
    cluster.objects[NODE] = stacks.node([f"{ADAPTER}@{OTHER}"])
    pod, model = with_adapter(delivery)

    assert running_adapter(api, pod, model, "sql").digests == {OTHER}


def test_another_adapter_in_the_volume_is_enough_to_say_no(api: KubeApi) -> None:
    pod, model = with_adapter("modelcar", f"{ADAPTER}@{stacks.DIGEST}")

    assert running_adapter(api, pod, model, "sql").digests == {stacks.DIGEST}


def test_a_pod_without_the_adapters_volume_runs_none(api: KubeApi) -> None:
    _, model = with_adapter("native")

    assert running_adapter(api, stacks.pod("native"), model, "sql").digests == frozenset()


def test_the_status_of_one_volume_says_nothing_of_another(api: KubeApi, cluster: RecordedApi) -> None:
    pod, model = with_adapter("native", f"{stacks.REPOSITORY}@{OTHER}")  # in the model's own repository
    image = {"image": f"{stacks.REPOSITORY}@{OTHER}", "digest": OTHER, "size_bytes": 1}
    model = model.model_copy(update={"adapters": {"sql": AdapterOutput.model_validate(image)}})
    names = [volume["name"] for volume in pod["spec"]["volumes"] if "image" in volume]
    digests = [stacks.DIGEST, OTHER]
    pod["status"]["containerStatuses"][0]["volumeMounts"] = [
        {**volume_status(f"{stacks.REPOSITORY}@{digest}"), "name": name}
        for name, digest in zip(names, digests, strict=True)
    ]

    assert running_digest(api, pod, model).digests == {stacks.DIGEST}
    assert running_adapter(api, pod, model, "sql").digests == {OTHER}


@pytest.mark.usefixtures("unlisted")
def test_else_an_adapters_files_are_compared_where_the_server_finds_them(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def execute(_namespace: str, _pod: str, _container: str, command: list[str], **_: object) -> Executed:
        asked.append(command)
        return Executed(0, f"{'0' * 64}  -\n{SHA}  -\n", "")

    monkeypatch.setattr(api, "execute", execute)
    pod, model = with_adapter("modelcar")

    assert running_adapter(api, pod, model, "sql").digests == {OTHER}
    assert asked[0][-2:] == ["/adapters/sql/a.json", "/adapters/sql/b.safetensors"]


STREAMED = f"{stacks.path_of_pods()}/p-1:9701/proxy/image"


def streamed(cluster: RecordedApi, **said: Any) -> None:
    layers = {"by_list": 2, "whole": 0, "unverified": 0}
    answer = {"image": stacks.IMAGE, "digest": stacks.DIGEST, "files": 3, "size_bytes": 9, "layers": layers, **said}
    cluster.answers["GET", STREAMED] = (200, answer)


def test_a_sidecar_says_what_it_serves_and_how_that_was_verified(api: KubeApi, cluster: RecordedApi) -> None:
    streamed(cluster)

    found = running_digest(api, stacks.pod("stream"), stacks.model("stream").output)

    assert found.digests == {stacks.DIGEST}
    assert found.evidence == "its sidecar, verified by each chunk by the image's own list"


def test_a_sidecar_that_has_not_verified_all_layers_says_so(api: KubeApi, cluster: RecordedApi) -> None:
    streamed(cluster, layers={"by_list": 0, "whole": 2, "unverified": 1})

    found = running_digest(api, stacks.pod("stream"), stacks.model("stream").output)

    assert "whole layers, 1 layers left" in found.evidence


@pytest.mark.parametrize(
    "said",
    [
        {"digest": OTHER, "image": f"{stacks.REPOSITORY}@{OTHER}"},
        {"image": f"registry.invalid/qwen@{stacks.DIGEST}"},
    ],
)
def test_a_sidecar_of_another_image_is_not_the_models(api: KubeApi, cluster: RecordedApi, said: dict[str, Any]) -> None:
    streamed(cluster, **said)

    assert running_digest(api, stacks.pod("stream"), stacks.model("stream").output).digests != {stacks.DIGEST}


def test_a_pod_without_its_sidecar_runs_none_of_the_image(api: KubeApi) -> None:
    assert running_digest(api, stacks.pod("native"), stacks.model("stream").output).digests == frozenset()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {"digest": 1}), "does not say what it serves"),
        ((200, {"digest": "sha256:\x1b[2J", "layers": {}}), "does not say what it serves"),
        ((200, {"digest": stacks.DIGEST, "layers": "all"}), "does not say what it serves"),
        ((403, {"kind": "Status", "message": "pods/proxy is forbidden"}), "pods/proxy is forbidden"),
        ((503, {"kind": "Status", "message": "error trying to reach service"}), "error trying to reach service"),
    ],
)
def test_a_sidecar_that_cannot_be_asked_is_no_evidence(
    api: KubeApi, cluster: RecordedApi, answer: tuple[int, Any], said: str
) -> None:
    cluster.answers["GET", STREAMED] = answer

    with pytest.raises(NotHeldError, match=said):
        running_digest(api, stacks.pod("stream"), stacks.model("stream").output)
