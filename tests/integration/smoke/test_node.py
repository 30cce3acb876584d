"""The steps that need pods, on a real node: kubelet, containerd and a registry; controller and webhook are played."""

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import modelimage
from oci_model_serving.delivery import KSERVE, KUBEAI, Delivery
from oci_model_serving.outputs import ModelOutput, parse
from oci_model_serving.reference import ImageReference
from oms.main import main
from smoke import manifests
from smoke.checks import Check, Status
from smoke.deployed import deployed
from smoke.scratch import scratch
from smoke.stack import ServedModel, select
from tests.integration import cluster, controllers, kubelet, webhook
from tests.smoke import stacks
from watch.causes import NotHeldError
from watch.image import check_image, files_of
from watch.kube import KubeApi, namespaced
from watch.rollout import wait_for_pods

pytestmark = [pytest.mark.integration, pytest.mark.node, pytest.mark.xdist_group("cluster")]

BUSYBOX = Path("/bin/busybox")
SECONDS = 90
SCRATCH = "app.kubernetes.io/managed-by=smoke"

# Answers as an OpenAI API with nothing but a shell: one request a connection, as `nc` hands it over.
ANSWER = """
read -r method path rest
while read -r line; do line=$(echo "$line" | tr -d '\\r'); [ -z "$line" ] && break
case "$line" in [Cc]ontent-[Ll]ength:*) length=${line#*: };; esac; done
body=$(head -c "${length:-0}")
kind=application/json
case "$path $body" in
*/v1/models*) text='{"data": [{"id": "NAME"}]}';;
*stream*) kind=text/event-stream
text='data: {"choices": [{"delta": {"content": "pong"}}]}

data: [DONE]

';;
*) text='{"choices": [{"message": {"content": "pong"}}], "system_fingerprint": "shell"}';;
esac
printf 'HTTP/1.1 200 OK\\r\\nContent-Type: %s\\r\\nConnection: close\\r\\n\\r\\n%s' "$kind" "$text"
"""
SERVE = """
until [ -n "$(ls -A /mnt/models/ 2>/dev/null)" ]; do sleep 0.2; done
echo "serving $(ls /mnt/models/ | wc -l) files"
while :; do nc -l -p 8080 -e sh -c "$ANSWER"; done
"""


@dataclass(frozen=True)
class Node:
    """A running node: the admin's kubeconfig, and one whose server can also exec."""

    admin: Path
    kubeconfig: Path
    api: KubeApi


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if not BUSYBOX.exists():
        pytest.skip("no /bin/busybox: install busybox-static")
    with (
        cluster.api_server(node=True) as admin,
        kubelet.front(admin, tmp_path_factory.mktemp("front")) as kubeconfig,
    ):
        api = KubeApi(kubeconfig)
        yield Node(admin, kubeconfig, api)
        api.close()


@pytest.fixture(scope="module")
def image(node: Node, tmp_path_factory: pytest.TempPathFactory) -> ImageReference:
    """A tiny model above a busybox, in the cluster's registry."""
    folder = tmp_path_factory.mktemp("image")
    base = modelimage.write_base(str(folder / "base"), str(BUSYBOX))
    modelimage.write_tiny_model(str(folder / "model"))
    destination = f"{cluster.REGISTRY}/smoke-{secrets.token_hex(4)}"
    packed = modelimage.pack(str(folder / "model"), destination, base=base.reference, cache=folder / "cache")
    return ImageReference.parse(packed.reference)


@pytest.fixture(scope="module")
def bare_image(node: Node, tmp_path_factory: pytest.TempPathFactory) -> ImageReference:
    """The same without a base: no shell."""
    folder = tmp_path_factory.mktemp("bare")
    modelimage.write_tiny_model(str(folder / "model"))
    destination = f"{cluster.REGISTRY}/smoke-{secrets.token_hex(4)}"
    packed = modelimage.pack(str(folder / "model"), destination, cache=folder / "cache")
    return ImageReference.parse(packed.reference)


