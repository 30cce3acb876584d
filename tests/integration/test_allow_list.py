"""What the cluster refuses and takes in the namespaces of models, by the policies that the program makes.

The stack's policies, bindings and lists are on a real API server; pods and serving objects are sent as dry runs.
"""

import copy
import json
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from components.serving.admission_rules import LISTED
from oci_model_serving.reference import digest_tag
from smoke.allowed import allowed
from smoke.checks import Status
from tests import serving
from tests.integration import cluster, kserve, kubeai, webhook
from tests.mocks import DIGEST, Recording, plain
from tests.smoke import stacks
from watch.admitted import wait_until_taken
from watch.causes import NotHeldError
from watch.complaints import Case
from watch.diagnosis import diagnose
from watch.kube import KubeApi, api_root

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]
JSON = dict[str, Any]
SERVER = "registry.example/vllm@sha256:" + "a" * 64
ADAPTER = "registry.example/models/style@sha256:" + "b" * 64
OTHER = "registry.example/models/qwen@sha256:" + "c" * 64
FOREIGN = serving.IMAGE.replace("registry.example", "registry.foreign")
TAG = "registry.example/models/qwen:v1"
SIDECAR = "registry.example/mesh/proxy:1.2"
PLURALS = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "Namespace": "namespaces"}
PLURALS["ValidatingAdmissionPolicyBinding"] = "validatingadmissionpolicybindings"
POLICIES = PLURALS.keys() - {"Namespace"}
OWN = ("modelcar", "native", "stream", "kubeai")


@dataclass
class Stack:
    """A stack's own objects, and the cluster that holds them to its policies."""

    api: httpx.Client
    recording: Recording
    namespaces: dict[str, str]
    values: JSON

    def named(self, kind: str, name: str) -> JSON:
        """An object of the program."""
        found = serving.of_kind(self.recording, kind)
        return copy.deepcopy(next(one for one in found if one["metadata"]["name"] == name))

    def pod(self, delivery: str) -> JSON:
        """A model's pod as its platform's controller and webhook make it."""
        if delivery == "kubeai":
            model = self.named("Model", "kubeai")
            model["metadata"]["uid"] = "1"
            made = kubeai.Controller(self.values).pod(model)
            del made["metadata"]["ownerReferences"]
            return self.placed(made, "kubeai")
        service = self.named("InferenceService", delivery)
        service["metadata"]["uid"] = "1"
        runtime = self.named("ServingRuntime", "vllm")["spec"]
        template = kserve.deployment(service, runtime)["spec"]["template"]
        source = service["spec"]["predictor"]["model"].get("storageUri")
        template["metadata"].setdefault("annotations", {}).update({webhook.ANNOTATION: source} if source else {})
        return self.placed(webhook.mutate(template), "kserve")

    def placed(self, pod: JSON, platform: str) -> JSON:
        """A pod of the platform's namespace, which needs no account that is not there."""
        pod = copy.deepcopy(pod)
        pod["spec"].pop("serviceAccountName", None)
        pod["metadata"] = {
            "name": "tried",
            "namespace": self.namespaces[platform],
            "labels": pod["metadata"].get("labels", {}),
        }
        return {"apiVersion": "v1", "kind": "Pod", **pod}

    def send(self, body: JSON, *, dry: bool = True) -> str:
        """What the API server says against an object; "" where it takes it."""
        plural = {"Pod": "pods", "InferenceService": "inferenceservices", "Model": "models"}[body["kind"]]
        path = f"{api_root(body['apiVersion'])}/namespaces/{body['metadata']['namespace']}/{plural}"
        answer = self.api.post(path, params={"dryRun": "All"} if dry else {}, json=body)
        return "" if answer.is_success else str(answer.json()["message"])


