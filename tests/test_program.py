"""Every committed stack, whole: what must hold of all that it would deploy, whatever the stack says."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from oci_model_serving.reference import is_by_digest
from offline.values import dumps, reveal
from tests import serving
from tests.mocks import DIGEST, Recording, Secret
from tests.serving import ROOT

CLUSTER = "gcp:container/cluster:Cluster"
RELEASE = "kubernetes:helm.sh/v3:Release"
PROMOTED = {
    "contract_version": 1,
    "models": {
        "qwen2.5-0.5b-instruct": {"image": serving.IMAGE, "digest": DIGEST, "size_bytes": 1_100_000_000},
    },
}
STACKS = [*sorted(ROOT.glob("Pulumi.*.yaml")), *sorted(ROOT.glob("examples/*/Pulumi.*.yaml"))]
OURS = [path for path in STACKS if "consumer" not in path.parts]


@pytest.fixture(scope="module", autouse=True)
def _in_the_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The local stack's model is made by `make up`: here its folder has a file."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".local" / "model").mkdir(parents=True)
    (folder / ".local" / "model" / "config.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture(scope="module", params=OURS, ids=lambda path: path.stem.removeprefix("Pulumi."))
def stack(request: pytest.FixtureRequest) -> Recording:
    return serving.run(
        serving.settings_of(request.param), stack_outputs={"acme/oci-model-serving/dev": PROMOTED}, stack_name="checked"
    )


def texts(value: Any) -> Iterator[str]:
    """All texts in a value, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(texts(one) for one in value.values())
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(texts(one) for one in value)