def deliver(node: Node, model: ServedModel, image: ImageReference, server: ImageReference, seconds: float) -> Check:
    (found,) = scratch(node.api, [model], image, str(server), timeout=seconds, tell=lambda _: None)
    return found


@pytest.fixture
def nothing_left(node: Node) -> Iterator[None]:
    """Every scratch namespace that a test made is being deleted when it ends."""

    def active() -> set[str]:
        found = [ns for ns in node.api.items("/api/v1/namespaces") if ns["status"]["phase"] == "Active"]
        return {ns["metadata"]["name"] for ns in found if ns["metadata"]["name"].startswith("modelcar-smoke-")}

    before = active()
    yield
    assert active() - before == set()


def test_the_registry_tells_the_image_its_tag_and_its_files(node: Node, image: ImageReference) -> None:
    assert image.digest in check_image(image)

    found = files_of(image)

    assert found.complete
    assert {"config.json", "tokenizer.json"} <= set(found.sizes)
    assert sum(name.endswith(".safetensors") for name in found.sizes) == 2


@pytest.mark.usefixtures("nothing_left")
def test_an_image_volume_of_the_digests_tag_shows_every_file(node: Node, image: ImageReference) -> None:
    found = deliver(node, stacks.model("kubeai"), image, image, SECONDS)

    assert found.status is Status.PASS, found


def test_an_image_without_a_shell_is_delivered_as_a_volume(
    node: Node, image: ImageReference, bare_image: ImageReference
) -> None:
    assert deliver(node, stacks.model("kubeai"), bare_image, image, SECONDS).status is Status.PASS


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_kserves_deliveries_show_every_file(node: Node, image: ImageReference, delivery: str) -> None:
    name = f"scratch-{secrets.token_hex(4)}"
    with (
        webhook.pod_webhook(node.admin, name, also=manifests.LABELS),
        controllers.playing(node.admin, selector=SCRATCH),
    ):
        found = deliver(node, stacks.model(delivery), image, image, SECONDS)

    assert found.status is Status.PASS, found
    assert found.name == delivery


@pytest.mark.usefixtures("nothing_left")
def test_a_modelcar_without_a_shell_ends_in_its_diagnosis(
    node: Node, image: ImageReference, bare_image: ImageReference
) -> None:
    name = f"scratch-{secrets.token_hex(4)}"
    with (
        webhook.pod_webhook(node.admin, name, also=manifests.LABELS),
        controllers.playing(node.admin, selector=SCRATCH),
    ):
        found = deliver(node, stacks.model("modelcar"), bare_image, image, 15)

    assert found.status is Status.FAIL
    assert "no-shell" in [cause.code for cause in found.causes]


@pytest.mark.usefixtures("nothing_left")
def test_a_digest_that_is_not_there_ends_in_its_diagnosis(node: Node, image: ImageReference) -> None:
    absent = ImageReference(image.repository, stacks.DIGEST)

    found = deliver(node, stacks.model("kubeai"), absent, image, 10)

    assert found.status is Status.FAIL
    # KubeAI pulls by the tag that spells the digest.
    assert [cause.code for cause in found.causes] == ["digest-tag-not-found"]


@pytest.mark.usefixtures("nothing_left")
def test_an_interrupt_removes_the_scratch_namespace(node: Node, image: ImageReference) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(scratch(node.api, [stacks.model("kubeai")], image, str(image), timeout=SECONDS, tell=interrupt))