@pytest.fixture(scope="module")
def stack(api: httpx.Client, kubeconfig: Path) -> Iterator[Stack]:
    with ExitStack() as undo:
        names = {
            platform: undo.enter_context(cluster.namespace(kubeconfig, f"allow-{platform}"))
            for platform in ("kserve", "kubeai")
        }
        recording = program(names)
        for body in serving.objects(recording):
            if body["kind"] == "Namespace" and body["metadata"]["name"] in names.values():
                put(api, {**body, "metadata": {key: body["metadata"][key] for key in ("name", "annotations")}})
            elif body["kind"] in POLICIES:
                undo.callback(api.delete, put(api, body))
        values = plain(recording.only("kubernetes:helm.sh/v3:Release", "kubeai").inputs["values"])
        made = Stack(api, recording, names, dict(values))
        for delivery in OWN:
            pod = made.pod(delivery)
            pod["spec"]["hostNetwork"] = True
            cluster.wait_for(lambda pod=pod: "hostNetwork" in made.send(pod))
            cluster.wait_for(lambda delivery=delivery: not made.send(made.pod(delivery)), 10)
        yield made


def program(names: dict[str, str], digest: str = DIGEST) -> Recording:
    server = {"image": SERVER, "cpuImage": SERVER}
    image = serving.IMAGE.replace(DIGEST, digest)
    models: dict[str, JSON] = {
        "modelcar": {"digest": image, "delivery": "modelcar", "nodePool": "l4", "warm": "prepull"},
        "native": {"digest": image, "delivery": "native", "nodePool": "l4", "adapters": {"style": {"digest": ADAPTER}}},
        "stream": {"digest": image, "delivery": "stream", "nodePool": "l4", "warm": "prepull"},
        "kubeai": {"digest": image, "delivery": "kubeai", "nodePool": "l4", "warm": "prepull"},
    }
    platforms = {
        "kserve": {"modelNamespace": names["kserve"], "server": server},
        "kubeai": {"version": "0.24.0", "namespace": names["kubeai"], "server": server},
    }
    listed = {"cluster": {"create": {"name": "demo"}, "allowList": {"images": [SIDECAR]}}}
    return serving.run(serving.gke(models, platforms=platforms, **listed))


def put(api: httpx.Client, body: JSON) -> str:
    path = f"{api_root(body['apiVersion'])}/{PLURALS[body['kind']]}/{body['metadata']['name']}"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    params = {"fieldManager": "test", "fieldValidation": "Strict"}
    answer = api.patch(path, params=params, headers=headers, content=json.dumps(body))
    assert answer.is_success, answer.text
    return path


def annotations(stack: Stack, namespace: str) -> dict[str, str]:
    return dict(stack.api.get(f"/api/v1/namespaces/{namespace}").json()["metadata"]["annotations"])


def mount(reference: str) -> Callable[[JSON], None]:
    def change(pod: JSON) -> None:
        pod["spec"]["volumes"].append({"name": "other", "image": {"reference": reference}})

    return change


def image(reference: str, *, part: str = "containers") -> Callable[[JSON], None]:
    def change(pod: JSON) -> None:
        pod["spec"].setdefault(part, []).append({"name": "other", "image": reference})

    return change


def say(*words: str, where: str = "args") -> Callable[[JSON], None]:
    def change(pod: JSON) -> None:
        server = pod["spec"]["containers"][0]
        server[where] = [*(server.get(where) or []), *words]

    return change


def variable(name: str, value: str) -> Callable[[JSON], None]:
    return lambda pod: pod["spec"]["containers"][0].setdefault("env", []).append({"name": name, "value": value})


def host(field: str) -> Callable[[JSON], None]:
    return lambda pod: pod["spec"].update({field: True})