def containers(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All containers in an object, wherever they are."""
    for key, value in body.items():
        if key in {"containers", "initContainers"}:
            yield from value
        elif isinstance(value, dict):
            yield from containers(value)


def model_of(body: dict[str, Any]) -> str:
    label: str = body["metadata"]["labels"].get("oci-model-serving/model", "")
    return label


def test_nothing_is_named_by_latest_or_by_a_tag_beside_a_digest(stack: Recording) -> None:
    for resource in stack.resources:
        for text in texts(reveal(resource.inputs)):
            assert not re.search(r"[\w.-]:latest\b", text), resource.name
            assert not re.search(r":[\w.-]+@sha256:", text.partition("//")[2] or text), (resource.name, text)


def test_every_model_is_served_from_one_digest_in_every_place(stack: Recording) -> None:
    models = reveal(stack.outputs["models"])
    assert models
    for key, model in models.items():
        assert model["digest"] == DIGEST, key
        assert is_by_digest(model["image"]) or model["image"].startswith("oci:"), key
        assert DIGEST.partition(":")[2] in model["storage_uri"]
    for body in serving.of_kind(stack, "InferenceService"):
        predictor = body["spec"]["predictor"]
        streamed = [one["args"][0] for one in predictor.get("initContainers", ())]
        (uri,) = streamed or [predictor["model"]["storageUri"]]
        assert re.search(r"^oci(\+native|\+stream)?://\S+@sha256:[0-9a-f]{64}$", uri)
    for body in serving.of_kind(stack, "Model"):
        assert re.search(r"^oci://[^@]+:digest-sha256-[0-9a-f]{64}$", body["spec"]["url"])


def test_every_engine_is_offline(stack: Recording) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    for body in serving.of_kind(stack, "InferenceService"):
        env = {entry["name"]: entry["value"] for entry in body["spec"]["predictor"]["model"]["env"]}
        assert offline.items() <= env.items()
    for body in serving.of_kind(stack, "ServingRuntime"):
        for container in body["spec"]["containers"]:
            assert offline.items() <= {entry["name"]: entry["value"] for entry in container["env"]}.items()
    for body in serving.of_kind(stack, "Model"):
        assert offline.items() <= body["spec"]["env"].items()


def test_every_model_has_exactly_one_policy_a_side_and_it_selects_its_pods_only(stack: Recording) -> None:
    labels = {"InferenceService": "serving.kserve.io/inferenceservice", "Model": "model"}
    served = {
        (body["metadata"]["namespace"], labels[kind], body["metadata"]["name"])
        for kind in labels
        for body in serving.of_kind(stack, kind)
    }
    limited: dict[str, list[tuple[str, str, str]]] = {"Egress": [], "Ingress": []}
    for body in serving.of_kind(stack, "NetworkPolicy"):
        ((label, name),) = body["spec"]["podSelector"]["matchLabels"].items()
        if body["spec"].get("ingress") == body["spec"].get("egress") == []:
            continue  # of pods that hold an image, and are cut off from everything
        (side,) = body["spec"]["policyTypes"]
        limited[side].append((body["metadata"]["namespace"], label, name))
    assert sorted(limited["Egress"]) == sorted(served)
    # On clusters that are not Google's nobody has told where the API server asks from.
    on_google = stack.outputs["cluster"]["location"] != "local"
    assert sorted(limited["Ingress"]) == (sorted(served) if on_google else [])


def test_every_container_has_cpu_and_memory_requests_and_limits(stack: Recording) -> None:
    for body in serving.objects(stack):
        for container in containers(body):
            for side in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][side]), body["metadata"]["name"]
    for body in serving.of_kind(stack, "InferenceService"):
        resources = body["spec"]["predictor"]["model"]["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]) & set(resources["limits"])
    for release in stack.of_type(RELEASE):
        for profile in release.inputs["values"].get("resourceProfiles", {}).values():
            assert {"cpu", "memory"} <= set(profile["requests"]) & set(profile["limits"])


def test_every_kubeai_profile_is_one_that_the_chart_is_given(stack: Recording) -> None:
    given = {
        name for release in stack.of_type(RELEASE) for name in release.inputs["values"].get("resourceProfiles", {})
    }
    for body in serving.of_kind(stack, "Model"):
        profile, _, count = body["spec"]["resourceProfile"].rpartition(":")
        assert int(count) >= 1
        # A platform that is only declared present has its profiles from elsewhere.
        assert profile in given or not stack.of_type(RELEASE)


def test_every_namespace_enforces_a_pod_security_level(stack: Recording) -> None:
    namespaces = serving.of_kind(stack, "Namespace")
    assert {body["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for body in namespaces} <= {
        "baseline",
        "restricted",
    }
    named = {body["metadata"]["name"] for body in namespaces}
    assert {body["metadata"]["namespace"] for body in serving.objects(stack) if model_of(body)} <= named


def test_everything_is_labelled_and_what_belongs_to_a_model_says_to_which(stack: Recording) -> None:
    models = {model["name"] for model in reveal(stack.outputs["models"]).values()}
    for body in serving.objects(stack):
        labels = body["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "pulumi"
        assert labels["app.kubernetes.io/part-of"] == "oci-model-serving"
        assert model_of(body) in models | {""}


def test_every_token_is_ours_and_every_resource_is_in_a_component(stack: Recording) -> None:
    by_urn = {resource.urn: resource for resource in stack.resources}
    for resource in stack.resources:
        if resource.component:
            assert resource.type.startswith("oci-model-serving:index:"), resource.type
            assert not resource.parent
        else:
            assert by_urn[resource.parent].type, resource.name


def test_a_model_comes_after_its_image_its_platform_and_its_policies(stack: Recording) -> None:
    platforms = {resource.name for resource in stack.of_type(RELEASE)}
    for kind, needed in (
        ("kubernetes:serving.kserve.io/v1beta1:InferenceService", {"kserve-resources", "models-vllm"}),
        ("kubernetes:kubeai.org/v1:Model", {"kubeai"}),
    ):
        for resource in stack.of_type(kind):
            before = serving.after(stack, resource)
            # A platform that is only declared present has no releases.
            assert {name for name in needed if name in platforms or name == "models-vllm"} <= before
            images = [made for made in stack.of_type("command:local:Command") if made.name in before]
            assert images, f"{resource.name} waits for no image"


@pytest.mark.parametrize("case", [case for case in serving.MATRIX if case.pull_secret], ids=str)
def test_a_pull_secrets_password_is_nowhere_in_the_plan(case: serving.Case) -> None:
    recording = serving.run(case.settings)

    shown = json.dumps([json.loads(dumps(resource.inputs)) for resource in recording.resources])
    assert "hunter2" not in shown
    assert "hunter2" not in dumps(recording.outputs)
    secrets = recording.of_type("kubernetes:core/v1:Secret")
    assert secrets
    assert all(isinstance(one.inputs["stringData"][".dockerconfigjson"], Secret) for one in secrets)


def test_a_stack_of_nothing_deploys_nothing() -> None:
    recording = serving.run({})

    assert [resource.type for resource in recording.resources if resource.type.startswith("gcp:")] == []
    assert serving.objects(recording) == []
    assert recording.outputs["models"] == {}


def test_the_program_has_no_logic_of_its_own() -> None:
    program = (ROOT / "__main__.py").read_text()

    assert len(program.splitlines()) <= 40
    assert not re.search(r"^\s*(if|while|def|class|try)\b", program, re.MULTILINE)


def test_the_repositorys_stacks_are_all_tested() -> None:
    assert {path.stem for path in OURS} >= {"Pulumi.local", "Pulumi.dev", "Pulumi.prod"}


def test_a_cluster_that_the_stack_creates_packs_its_models_before_it_serves_them() -> None:
    hub = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
    model = {"source": hub, "builder": "cluster", "nodePool": "l4", "delivery": "native"}
    adapters = {"sql": {"source": hub, "builder": "cluster"}}
    settings = serving.gke({"q": {**model, "adapters": adapters}}, clusterBuild={"pods": 8, "serviceAccount": "packer"})
    recording = serving.run(settings)

    builds = [one for one in recording.resources if one.runs and one.runs.arguments[0] == "clusterbuild"]
    assert sorted(one.name for one in builds) == ["q-build", "q/sql-build"]
    for build in builds:
        assert build.runs
        assert "packer" in build.runs.arguments
        kubeconfig = build.inputs["environment"]["OMS_KUBECONFIG"]
        assert isinstance(kubeconfig, Secret)
        assert "kubeconfig" not in " ".join(build.runs.arguments)
    repository = recording.only("gcp:artifactregistry/repository:Repository")
    assert [one["id"] for one in repository.inputs["cleanupPolicies"]][-1] == "delete-shares"
    model_outputs = recording.outputs["models"]
    assert DIGEST in dumps(model_outputs)