@pytest.fixture
def served(node: Node, image: ImageReference) -> Iterator[dict[str, Any]]:
    """A model on the node, by modelcar, with an OpenAI-shaped server: the outputs that its stack would have."""
    with (
        cluster.namespace(node.admin, "smoke-test") as namespace,
        webhook.pod_webhook(node.admin, namespace),
        controllers.playing(node.admin, selector=f"test={namespace}"),
    ):
        runtime = manifests.scratch_runtime(str(image))
        container = runtime["spec"]["containers"][0]
        container["command"] = ["sh", "-c", SERVE]
        container["env"] = [
            {"name": "ANSWER", "value": ANSWER.replace("NAME", stacks.KEY)},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "TRANSFORMERS_OFFLINE", "value": "1"},
        ]
        service = manifests.inference_service(
            stacks.NAME, Delivery.MODELCAR.uri(image), runtime=runtime["metadata"]["name"]
        )
        service["metadata"]["labels"] = {"test": namespace}
        service["spec"]["predictor"]["serviceAccountName"] = stacks.NAME
        policy = {
            "metadata": {"name": stacks.NAME},
            "spec": {"podSelector": {"matchLabels": {webhook.LABEL: stacks.NAME}}, "policyTypes": ["Egress"]},
        }
        around = {
            ("v1", "serviceaccounts"): {},
            ("policy/v1", "poddisruptionbudgets"): {"spec": {"minAvailable": 0, "selector": {}}},
        }
        for (version, plural), body in around.items():
            node.api.create(namespaced(version, namespace, plural), {"metadata": {"name": stacks.NAME}, **body})
        node.api.create(namespaced("apps/v1", namespace, "deployments"), controller(image))
        node.api.create(namespaced(manifests.RUNTIME_API, namespace, "servingruntimes"), runtime)
        node.api.create(namespaced("networking.k8s.io/v1", namespace, "networkpolicies"), policy)
        node.api.create(namespaced(KSERVE.api_version, namespace, "inferenceservices"), service)
        path = namespaced(KSERVE.api_version, namespace, "inferenceservices", stacks.NAME)

        def ready() -> bool:
            conditions = node.api.get(path).get("status", {}).get("conditions") or []
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        cluster.wait_for(ready, SECONDS)
        where = namespaced("apps/v1", namespace, "deployments", "kserve-controller-manager")
        cluster.wait_for(lambda: node.api.get(where)["status"].get("availableReplicas"), SECONDS)
        outputs = stacks.raw_outputs(
            "modelcar",
            image=str(image),
            digest=image.digest,
            storage_uri=Delivery.MODELCAR.uri(image),
            namespace=namespace,
            url=f"http://{stacks.NAME}-predictor.{namespace}.svc.cluster.local",
            size_bytes=1_000_000,
            node_pool=None,
        )
        outputs["platforms"] = {"kserve": {"version": "v0.20.0", "namespace": namespace, "gateway": "none"}}
        yield outputs


def controller(image: ImageReference) -> dict[str, Any]:
    """What stands for the Deployment of KServe's controller, which `controllers` plays outside of the cluster."""
    name = "kserve-controller-manager"
    sleeping = {"name": "manager", "image": str(image), "command": ["sleep", "3600"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [sleeping]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}}


def command(node: Node, served: dict[str, Any], folder: Path, *arguments: str) -> int:
    outputs = folder / "outputs.json"
    outputs.write_text(json.dumps({**served, "kubeconfig": node.kubeconfig.read_text()}))
    given = arguments if arguments and not arguments[0].startswith("--") else ("check", *arguments)
    return main([given[0], "--stack", "test", "--outputs", str(outputs), "--timeout", str(SECONDS), *given[1:]])