REFUSED: dict[str, tuple[Callable[[JSON], Any], str]] = {
    "a tag of the model as a volume": (mount(TAG), f"image volume {TAG} is not an image that the stack has verified"),
    "another digest as a volume": (mount(OTHER), f"image volume {OTHER} is not"),
    "a foreign registry with the same digest": (mount(FOREIGN), f"image volume {FOREIGN} is not"),
    "the server's tag as a volume": (mount(SIDECAR), f"image volume {SIDECAR} is not"),
    "a digest that a foreign tag spells": (mount(f"registry.foreign/models/qwen:{digest_tag(DIGEST)}"), "image volume"),
    "another image as a container": (image(OTHER), f"image {OTHER} is not one of the stack"),
    "a tag as an init container": (image("docker.io/library/busybox:1", part="initContainers"), "image docker.io"),
    "a privileged container": (
        lambda pod: pod["spec"]["containers"][0].update(
            securityContext={"privileged": True, "allowPrivilegeEscalation": True}
        ),
        "privileged",
    ),
    "a folder of the node": (
        lambda pod: pod["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/var/lib"}}),
        "hostPath",
    ),
    "the node's network": (host("hostNetwork"), "hostNetwork"),
    "the node's processes": (host("hostPID"), "hostPID"),
    "the node's IPC": (host("hostIPC"), "hostIPC"),
    "remote code": (say("--trust-remote-code"), "--trust-remote-code"),
    "remote code with a value": (say("--trust-remote-code=true"), "--trust-remote-code"),
    "remote code with lines below": (say("--trust_remote_code"), "--trust-remote-code"),
    "remote code, abbreviated": (say("--trust-rem"), "--trust-remote-code"),
    "remote code in a shell": (
        say("sh", "-c", "exec vllm serve /model --trust-remote-code; true", where="command"),
        "--trust-remote-code",
    ),
    "remote code in Python": (say("LLM('/model', trust_remote_code=True)"), "--trust-remote-code"),
    "remote code in JSON": (say('--hf-overrides={"trust_remote_code": true}'), "--trust-remote-code"),
    "remote code by a variable": (variable("TRUST_REMOTE_CODE", "true"), "--trust-remote-code"),
    "remote code in a variable": (variable("EXTRA_ARGS", "--seed 1 --trust-remote-code"), "--trust-remote-code"),
}


@pytest.mark.parametrize("delivery", OWN)
def test_our_own_pods_pass(stack: Stack, delivery: str) -> None:
    assert stack.send(stack.pod(delivery)) == ""


@pytest.mark.parametrize("of", ["prepull", "prepull-s"])
@pytest.mark.parametrize("delivery", ["modelcar", "stream", "kubeai"])
def test_our_own_prepull_pods_pass(stack: Stack, delivery: str, of: str) -> None:
    if (delivery, of) == ("stream", "prepull"):
        pytest.skip("of a streamed model there is the server's alone")
    template = stack.named("DaemonSet", f"{delivery}-{of}")["spec"]["template"]

    assert stack.send(stack.placed(template, "kubeai" if delivery == "kubeai" else "kserve")) == ""


def streamed(uri: str) -> Callable[[JSON], None]:
    def change(spec: JSON) -> None:
        spec["initContainers"][0]["args"][0] = uri

    return change


STREAMS = {
    "another digest": f"oci+stream://{OTHER}",
    "a tag": f"oci+stream://{TAG}",
    "a foreign registry with the same digest": f"oci+stream://{FOREIGN}",
    "a bucket": "s3://weights/qwen",
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_pod_whose_sidecar_streams_anything_else_is_refused(stack: Stack, name: str) -> None:
    pod = stack.pod("stream")

    streamed(STREAMS[name])(pod["spec"])

    assert "pulls what the stack has not verified" in stack.send(pod)


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "a bucket"])
def test_a_service_whose_sidecar_streams_anything_else_is_refused(stack: Stack, name: str) -> None:
    service = stack.named("InferenceService", "stream")
    service["metadata"] = {"name": "tried", "namespace": stack.namespaces["kserve"]}
    assert stack.send(service) == ""

    streamed(STREAMS[name])(service["spec"]["predictor"])

    assert "a sidecar streams what the stack has not verified" in stack.send(service)


