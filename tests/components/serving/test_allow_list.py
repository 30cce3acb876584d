"""What the cluster is told to accept: whose images, by when, until when, and what the settings may change of it."""

import json
from typing import Any

import pytest

from components.settings.reader import SettingsError
from oci_model_serving.reference import digest_tag
from offline.values import Secret
from tests import serving
from tests.mocks import DIGEST, Recording, Resource

PATCH = "kubernetes:core/v1:NamespacePatch"
NAMESPACE = "kubernetes:core/v1:Namespace"
INFERENCE_SERVICE = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
COMMAND = "command:local:Command"


ADAPTER = "registry.example/models/style@sha256:" + "b" * 64


def run(models: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **keys: Any) -> Recording:
    given = models or {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "warm": "prepull"}}
    return serving.run(serving.gke(given, cluster={"create": {"name": "demo"}, **(cluster or {})}, **keys))


def patches(recording: Recording) -> dict[str, Resource]:
    return {one.name: one for one in recording.resources if one.type == PATCH}


def images(resource: Resource) -> dict[str, str]:
    return dict(resource.inputs["metadata"].get("annotations") or {})


def listed(recording: Recording, namespace: str = "models") -> set[str]:
    return set(serving.one(recording, "Namespace", namespace)["metadata"]["annotations"].values())


def policy(recording: Recording, kind: str = "pod", namespace: str = "models") -> dict[str, Any]:
    name = f"oci-model-serving-{namespace}-{kind}"
    return dict(serving.one(recording, "ValidatingAdmissionPolicy", name)["spec"])


def test_a_models_images_are_allowed_before_anything_of_it_is_made() -> None:
    recording = run()
    early = {"qwen-allowed-images", "models", "oci-model-serving-models-pod"}

    for type_ in ("kubernetes:serving.kserve.io/v1beta1:InferenceService", "kubernetes:apps/v1:DaemonSet"):
        for made in recording.of_type(type_):
            assert early <= serving.after(recording, made)
    for type_ in ("kubernetes:kubeai.org/v1:Model", "kubernetes:apps/v1:DaemonSet"):
        kubeai = run({"qwen": {"digest": serving.IMAGE, "delivery": "kubeai", "nodePool": "l4", "warm": "prepull"}})
        for made in kubeai.of_type(type_):
            assert "qwen-allowed-images" in serving.after(kubeai, made)


def test_an_image_that_changes_is_another_key_beside_the_one_of_before() -> None:
    other = {"digest": serving.IMAGE.replace(DIGEST, f"sha256:{'d' * 64}"), "nodePool": "l4"}
    (before,), (after,) = patches(run()).values(), patches(run({"qwen": other})).values()

    assert before.options["replaceOnChanges"] == ["metadata"]
    assert before.options["deleteBeforeReplace"] is False
    both = {**images(before), **images(after)}
    assert len(both) == 3  # the server's is the same


def test_the_namespace_itself_says_no_image_so_that_it_waits_for_none() -> None:
    recording = run()

    assert not images(recording.only(NAMESPACE, "models"))
    assert serving.IMAGE in listed(recording)


def test_the_list_is_no_parameter_of_the_policies_which_the_api_server_may_stop_to_read() -> None:
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        for body in serving.of_kind(run(), kind):
            assert not {"paramKind", "paramRef"} & body["spec"].keys()


def test_a_key_fits_an_annotation_however_long_the_model_is_called() -> None:
    (patch,) = patches(run({"a" * 50: {"digest": serving.IMAGE, "nodePool": "l4"}})).values()

    assert {len(key.partition("/")[2]) for key in images(patch)} == {63}


def test_models_that_share_an_image_own_a_key_each() -> None:
    model = {"digest": serving.IMAGE, "nodePool": "l4"}
    one, two = patches(run({"one": model, "two": model})).values()

    assert not images(one).keys() & images(two).keys()
    assert set(images(one).values()) == set(images(two).values())


def test_the_list_has_the_weights_the_server_and_the_adapters_and_nothing_else() -> None:
    adapters = {"style": {"digest": ADAPTER}}
    server = {"image": "docker.io/vllm/vllm-openai:v9"}
    model = {"digest": serving.IMAGE, "nodePool": "l4", "adapters": adapters}

    found = listed(run({"qwen": model}, platforms={"kserve": {"server": server}}))

    assert found == {serving.IMAGE, ADAPTER, server["image"]}