def test_the_whole_command_holds_on_a_node(
    node: Node, served: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command(node, served, tmp_path, "--on-demand", "connection")

    out = capsys.readouterr().out
    assert code == 0, out
    # These objects are not a stack's: nothing is enforced, nobody's Google account is asked for, and no vLLM answers.
    skipped = re.search(r"0 failed, \d+ skipped \((.*)\)", out)
    assert skipped, out
    assert {one.partition("/")[0].strip() for one in skipped[1].split(",")} == {"preflight", "deployed", "allowed"}
    assert "deployed/features" in skipped[1]
    assert "system_fingerprint shell" in out


def test_a_cold_start_on_a_node_has_its_figures(
    node: Node, served: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command(node, served, tmp_path, "coldstart", "--json")

    document = json.loads(capsys.readouterr().out)
    assert code == 0, document
    figures = document["coldstart"][stacks.KEY]
    known = ("controller", "node_provision", "image_pull", "container_start", "server_start", "endpoint", "total")
    assert all(figures[phase] is not None for phase in known)
    assert figures["total"] > 0
    assert not figures["node_is_new"]


def test_a_pod_of_another_digest_fails(node: Node, served: dict[str, Any]) -> None:
    model = served["models"][stacks.KEY]
    image = model["image"].replace(model["digest"], stacks.DIGEST)
    other = parse({**served, "models": {stacks.KEY: {**model, "image": image, "digest": stacks.DIGEST}}})

    found = {check.name: check for check in deployed(node.api, other, select(other, []))}

    assert found["digest"].status is Status.FAIL
    assert served["models"][stacks.KEY]["digest"] in found["digest"].evidence


def pod_of(model: ModelOutput, image: ImageReference, fault: str) -> dict[str, Any]:
    """A pod as KubeAI makes it for the model, with something wrong."""
    by_tag = f"{model.reference.repository}:{model.reference.digest_tag}"
    command = ["sh", "-c", "sleep 2; echo no such flag >&2; exit 1" if fault == "crash loop" else "sleep 3600"]
    pod = manifests.image_volume_pod(model.name, by_tag, image=str(image), command=command)
    pod["metadata"]["labels"] = {KUBEAI.pod_label: model.name}
    (container,) = pod["spec"]["containers"]
    if fault == "crash loop":
        container["readinessProbe"] = {"exec": {"command": ["false"]}}
    container["env"] = [{"name": "OCI_MODEL_SERVING_REVISION", "value": model.revision}]
    if fault == "no secret":
        container["envFrom"] = [{"secretRef": {"name": "gone"}}]
    if fault == "stray crash":
        pod["spec"]["volumes"].append({"name": "seen", "emptyDir": {}})
        container["volumeMounts"].append({"name": "seen", "mountPath": "/seen"})
        container["command"] = ["sh", "-c", "[ -e /seen/once ] || { touch /seen/once; exit 1; }; exec sleep 3600"]
    return pod


@pytest.mark.parametrize(
    ("fault", "code"), [("wrong digest", "digest-tag-not-found"), ("no secret", None), ("crash loop", "crash-server")]
)
def test_a_start_that_cannot_succeed_ends_within_a_minute_of_its_first_sign(
    node: Node, image: ImageReference, fault: str, code: str | None
) -> None:
    reference = ImageReference(image.repository, stacks.DIGEST) if fault == "wrong digest" else image
    with cluster.namespace(node.admin, "smoke-test") as namespace:
        given = {"image": str(reference), "digest": reference.digest, "revision": "now", "namespace": namespace}
        model = stacks.model("kubeai", **given).output
        node.api.create(namespaced("v1", namespace, "pods"), pod_of(model, image, fault))
        seen: list[tuple[float, str]] = []

        with pytest.raises(NotHeldError, match="keeps failing") as failure:
            wait_for_pods(node.api, model, timeout=300, tell=lambda line: seen.append((time.monotonic(), line)))
        first = next(at for at, line in seen if any(sign in line for sign in ("Err", "Back", "restart", "Error")))

    assert time.monotonic() - first < 60
    if code:
        assert [cause.code for cause in failure.value.causes] == [code]
    assert failure.value.remedy


def test_one_stray_crash_does_not_end_the_wait(node: Node, image: ImageReference) -> None:
    with cluster.namespace(node.admin, "smoke-test") as namespace:
        given = {"image": str(image), "digest": image.digest, "revision": "now", "namespace": namespace}
        model = stacks.model("kubeai", **given).output
        node.api.create(namespaced("v1", namespace, "pods"), pod_of(model, image, "stray crash"))

        (pod,) = wait_for_pods(node.api, model, timeout=SECONDS)

    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