@pytest.mark.parametrize("name", ["pod-modelcar.yaml", "pod-native.yaml"])
def test_pods_as_they_were_recorded_pass_with_the_stacks_images(stack: Stack, name: str) -> None:
    (recorded,) = yaml.safe_load((cluster.SHARED / "recorded" / name).read_text())["items"]
    text = json.dumps(recorded)
    for one in (*recorded["spec"]["containers"], *recorded["spec"].get("initContainers", [])):
        own = SERVER if one["name"] == "kserve-container" else serving.IMAGE
        text = text.replace(one["image"], own)
    for one in recorded["spec"]["volumes"]:
        if "image" in one:
            text = text.replace(one["image"]["reference"], serving.IMAGE)
    pod = json.loads(text)
    for key in ("nodeName", "serviceAccount", "priority", "preemptionPolicy"):
        pod["spec"].pop(key, None)
    pod.pop("status")

    assert stack.send(stack.placed(pod, "kserve")) == ""


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("delivery", ["native", "kubeai"])
def test_pods_with_anything_else_are_refused_with_what_to_do(stack: Stack, delivery: str, refused: str) -> None:
    change, message = REFUSED[refused]
    pod = stack.pod(delivery)

    change(pod)
    said = stack.send(pod)

    assert "oci-model-serving-allow-" in said
    assert message in said
    assert len(said) < 700


@pytest.mark.parametrize(
    "word", ["--trusted-hosts=a", "--trust-request-chat-template", "--no-trust-remote-code", "trust_remote_code=False"]
)
def test_words_that_only_look_alike_pass(stack: Stack, word: str) -> None:
    pod = stack.pod("native")

    say(word)(pod)

    assert stack.send(pod) == ""


def test_a_sidecar_that_the_settings_name_passes(stack: Stack) -> None:
    pod = stack.pod("native")

    image(SIDECAR)(pod)

    assert stack.send(pod) == ""


def test_kubeais_manager_passes_with_the_charts_image_and_no_pod_of_a_model_as_it(stack: Stack) -> None:
    secure = {"allowPrivilegeEscalation": False}
    spec = {"serviceAccountName": "kubeai", "containers": [{"name": "manager", "image": "docker.io/kubeai:v1"}]}
    spec["containers"][0]["securityContext"] = secure  # type: ignore[index]
    account = f"/api/v1/namespaces/{stack.namespaces['kubeai']}/serviceaccounts"
    stack.api.post(account, json={"metadata": {"name": "kubeai"}}).raise_for_status()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "manager", "namespace": stack.namespaces["kubeai"]},
        "spec": spec,
    }

    assert stack.send(pod) == ""
    pod["metadata"]["labels"] = {"model": "kubeai"}  # type: ignore[index]
    assert "is not one of the stack" in stack.send(pod)


@pytest.mark.parametrize(
    ("uri", "passes"),
    [
        (f"oci+native://{serving.IMAGE}", True),
        (f"oci://{serving.IMAGE}", True),
        (f"oci://{TAG}", False),
        (f"oci+native://{OTHER}", False),
        (f"oci+native://{FOREIGN}", False),
        ("hf://Qwen/Qwen2.5-0.5B-Instruct", False),
        ("s3://bucket/model", False),
    ],
)
def test_an_inference_service_names_a_digest_of_the_stack(stack: Stack, uri: str, passes: bool) -> None:
    service = stack.named("InferenceService", "native")

    service["spec"]["predictor"]["model"]["storageUri"] = uri
    said = stack.send(service)

    assert (said == "") is passes
    assert passes or f"storageUri {uri} does not name an image that the stack has verified" in said