@pytest.mark.parametrize(
    ("keys", "image"),
    [
        ({"cluster": {"allowList": {"images": ["registry.example/mesh:1"]}}}, "registry.example/mesh:1"),
        ({"cluster": {"allowList": {"images": ["istio/proxyv2:1.24"]}}}, "istio/proxyv2:1.24"),
        (
            {
                "models": {"qwen": {"digest": serving.IMAGE, "delivery": "fetch", "nodePool": "l4"}},
                "platforms": {"kserve": {"version": "v0.21.0"}},
            },
            "kserve/storage-initializer:v0.21.0",
        ),
    ],
)
def test_what_others_put_into_pods_is_listed_by_the_settings_or_by_what_they_ask_for(
    keys: dict[str, Any], image: str
) -> None:
    assert image in listed(run(**keys))


def test_pods_that_pack_in_the_models_namespace_are_listed() -> None:
    source = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
    model = {"source": source, "builder": "cluster", "nodePool": "l4", "sizeGb": 1.0}
    build = {"namespace": "models", "image": "registry.example/python:3.12"}

    assert "registry.example/python:3.12" in listed(run({"qwen": model}, clusterBuild=build))
    assert "registry.example/python:3.12" not in listed(
        run({"qwen": model}, clusterBuild={**build, "namespace": "builds"})
    )


def test_a_rendered_list_is_whole() -> None:
    recording = serving.run(serving.local({"qwen": {"digest": serving.IMAGE}}))

    assert not patches(recording)
    assert serving.IMAGE in images(recording.only(NAMESPACE, "models")).values()


def test_the_policies_deny_in_their_own_namespace() -> None:
    models = {"a": {"digest": serving.IMAGE}, "b": {"digest": serving.IMAGE, "delivery": "kubeai"}}
    recording = run(models)
    bindings = {
        body["metadata"]["name"]: body["spec"]
        for body in serving.of_kind(recording, "ValidatingAdmissionPolicyBinding")
    }

    assert set(bindings) == {
        "oci-model-serving-models-pod",
        "oci-model-serving-models-inferenceservice",
        "oci-model-serving-kubeai-pod",
        "oci-model-serving-kubeai-model",
    }
    for name, spec in bindings.items():
        namespace = "kubeai" if "-kubeai-" in name else "models"
        assert spec["policyName"] == name
        assert spec["validationActions"] == ["Deny"]
        assert spec["matchResources"]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": namespace}
        made = serving.one(recording, "ValidatingAdmissionPolicy", name)["spec"]
        assert made["failurePolicy"] == "Fail"


def test_nothing_is_made_where_nothing_is_enforced() -> None:
    recording = run(cluster={"allowList": {"enforce": False}})
    rendered = serving.run(
        serving.local({"qwen": {"digest": serving.IMAGE}}, cluster={"allowList": {"enforce": False}})
    )

    assert not patches(recording)
    assert not images(rendered.only(NAMESPACE, "models"))
    assert not serving.of_kind(recording, "ValidatingAdmissionPolicy")


def test_remote_code_is_refused_unless_the_settings_say_otherwise() -> None:
    model = {"digest": serving.IMAGE, "nodePool": "l4", "args": ["--trust-remote-code"]}

    with pytest.raises(SettingsError) as caught:
        run({"qwen": model})

    assert "models.qwen.args: asks for --trust-remote-code" in str(caught.value)
    taken = policy(run({"qwen": model}, cluster={"allowList": {"remoteCode": True}}))
    assert "trust" not in json.dumps(taken["validations"])
    assert "trust" in json.dumps(policy(run())["validations"])


@pytest.mark.parametrize(
    "fields",
    [
        {"args": ["--trust_remote_code"]},
        {"args": ["--trus"]},
        {"env": {"TRUST_REMOTE_CODE": "1"}},
        {"server": {"image": "registry.example/s:1", "command": ["sh", "-c", "serve --trust-remote-code"], "port": 80}},
    ],
)
def test_remote_code_is_found_wherever_a_model_may_ask_for_it(fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="remoteCode: true"):
        run({"qwen": {"digest": serving.IMAGE, "nodePool": "l4", **fields}})