@pytest.mark.parametrize(
    ("url", "passes"),
    [
        (f"oci://registry.example/models/qwen:{digest_tag(DIGEST)}", True),
        (f"oci://{TAG}", False),
        (f"oci://registry.example/models/qwen:{digest_tag('sha256:' + 'c' * 64)}", False),
        (f"oci://registry.foreign/models/qwen:{digest_tag(DIGEST)}", False),
        ("hf://Qwen/Qwen2.5-0.5B-Instruct", False),
    ],
)
def test_a_kubeai_model_names_a_digest_of_the_stack(stack: Stack, url: str, passes: bool) -> None:
    model = stack.named("Model", "kubeai")

    model["spec"]["url"] = url
    said = stack.send(model)

    assert (said == "") is passes
    assert passes or "does not name an image that the stack has verified" in said


def test_serving_objects_with_remote_code_or_another_server_are_refused(stack: Stack) -> None:
    model, service = stack.named("Model", "kubeai"), stack.named("InferenceService", "native")
    predictor = service["spec"]["predictor"]

    assert "--trust-remote-code" in stack.send({**model, "spec": {**model["spec"], "args": ["--trust-remote-code"]}})
    assert "is not one of the stack" in stack.send({**model, "spec": {**model["spec"], "image": OTHER}})
    predictor["model"]["args"].append("--trust_remote_code")
    assert "--trust-remote-code" in stack.send(service)
    predictor["model"]["args"].pop()
    predictor["model"]["image"] = OTHER
    assert "is not one of the stack" in stack.send(service)


def test_a_pod_of_before_can_end_and_takes_no_other_image_meanwhile(stack: Stack) -> None:
    namespace = stack.namespaces["kserve"]
    pod = stack.pod("native")
    pod["metadata"].update(name="before", finalizers=["example.com/held"])
    pods = f"/api/v1/namespaces/{namespace}/pods"
    assert stack.send(pod, dry=False) == ""
    merge = {"Content-Type": "application/merge-patch+json"}
    path = f"/api/v1/namespaces/{namespace}"
    kept = {key: image for key, image in annotations(stack, namespace).items() if key.startswith(LISTED)}
    nothing = json.dumps({"metadata": {"annotations": dict.fromkeys(kept)}})
    try:
        stack.api.patch(path, headers=merge, content=nothing).raise_for_status()
        cluster.wait_for(lambda: bool(stack.send(stack.pod("native"))), 10)
        debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "docker.io/library/busybox:1"}]}}
        strategic = {"Content-Type": "application/strategic-merge-patch+json"}
        refused = stack.api.patch(f"{pods}/before/ephemeralcontainers", headers=strategic, content=json.dumps(debug))
        freed = stack.api.patch(f"{pods}/before", headers=merge, content=json.dumps({"metadata": {"finalizers": None}}))
    finally:
        stack.api.patch(path, headers=merge, content=json.dumps({"metadata": {"annotations": kept}})).raise_for_status()
        stack.api.patch(f"{pods}/before", headers=merge, content=json.dumps({"metadata": {"finalizers": None}}))
        stack.api.delete(f"{pods}/before", params={"gracePeriodSeconds": "0"})
        cluster.wait_for(lambda: not stack.send(stack.pod("native")), 10)

    assert "is not one of the stack" in refused.json()["message"]
    assert freed.is_success, freed.text


@pytest.mark.parametrize("delivery", OWN)
def test_the_smoke_step_sees_that_it_holds(stack: Stack, kubeconfig: Path, delivery: str) -> None:
    namespace = stack.namespaces["kubeai" if delivery == "kubeai" else "kserve"]
    model = stacks.model(delivery, namespace=namespace, image=serving.IMAGE, digest=DIGEST)
    api = KubeApi(kubeconfig)

    found = list(allowed(api, [model]))
    api.close()

    assert [(one.name, one.evidence) for one in found if one.status is not Status.PASS] == []
    assert {one.name for one in found} == {"policies", "own image", "a tag", "another digest", "another registry"}


def test_a_refused_pod_is_told_with_what_to_do(stack: Stack) -> None:
    pod = stack.pod("native")
    image(OTHER)(pod)

    (cause,) = diagnose(Case({}, events=[{"type": "Warning", "reason": "FailedCreate", "message": stack.send(pod)}]))

    assert cause.code == "not-allowed"


def test_the_policies_expressions_have_no_warning_of_their_types(stack: Stack) -> None:
    for policy in serving.of_kind(stack.recording, "ValidatingAdmissionPolicy"):
        path = f"{api_root(policy['apiVersion'])}/validatingadmissionpolicies/{policy['metadata']['name']}"
        cluster.wait_for(lambda path=path: "typeChecking" in stack.api.get(path).json()["status"])
        assert not stack.api.get(path).json()["status"]["typeChecking"].get("expressionWarnings"), policy


@pytest.mark.parametrize("delivery", OWN)
def test_the_update_waits_until_the_api_server_knows_what_it_was_told(
    stack: Stack, kubeconfig: Path, delivery: str
) -> None:
    command = stack.recording.only("command:local:Command", f"{delivery}-admitted")
    words = dict(zip(*[iter(shlex.split(plain(command.inputs["create"]))[3:])] * 2, strict=True))
    body = json.loads(plain(command.inputs["stdin"]))
    namespace, merge = body["metadata"]["namespace"], {"Content-Type": "application/merge-patch+json"}
    assert stack.send(body) == ""  # the CRD has nothing against it, nor has the policy
    own = {key: text for key, text in annotations(stack, namespace).items() if text == serving.IMAGE}

    def write(images: dict[str, str | None]) -> None:
        told = json.dumps({"metadata": {"annotations": images}})
        stack.api.patch(f"/api/v1/namespaces/{namespace}", headers=merge, content=told).raise_for_status()

    api = KubeApi(kubeconfig)
    write(dict.fromkeys(own))
    late = threading.Timer(2.5, write, [own])
    try:
        cluster.wait_for(lambda: bool(stack.send(body)), 10)
        with pytest.raises(NotHeldError, match=r"the stack has (?:not )?verified"):
            wait_until_taken(api, body, policy=words["--policy"], timeout=1)
        late.start()
        wait_until_taken(api, body, policy=words["--policy"], timeout=30)
        assert not late.is_alive()
    finally:
        late.cancel()
        api.close()
        write(dict(own))
        cluster.wait_for(lambda: not stack.send(body), 10)


def test_a_list_that_went_and_came_again_with_its_policies_is_the_new_one(stack: Stack) -> None:
    namespace = stack.namespaces["kserve"]
    kinds = [one for kind in POLICIES for one in serving.of_kind(stack.recording, kind)]
    for body in kinds:
        path = f"{api_root(body['apiVersion'])}/{PLURALS[body['kind']]}/{body['metadata']['name']}"
        stack.api.delete(path).raise_for_status()
    foreign = stack.pod("native")
    image(OTHER)(foreign)
    cluster.wait_for(lambda: not stack.send(foreign), 10)
    time.sleep(3)  # the API server looks each second what it may stop to read
    merge, path = {"Content-Type": "application/merge-patch+json"}, f"/api/v1/namespaces/{namespace}"
    new = f"{LISTED}again.0"
    told = json.dumps({"metadata": {"annotations": {new: OTHER}}})
    try:
        stack.api.patch(path, headers=merge, content=told).raise_for_status()
        for one in kinds:
            put(stack.api, one)
        unknown = stack.pod("native")
        image("registry.example/never@sha256:" + "d" * 64)(unknown)
        cluster.wait_for(lambda: "is not one of the stack" in stack.send(unknown), 10)

        assert stack.send(foreign) == ""
        assert stack.send(stack.pod("native")) == ""
    finally:
        gone = json.dumps({"metadata": {"annotations": {new: None}}})
        stack.api.patch(path, headers=merge, content=gone).raise_for_status()
        for one in kinds:
            put(stack.api, one)
        cluster.wait_for(lambda: bool(stack.send(foreign)), 10)