def test_a_cluster_without_such_policies_is_refused_with_both_ways_out() -> None:
    with pytest.raises(SettingsError) as caught:
        run(cluster={"create": {"name": "demo", "version": "1.29"}})

    assert "cluster.create.version: Kubernetes 1.29 has no ValidatingAdmissionPolicy" in str(caught.value)
    assert "take 1.30 or later, or write cluster.allowList: {enforce: false}" in str(caught.value)


@pytest.mark.parametrize(
    "image", ["busybox", "a/b:", "registry.example/a", "registry.example/a:1@sha256:" + "a" * 64, "a b"]
)
def test_an_image_that_no_pod_names_so_is_refused(image: str) -> None:
    with pytest.raises(SettingsError, match="is no image as pods name it"):
        run(cluster={"allowList": {"images": [image]}})


@pytest.mark.parametrize(("image", "warned"), [("registry.example/vllm:v1", 1), (serving.IMAGE, 0)])
def test_on_knative_a_servers_tag_is_warned_of_since_it_becomes_a_digest(image: str, warned: int) -> None:
    knative = {"deploymentMode": "Knative", "gateway": "none", "server": {"image": image, "cpuImage": image}}

    told = [
        text for level, text in run(platforms={"kserve": knative}).messages if level == "warning" and "Knative" in text
    ]

    assert len(told) == warned


def test_knatives_sidecar_and_kubeais_manager_may_have_their_charts_images() -> None:
    knative = policy(run(platforms={"kserve": {"deploymentMode": "Knative", "gateway": "none"}}))
    kubeai = policy(run({"b": {"digest": serving.IMAGE, "delivery": "kubeai"}}), namespace="kubeai")

    assert "queue-proxy" in json.dumps(knative)
    assert "queue-proxy" not in json.dumps(policy(run()))
    assert "serviceAccountName" in json.dumps(kubeai)


@pytest.mark.parametrize(
    ("delivery", "policy_of", "uri"),
    [
        ("native", "models-inferenceservice", f"oci+native://{serving.IMAGE}"),
        ("kubeai", "kubeai-model", f"oci://registry.example/models/qwen:{digest_tag(DIGEST)}"),
    ],
)
def test_a_model_is_sent_when_the_api_servers_take_its_images_which_are_asked_again_for_others_only(
    delivery: str, policy_of: str, uri: str
) -> None:
    model = {"digest": serving.IMAGE, "delivery": delivery, "nodePool": "l4", "awaitReady": False}
    recording = run({"qwen": model})
    wait = recording.only(COMMAND, "qwen-admitted")
    kind = "kubernetes:kubeai.org/v1:Model" if delivery == "kubeai" else INFERENCE_SERVICE

    assert {"qwen-admitted", "qwen-allowed-images"} <= serving.after(recording, recording.only(kind))
    assert "qwen-allowed-images" in serving.after(recording, wait)
    assert wait.inputs["create"].endswith(f"watch.admitted --policy oci-model-serving-{policy_of} --timeout 60")
    assert isinstance(wait.inputs["environment"]["SMOKE_KUBECONFIG"], Secret)
    asked = json.loads(wait.inputs["stdin"])
    assert uri in json.dumps(asked["spec"])
    scaled = run({"qwen": {**model, "replicas": {"min": 2}}})
    assert scaled.only(COMMAND, "qwen-admitted").inputs["stdin"] == wait.inputs["stdin"]
    other = run({"qwen": {**model, "digest": serving.IMAGE.replace(DIGEST, f"sha256:{'d' * 64}")}})
    assert other.only(COMMAND, "qwen-admitted").inputs["stdin"] != wait.inputs["stdin"]


def test_adapters_and_the_server_are_asked_for_as_well() -> None:
    model = {
        "digest": serving.IMAGE,
        "delivery": "native",
        "nodePool": "l4",
        "adapters": {"style": {"digest": ADAPTER}},
    }
    recording = run({"qwen": model})
    asked = recording.only(COMMAND, "qwen-admitted").inputs["stdin"]

    assert all(image in asked for image in listed(recording))


def test_nobody_is_asked_where_nothing_is_enforced_or_there_is_no_cluster() -> None:
    rendered = serving.run(serving.local({"qwen": {"digest": serving.IMAGE}}))

    for recording in (run(cluster={"allowList": {"enforce": False}}), rendered):
        assert not [one for one in recording.of_type(COMMAND) if one.name.endswith("-admitted")]
