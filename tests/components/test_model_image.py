"""A model's image: built, copied or checked by `modelimage` or Docker, and known by its digest only."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pulumi
import pytest
from pydantic import SecretStr

import modelimage
from components import docker_context, rebuilding
from components.google.cluster import Cluster
from components.model_image import ModelImage
from components.settings.building import CloudBuildSettings, ClusterBuildSettings
from components.settings.google import ClusterSettings
from components.settings.image_settings import AdapterSettings
from components.settings.images import StackAdapter
from components.settings.models import StackModel
from components.settings.places import StackCluster, StackRegistry
from components.settings.registry import RegistryCreate, RegistrySettings
from components.settings.serving import BUSYBOX, KServeSettings, ModelSettings
from components.settings.types import Target
from modelimage.traits import Traits
from oci_model_serving.errors import InputError
from oci_model_serving.outputs import CONTRACT_VERSION, ContractError
from oci_model_serving.reference import ImageReference
from offline.values import dumps
from tests.components.settings.reading import read
from tests.fields import With, unreached
from tests.mocks import DIGEST, KnownAfter, Recording, Resource, Secret, built, record
from tests.serving import IMAGE, gke

COMMAND = "command:local:Command"
DOCKER = "docker:index/image:Image"
HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
HUB_SECRET = "projects/demo/secrets/hub/versions/latest"
REGISTRY = "us-central1-docker.pkg.dev/demo/models"
STACK = "acme/oci-model-serving/dev"
PRODUCER = {
    "contract_version": CONTRACT_VERSION,
    "models": {
        "qwen2.5": {"image": IMAGE, "digest": DIGEST, "size_bytes": 7},
        "tagged": {"image": "registry.example/m:v1", "digest": DIGEST, "size_bytes": 7},
    },
}


OTHER_FILES: Mapping[str, Any] = {
    "files.allow": ("*.safetensors",),
    "files.ignore": ("onnx/*",),
    "files.shard_gb": 4,
    "files.convert": "safetensors",
    "files.pickle": "allow",
}
"""Another value of each setting of `files`."""

REPOSITORY = StackRegistry(RegistrySettings(create=RegistryCreate(repository="models")), "demo", "us-central1")


def args(registry: StackRegistry = REPOSITORY, **fields: Any) -> StackModel:
    return StackModel("qwen2.5", ModelSettings.model_validate(fields), Target.GKE, registry, KServeSettings())


def run(made: StackModel, registry_url: str = REGISTRY, **arguments: Any) -> Recording:
    def program() -> None:
        image = ModelImage("qwen2.5", made, registry_url)
        pulumi.export("reference", image.reference.apply(str))
        pulumi.export("size_bytes", image.size_bytes)

    return record(program, **{"answer": built(size_bytes=42), **arguments})


def steps(recording: Recording) -> dict[str, list[str]]:
    """The arguments of each step, the interpreter and module aside."""
    made = {}
    for step in (one for one in recording.of_type(COMMAND) if "delete" not in one.inputs):
        words = shlex.split(step.inputs["create"])
        assert words[1:3] == ["-m", "modelimage"]
        made[step.name] = words[3:]
    return made


def changing(**outputs: Any) -> Callable[[Resource], Mapping[str, Any] | None]:
    """Answers as `built`, but Docker says something else."""
    usual = built()
    return lambda resource: outputs if resource.type == DOCKER else usual(resource)


def test_a_source_is_packed_into_the_registry_and_known_by_the_digest_that_came_of_it() -> None:
    recording = run(args(source=HUB))

    assert steps(recording) == {
        "qwen2.5-build": ["pack", HUB, f"{REGISTRY}/qwen2-5", "--base", BUSYBOX, "--json"],
    }
    assert recording.outputs == {"reference": f"{REGISTRY}/qwen2-5@{DIGEST}", "size_bytes": 42}


def test_without_a_registry_the_image_becomes_a_layout() -> None:
    recording = run(args(StackRegistry(RegistrySettings()), source=HUB), "local.invalid/models")

    assert steps(recording)["qwen2.5-build"][:3] == ["pack", HUB, "oci:.local/images/qwen2-5"]


def test_cloud_build_packs_where_the_bucket_is() -> None:
    recording = run(args(source="gs://weights/qwen", builder="cloudbuild"))

    assert steps(recording)["qwen2.5-build"] == [
        *["cloudbuild", "gs://weights/qwen", f"{REGISTRY}/qwen2-5", "--base", BUSYBOX],
        *["--project", "demo", "--region", "us-central1", "--json"],
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": HUB}, ["pack", HUB, f"{REGISTRY}/qwen2-5", "--base", BUSYBOX]),
        ({"digest": IMAGE, "copy": True}, ["copy", IMAGE, f"{REGISTRY}/qwen2-5", "--for", "modelcar"]),
    ],
)
def test_the_registrys_jobs_reach_the_packer_and_are_not_what_an_image_depends_on(
    given: dict[str, Any], words: list[str]
) -> None:
    settings = RegistrySettings.model_validate({"create": {"repository": "models"}, "jobs": 12})
    usual, paced = run(args(**given)), run(args(StackRegistry(settings, "demo", "us-central1"), **given))

    (step,) = (name for name in steps(paced) if name.endswith(("-build", "-copy")))
    assert steps(usual)[step] == [*words, "--json"]
    assert steps(paced)[step] == [*words, "--jobs", "12", "--json"]
    assert [one.inputs["triggers"] for one in paced.of_type(COMMAND)] == [
        one.inputs["triggers"] for one in usual.of_type(COMMAND)
    ]


def test_jobs_of_this_machine_are_not_cloud_builds() -> None:
    settings = RegistrySettings.model_validate({"create": {"repository": "models"}, "jobs": 12})
    recording = run(args(StackRegistry(settings, "demo", "us-central1"), source=HUB, builder="cloudbuild"))

    assert "--jobs" not in steps(recording)["qwen2.5-build"]


@pytest.mark.parametrize("builder", ["direct", "cloudbuild"])
def test_what_it_runs_on_and_a_modelpack_beside_it_are_told_to_the_packer(builder: str) -> None:
    def words(**fields: Any) -> list[str]:
        return steps(run(args(source=HUB, builder=builder, **fields)))["qwen2.5-build"]

    usual, other = words(), words(platform="linux/arm64", modelpack=True)

    assert words(platform="linux/amd64", modelpack=False) == usual
    assert [word for word in other if word not in usual] == ["--platform", "linux/arm64", "--modelpack"]
    assert other[0] == {"direct": "pack", "cloudbuild": "cloudbuild"}[builder]


def test_docker_builds_for_arm_under_another_tag(in_a_folder: Path) -> None:
    usual, other = (
        run(args(source=HUB, builder="docker", platform=platform), answer=prepared(in_a_folder)).only(DOCKER).inputs
        for platform in (None, "linux/arm64")
    )

    assert (usual["build"]["platform"], other["build"]["platform"]) == ("linux/amd64", "linux/arm64")
    assert usual["imageName"] != other["imageName"]


@pytest.mark.parametrize("more", [{}, {"copy": True}])
def test_an_image_that_exists_is_held_against_what_it_is_to_run_on(more: dict[str, Any]) -> None:
    (usual,), (other,) = (
        steps(run(args(digest=IMAGE, platform=platform, **more))).values() for platform in (None, "linux/arm64")
    )

    assert [word for word in other if word not in usual] == ["--platform", "linux/arm64"]


def test_an_adapter_runs_on_what_its_model_does_if_nothing_else_is_said() -> None:
    adapters = {"sql": {"source": HUB}, "x": {"source": HUB, "platform": "linux/amd64"}}
    stack = read(gke({"qwen": {"source": HUB, "platform": "linux/arm64", "adapters": adapters}}))

    assert [adapter.runs_on for adapter in stack.models["qwen"].adapters] == ["linux/arm64", "linux/amd64"]


def test_an_image_of_a_registry_is_packed_as_any_source() -> None:
    recording = run(args(source=f"oci://{IMAGE}"))

    assert steps(recording)["qwen2.5-build"][:3] == ["pack", f"oci://{IMAGE}", f"{REGISTRY}/qwen2-5"]
    assert recording.of_type(COMMAND)[0].inputs["triggers"] == [modelimage.fingerprint(f"oci://{IMAGE}"), BUSYBOX]


def test_a_build_runs_again_when_source_or_base_have_changed(tmp_path: Path) -> None:
    def triggers() -> list[str]:
        return list(run(args(source=str(tmp_path))).only(COMMAND).inputs["triggers"])

    (tmp_path / "config.json").write_text('{"a": 1}')
    first = triggers()
    assert first == triggers() == [modelimage.fingerprint(str(tmp_path)), BUSYBOX]

    (tmp_path / "config.json").write_text('{"a": 2}')
    assert triggers() != first


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder whose weights were known by their time stamps up to version 0.1.0."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.bin").write_bytes(bytes(2 << 20))
    return tmp_path


def trigger(weights: Path) -> str:
    return str(run(args(source=str(weights))).only(COMMAND).inputs["triggers"][0])


def test_a_build_hangs_on_the_content_of_weights_and_not_on_their_time_stamps(weights: Path) -> None:
    first = trigger(weights)
    assert first == modelimage.fingerprint(str(weights))
    (weights / "model.bin").touch()
    assert trigger(weights) == first
    (weights / "model.bin").write_bytes(bytes(2 << 20) + b"x")
    assert trigger(weights) != first


def test_a_build_of_the_version_before_keeps_its_trigger_until_its_weights_are_touched(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = modelimage.former_fingerprint(str(weights))

    async def triggers(name: str) -> list[str | None]:
        return [held, BUSYBOX] if name == "qwen2.5-build" else []

    monkeypatch.setattr(rebuilding, "triggers", triggers)
    assert trigger(weights) == held
    (weights / "model.bin").touch()
    assert trigger(weights) == modelimage.fingerprint(str(weights))


def test_what_is_not_built_yet_is_not_known_yet_and_has_no_invented_digest() -> None:
    recording = run(args(source=HUB), answer=None)

    assert isinstance(recording.outputs["reference"], KnownAfter)
    assert isinstance(recording.outputs["size_bytes"], KnownAfter)


# What lies on this machine.


def removals(recording: Recording) -> dict[str, str]:
    return {
        one.urn.partition("::")[2]: one.inputs["delete"] for one in recording.of_type(COMMAND) if "delete" in one.inputs
    }


LAYOUTS = StackRegistry(RegistrySettings())


@pytest.mark.parametrize(
    ("made", "folder"),
    [
        (args(LAYOUTS, source=HUB), "images/qwen2-5"),
        (args(source=HUB, builder="docker"), "contexts/qwen2-5"),
    ],
)
def test_a_layout_and_a_context_go_with_their_model_and_the_last_leaves_no_folder(
    made: StackModel, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = removals(run(made)).values()
    mine, other = tmp_path / ".local" / folder, tmp_path / ".local" / folder.replace("qwen2-5", "other")
    for path in (mine, other):
        (path / "blobs").mkdir(parents=True)

    def destroy() -> int:
        return subprocess.run(["sh", "-c", line], check=False).returncode

    assert destroy() == 0
    assert [other.name] == [path.name for path in other.parent.iterdir()]
    other.joinpath("blobs").rmdir()
    other.rmdir()
    assert destroy() == 0
    assert list((tmp_path / ".local").iterdir()) == []


def test_nothing_of_a_registry_is_ever_deleted() -> None:
    for fields in ({"source": HUB}, {"source": "gs://w/q", "builder": "cloudbuild"}, {"digest": IMAGE, "copy": True}):
        assert removals(run(args(**fields))) == {}


def test_a_key_that_changes_within_one_name_keeps_the_folder_and_a_renamed_model_gives_it_up() -> None:
    def urns(key: str) -> set[str]:
        model = replace(args(LAYOUTS, source=HUB), key=key)
        return set(removals(record(lambda: ModelImage(key, model, REGISTRY), answer=built())))

    assert urns("qwen2.5") == urns("qwen2-5")
    assert urns("qwen2.5") != urns("qwen3")


def test_a_build_of_the_version_before_is_not_run_again_for_it() -> None:
    """The provider runs `create` for any change of a command's inputs: those of the build are what they were."""
    recording = run(args(LAYOUTS, source=HUB))

    assert set(recording.only(COMMAND, "qwen2.5-build").inputs) == {
        *["addPreviousOutputInEnv", "create", "logging", "triggers"]
    }
    assert "create" not in recording.only(COMMAND, "qwen2-5-layout-folder").inputs


# Docker.


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(folder: Path) -> Callable[[Resource], Mapping[str, Any] | None]:
    """Answers as `built`, with a context that is there."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text("FROM scratch\n")
    usual = built(size_bytes=42)

    def answer(resource: Resource) -> Mapping[str, Any] | None:
        if resource.type == COMMAND and resource.name.endswith("-context"):
            return {"stdout": json.dumps({"context": str(context), "fingerprint": "f" * 64, "size_bytes": 42})}
        return usual(resource)

    return answer


def test_docker_builds_for_the_nodes_platform_on_the_prepared_context(in_a_folder: Path) -> None:
    recording = run(args(source=HUB, builder="docker"), answer=prepared(in_a_folder))

    image = recording.only(DOCKER).inputs
    assert image["build"]["platform"] == "linux/amd64"
    assert image["build"]["context"] == str(in_a_folder / "context")
    assert image["build"]["dockerfile"] == str(in_a_folder / "context" / "Dockerfile")
    # A tag of its own for each content and base: the repository's tags never move.
    based = args(source=HUB, builder="docker", base="scratch")
    other = run(based, answer=prepared(in_a_folder)).only(DOCKER).inputs
    assert re.fullmatch(rf"{REGISTRY}/qwen2-5:[0-9a-f]{{16}}", image["imageName"])
    assert other["imageName"] != image["imageName"]
    assert image.get("skipPush") in {None, False}
    assert steps(recording) == {
        "qwen2.5-context": ["context", HUB, ".local/contexts/qwen2-5", "--base", BUSYBOX, "--json"],
        "qwen2.5-seal": ["tag", f"{REGISTRY}/qwen2-5@{DIGEST}", "--json"],
    }
    assert recording.outputs == {"reference": f"{REGISTRY}/qwen2-5@{DIGEST}", "size_bytes": 42}


def test_a_preview_neither_fetches_nor_builds_and_says_what_it_cannot_tell(in_a_folder: Path) -> None:
    usual = built()

    def another_machines_state(resource: Resource) -> Mapping[str, Any] | None:
        return usual(resource) if resource.name.endswith("-context") else None

    recording = run(args(source=HUB, builder="docker"), answer=another_machines_state)

    [(level, message)] = recording.messages
    assert level == "warning"
    assert "cannot tell whether the image changes" in message
    assert isinstance(recording.outputs["reference"], KnownAfter)
    assert list(in_a_folder.iterdir()) == []


def test_artifact_registry_takes_a_short_lived_token_that_is_a_secret(in_a_folder: Path) -> None:
    registry = run(args(source=HUB, builder="docker"), answer=prepared(in_a_folder)).only(DOCKER).inputs["registry"]

    assert (registry["server"], registry["username"]) == ("us-central1-docker.pkg.dev", "oauth2accesstoken")
    assert isinstance(registry["password"], Secret)


@pytest.mark.parametrize("host", ["gcr.io", "us.gcr.io", "europe-docker.pkg.dev"])
def test_every_registry_of_googles_takes_the_token(in_a_folder: Path, host: str) -> None:
    made = args(source=HUB, builder="docker")

    registry = run(made, f"{host}/demo/models", answer=prepared(in_a_folder)).only(DOCKER).inputs["registry"]

    assert (registry["server"], registry["username"]) == (host, "oauth2accesstoken")


@pytest.mark.parametrize(
    "host",
    [
        "registry.example:5000",
        "us-central1-docker-pkg.dev",
        "evilpkg.dev",
        "pkg.dev",
        "docker.pkg.dev.evil.com",
        "us-central1-docker.pkg.dev.evil.com",
        "us-central1-docker.pkg.dev:8443",
        "evilgcr.io",
        "gcr.io:443",
    ],
)
def test_another_registry_is_offered_no_token_and_left_to_dockers_own_configuration(
    in_a_folder: Path, host: str
) -> None:
    recording = run(args(source=HUB, builder="docker"), f"{host}/demo/models", answer=prepared(in_a_folder))

    assert recording.only(DOCKER).inputs["registry"] == {"server": host}


@pytest.mark.parametrize("said", ["sha256:" + "a" * 64, f"{REGISTRY}/qwen2-5:v1", "<none>@<none>"])
def test_what_docker_says_is_parsed_and_not_believed(in_a_folder: Path, said: str) -> None:
    answer, docker = prepared(in_a_folder), changing(repoDigest=said)

    with pytest.raises(InputError):
        run(
            args(source=HUB, builder="docker"),
            answer=lambda resource: docker(resource) if resource.type == DOCKER else answer(resource),
        )


def test_a_context_that_is_gone_is_made_again_by_an_update(in_a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    async def prepare(path: str, words: list[str], key: str) -> str:
        asked.append(list(words))
        return path

    monkeypatch.setattr(docker_context, "prepare", prepare)

    recording = run(args(source=HUB, builder="docker"), preview=False)

    assert asked == [["context", HUB, ".local/contexts/qwen2-5", "--base", BUSYBOX]]
    assert recording.only(DOCKER).inputs["build"]["context"] == ".local/contexts/qwen2-5"


# Images that exist.


def test_an_image_by_digest_is_looked_for_and_taken_as_it_is() -> None:
    recording = run(args(digest=IMAGE))

    assert steps(recording) == {"qwen2.5-check": ["inspect", IMAGE, "--for", "modelcar", "--json"]}
    assert recording.outputs == {"reference": IMAGE, "size_bytes": 42}


def test_kubeai_needs_the_tag_that_spells_the_digest() -> None:
    assert steps(run(args(digest=IMAGE, delivery="kubeai"))) == {
        "qwen2.5-check": ["inspect", IMAGE, "--for", "kubeai", "--require-digest-tag", "--json"]
    }


def test_a_size_of_the_settings_is_known_before_the_registry_is_asked() -> None:
    assert run(args(digest=IMAGE, size_gb=1.5), answer=None).outputs["size_bytes"] == 1_500_000_000


def test_a_promoted_image_is_the_other_stacks_digest() -> None:
    recording = run(args(from_stack=STACK), stack_outputs={STACK: PRODUCER})

    assert recording.outputs == {"reference": IMAGE, "size_bytes": 7}
    assert steps(recording) == {"qwen2.5-check": ["inspect", IMAGE, "--for", "modelcar", "--json"]}


def test_a_copy_keeps_the_digest_and_changes_the_repository() -> None:
    recording = run(args(from_stack=STACK, copy=True), stack_outputs={STACK: PRODUCER})

    assert recording.outputs["reference"] == f"{REGISTRY}/qwen2-5@{DIGEST}"
    assert steps(recording) == {"qwen2.5-copy": ["copy", IMAGE, f"{REGISTRY}/qwen2-5", "--for", "modelcar", "--json"]}


def test_another_stacks_tag_is_refused() -> None:
    with pytest.raises(ContractError, match=r"models\.tagged\.image: .*a tag can move"):
        run(args(from_stack=STACK, model="tagged"), stack_outputs={STACK: PRODUCER})


@pytest.mark.parametrize("allow", [None, ["registry.example"], ["registry.example/models"]])
def test_another_stacks_image_may_come_from_where_registry_allow_says_and_from_anywhere_without(
    allow: list[str] | None,
) -> None:
    registry = StackRegistry(RegistrySettings.model_validate({"url": "own.example/m", "allow": allow}))

    recording = run(args(registry, from_stack=STACK), stack_outputs={STACK: PRODUCER})

    assert recording.outputs["reference"] == IMAGE


@pytest.mark.parametrize(
    "allow", [[], ["registry.example.evil"], ["registry.example/mod"], ["registry.example:5000/models"]]
)
def test_another_stacks_image_from_elsewhere_is_refused_with_what_to_write(allow: list[str]) -> None:
    registry = StackRegistry(RegistrySettings.model_validate({"url": "own.example/m", "allow": allow}))

    with pytest.raises(ContractError, match=rf"models.qwen2.5.fromStack: .*add {IMAGE.rpartition('/')[0]} to registry"):
        run(args(registry, from_stack=STACK), stack_outputs={STACK: PRODUCER})


@pytest.mark.parametrize(
    ("create", "own"),
    [
        ({}, "us-central1-docker.pkg.dev/demo/models"),
        ({"location": "europe", "project": "example.com:team"}, "europe-docker.pkg.dev/example.com/team/models"),
    ],
)
def test_the_stacks_own_repository_is_always_allowed(create: dict[str, str], own: str) -> None:
    settings = RegistrySettings.model_validate({"create": {"repository": "models", **create}, "allow": []})
    registry = StackRegistry(settings, "demo", "us-central1")

    assert registry.refusal(ImageReference.parse(f"{own}/qwen@{DIGEST}")) == ""
    assert registry.refusal(ImageReference.parse(f"{own}-2/qwen@{DIGEST}"))


def test_a_model_that_the_other_stack_does_not_serve_is_named_with_those_that_it_does() -> None:
    with pytest.raises(ContractError, match=r"serves no model 'qwen2': it serves qwen2\.5, tagged; did you mean"):
        run(args(from_stack=STACK, model="qwen2"), stack_outputs={STACK: PRODUCER})


# All of them.


@pytest.mark.parametrize(
    "fields",
    [{"source": HUB}, {"source": HUB, "builder": "docker"}, {"digest": IMAGE}, {"digest": IMAGE, "copy": True}],
)
def test_no_step_passes_one_runs_output_to_the_next_or_secrets_in_its_arguments(
    fields: dict[str, Any], in_a_folder: Path
) -> None:
    recording = run(args(**fields))

    for step in recording.of_type(COMMAND):
        assert step.inputs["addPreviousOutputInEnv"] is False
        assert step.inputs["logging"] == "stderr"
        assert "environment" not in step.inputs
        # Images outlive a destroy: what is removed is a folder of this machine, by a resource that makes nothing.
        assert "delete" not in step.inputs or ("create" not in step.inputs and " .local/" in step.inputs["delete"])
    assert "password" not in dumps([step.inputs for step in recording.of_type(COMMAND)])


def test_every_setting_has_an_effect() -> None:
    base = ModelSettings(source=HUB)
    elsewhere = "is of the serving resource, the pool or the checks (test_inference_service.py, test_checks.py)"
    existing = {"source": None, "digest": IMAGE}
    promoted = {"source": None, "from_stack": STACK}

    assert (
        unreached(
            lambda settings: ModelImage(
                "qwen2.5", StackModel("qwen2.5", settings, Target.GKE, REPOSITORY, KServeSettings()), REGISTRY
            ),
            base,
            {
                "base": "scratch",
                "source": "gs://weights/qwen",
                "digest": With(IMAGE.replace("qwen", "other"), existing),
                "from_stack": With("acme/oci-model-serving/stage", promoted),
                "model": With("tagged", {**promoted, "copy_image": False}),
                "copy_image": With(value=True, others=existing),
                "builder": "docker",
                "platform": "linux/arm64",
                **OTHER_FILES,
                "asked": With(ModelSettings.model_validate({"delivery": "kubeai"}).asked, existing),
            },
            exempt={
                "size_gb": "is an output; tested above",
                "licence": "is attested where the stack signs (test_vouching.py)",
                **dict.fromkeys(
                    (
                        *("node_pool", "gpus", "replicas.min", "replicas.max", "paused", "served_name", "args", "env"),
                        *("task", "adapters", "secret_env", "server", "labels", "priority_class", "topology_spread"),
                        *("fallback_pools", "hosts", "pull_secrets"),
                        *("resources.cpu", "resources.memory", "resources.shm", "scaling.query", "scaling.target"),
                        *("scaling.target_requests", "scaling.scale_down_delay", "drain_timeout"),
                        *("warm", "startup_timeout", "await_ready", "compile_cache"),
                    ),
                    elsewhere,
                ),
            },
            answer=built(),
            stack_outputs={
                name: {
                    **PRODUCER,
                    "models": {
                        key: {
                            "image": IMAGE.replace("models", f"{at}{key.replace('.', '')}"),
                            "digest": DIGEST,
                            "size_bytes": 7,
                        }
                        for key in ("qwen2.5", "tagged")
                    },
                }
                for at, name in enumerate((STACK, "acme/oci-model-serving/stage"))
            },
        )
        == []
    )


@pytest.mark.parametrize(("project", "region"), [("other", "us-central1"), ("demo", "europe-west4")])
def test_cloud_build_runs_in_the_stacks_project_and_region(project: str, region: str) -> None:
    registry = StackRegistry(REPOSITORY.settings, project, region)
    words = steps(run(args(registry, source="gs://weights/qwen", builder="cloudbuild")))["qwen2.5-build"]

    assert words[-5:] == ["--project", project, "--region", region, "--json"]


@pytest.mark.parametrize("builder", ["direct", "docker", "cloudbuild"])
def test_every_builder_takes_the_same_choice_of_files_and_a_new_choice_builds_again(builder: str) -> None:
    plain = run(args(source=HUB, builder=builder))
    files = {"allow": ["*.json", "*.bin"], "ignore": ["onnx/*"], "shardGb": 4, "convert": "safetensors"}
    chosen = run(args(source=HUB, builder=builder, files={**files, "pickle": "allow"}))

    options = ["--allow", "*.json", "--allow", "*.bin", "--ignore", "onnx/*", "--shard-gb", "4"]
    options += ["--convert", "safetensors", "--pickle", "allow"]
    step = "qwen2.5-context" if builder == "docker" else "qwen2.5-build"
    said = steps(chosen)[step]
    assert [word for word in said if word not in steps(plain)[step] or word in options] == options
    first, second = (next(one for one in each.of_type(COMMAND) if one.name == step) for each in (plain, chosen))
    assert second.inputs["triggers"] == [*first.inputs["triggers"], *options]


def test_cloud_build_is_told_its_place() -> None:
    place = CloudBuildSettings(
        region="europe-west4",
        service_account="builder@demo.iam.gserviceaccount.com",
        machine_type="E2_HIGHCPU_32",
        disk_gb=500,
        timeout=36000,
        step_image="mirror.example/python@" + DIGEST,
    )
    made = args(source=HUB, builder="cloudbuild")
    words = steps(run(replace(made, cloud_build=place, hub_token=SecretStr(HUB_SECRET))))["qwen2.5-build"]

    assert words[words.index("--project") :] == [
        *["--project", "demo", "--region", "europe-west4"],
        *["--service-account", "builder@demo.iam.gserviceaccount.com", "--machine-type", "E2_HIGHCPU_32"],
        *["--disk-gb", "500", "--timeout", "36000", "--step-image", f"mirror.example/python@{DIGEST}"],
        *["--hf-token-secret", HUB_SECRET, "--json"],
    ]


@pytest.mark.parametrize("builder", ["direct", "docker"])
def test_the_hubs_token_reaches_a_build_by_its_environment_alone_and_as_a_secret(builder: str) -> None:
    recording = run(replace(args(source=HUB, builder=builder), hub_token=SecretStr("hf_not-a-real-one")))

    told = [one for one in recording.of_type(COMMAND) if one.inputs.get("environment")]
    assert [one.name for one in told] == ["qwen2.5-context" if builder == "docker" else "qwen2.5-build"]
    assert told[0].inputs["environment"] == {"HF_TOKEN": Secret("hf_not-a-real-one")}
    others = [{**one.inputs, "environment": None} for one in recording.resources]
    assert "hf_not-a-real-one" not in dumps(others)


@pytest.mark.parametrize("builder", ["direct", "docker"])
def test_a_version_in_secret_manager_is_no_token_of_this_machine(builder: str) -> None:
    recording = run(replace(args(source=HUB, builder=builder), hub_token=SecretStr(HUB_SECRET)))

    assert "environment" not in recording.of_type(COMMAND)[0].inputs
    assert HUB_SECRET not in dumps([one.inputs for one in recording.resources])


def test_the_machines_of_the_settings_are_cloud_builds_own() -> None:
    from modelimage.cloud_build import MACHINE_TYPES

    (names, _) = get_args(get_type_hints(CloudBuildSettings)["machine_type"])
    assert set(get_args(names)) == set(MACHINE_TYPES)


# Pods of the stack's cluster.


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text("the text of a kubeconfig")
    return path


def run_in_cluster(model: StackModel, kubeconfig: Path, context: str | None = None) -> Recording:
    settings = ClusterSettings(kubeconfig=str(kubeconfig), context=context)

    def program() -> None:
        cluster = Cluster("cluster", StackCluster(settings))
        image = ModelImage("qwen2.5", model, REGISTRY, cluster=cluster)
        pulumi.export("reference", image.reference.apply(str))

    return record(program, answer=built(size_bytes=42))


def test_the_stacks_cluster_packs_and_is_reached_by_the_environment_alone(kubeconfig: Path) -> None:
    recording = run_in_cluster(args(source=HUB, builder="cluster"), kubeconfig)

    words = ["clusterbuild", HUB, f"{REGISTRY}/qwen2-5", "--base", BUSYBOX, "--json"]
    assert steps(recording) == {"qwen2.5-build": words}
    (build,) = (one for one in recording.of_type(COMMAND) if one.name == "qwen2.5-build")
    assert build.inputs["environment"] == {"OMS_KUBECONFIG": Secret(str(kubeconfig))}
    assert recording.outputs["reference"] == f"{REGISTRY}/qwen2-5@{DIGEST}"


def test_the_other_builders_do_not_wait_for_the_cluster(kubeconfig: Path) -> None:
    for builder in ("direct", "cloudbuild"):
        recording = run_in_cluster(args(source=HUB, builder=builder), kubeconfig)
        (build,) = (one for one in recording.of_type(COMMAND) if one.name == "qwen2.5-build")
        assert "environment" not in build.inputs


def test_a_cluster_is_told_how_its_pods_pack(kubeconfig: Path) -> None:
    place = ClusterBuildSettings(
        namespace="builds",
        pods=8,
        shares=32,
        image="mirror.example/python@" + DIGEST,
        service_account="packer",
        hub_token_secret="hub",
        registry_secret="registry",
        node_selector={"cloud.google.com/gke-spot": "true"},
        tolerations=("cloud.google.com/gke-spot=true:NoSchedule",),
        cpu="2",
        memory="4Gi",
        timeout=7200,
        env={"PIP_INDEX_URL": "https://mirror.example/simple"},
    )
    made = replace(args(source=HUB, builder="cluster"), cluster_build=place)
    words = steps(run_in_cluster(made, kubeconfig, "admin"))["qwen2.5-build"]

    assert words[words.index("--context") :] == [
        *["--context", "admin", "--namespace", "builds", "--pods", "8", "--shares", "32"],
        *["--step-image", f"mirror.example/python@{DIGEST}", "--service-account", "packer"],
        *["--hub-token-secret", "hub", "--registry-secret", "registry", "--cpu", "2", "--memory", "4Gi"],
        *["--timeout", "7200", "--node-selector", "cloud.google.com/gke-spot=true"],
        *["--toleration", "cloud.google.com/gke-spot=true:NoSchedule"],
        *["--env", "PIP_INDEX_URL=https://mirror.example/simple", "--json"],
    ]


def test_every_setting_of_a_build_in_a_cluster_has_an_effect(kubeconfig: Path) -> None:
    changes = {
        "namespace": "builds",
        "pods": 3,
        "shares": 9,
        "image": "mirror.example/python:3.12",
        "service_account": "packer",
        "hub_token_secret": "hub",
        "registry_secret": "registry",
        "node_selector": {"a": "b"},
        "tolerations": ("a",),
        "cpu": "2",
        "memory": "4Gi",
        "timeout": 7200,
        "env": {"A": "b"},
    }
    cluster = StackCluster(ClusterSettings(kubeconfig=str(kubeconfig)))
    made = args(source=HUB, builder="cluster")

    def program(place: ClusterBuildSettings) -> None:
        model = replace(made, cluster_build=place)
        ModelImage("qwen2.5", model, REGISTRY, cluster=Cluster("cluster", cluster))

    assert unreached(program, ClusterBuildSettings(), changes, exempt={}, answer=built()) == []


def test_every_option_that_a_stack_gives_to_a_build_in_a_cluster_is_one_of_the_command(kubeconfig: Path) -> None:
    from oms.image import clusterbuild

    place = ClusterBuildSettings(node_selector={"a": "b"}, tolerations=("a",), env={"A": "b"})
    made = replace(args(source=HUB, builder="cluster"), cluster_build=place)
    words = steps(run_in_cluster(made, kubeconfig, "admin"))["qwen2.5-build"]
    with clusterbuild.make_context("clusterbuild", words[1:]) as context:
        given = context.params
    usual = ClusterBuildSettings()
    assert (given["node_selector"], given["toleration"], given["env"]) == ({"a": "b"}, ("a",), {"A": "b"})
    same = ("namespace", "pods", "shares", "service_account", "cpu", "memory", "timeout")
    assert [given[name] for name in same] == [getattr(usual, name) for name in same]


def test_the_hubs_token_reaches_a_cluster_by_the_environment_unless_a_secret_is_named(kubeconfig: Path) -> None:
    made = replace(args(source=HUB, builder="cluster"), hub_token=SecretStr("hf_not-a-real-one"))
    named = replace(made, cluster_build=ClusterBuildSettings(hub_token_secret="hub"))

    told = [one.inputs["environment"] for one in run_in_cluster(made, kubeconfig).of_type(COMMAND)]
    assert [known["HF_TOKEN"] for known in told] == [Secret("hf_not-a-real-one")]
    told = [one.inputs["environment"] for one in run_in_cluster(named, kubeconfig).of_type(COMMAND)]
    assert [list(known) for known in told] == [["OMS_KUBECONFIG"]]


@pytest.mark.parametrize("enable", [True, False])
def test_cloud_builds_api_is_enabled_unless_told(enable: bool) -> None:
    create = RegistryCreate(repository="models", enable_apis=enable)
    registry = StackRegistry(RegistrySettings(create=create), "demo", "us-central1")
    recording = run(args(registry, source="gs://weights/qwen", builder="cloudbuild"))

    services = [one.inputs["service"] for one in recording.of_type("gcp:projects/service:Service")]
    assert services == (["cloudbuild.googleapis.com"] if enable else [])


# Adapters.


def adapter(**fields: Any) -> StackAdapter:
    settings = AdapterSettings.model_validate({} if "digest" in fields or "from_stack" in fields else {"source": HUB})
    return StackAdapter("qwen2.5/sql", settings.model_copy(update=fields), Target.GKE, REPOSITORY, "sql", "qwen2.5")


def run_adapter(**fields: Any) -> Recording:
    def program() -> None:
        image = ModelImage("qwen2.5/sql", adapter(**fields), REGISTRY)
        pulumi.export("reference", image.reference.apply(str))
        pulumi.export("rank", image.traits.apply(lambda traits: traits.lora_rank))

    answer = built(traits={"qwen2-5-sql": {"lora_rank": 32}})
    return record(program, answer=answer, stack_outputs={STACK: PROMOTED})


PROMOTED = {
    "contract_version": 1,
    "models": {
        "qwen2.5": {
            "image": IMAGE,
            "digest": DIGEST,
            "size_bytes": 1,
            "adapters": {"sql": {"image": IMAGE.replace("qwen", "lora"), "digest": DIGEST, "size_bytes": 1}},
        }
    },
}


def test_an_adapter_is_packed_as_one_upon_nothing_below_its_models_name() -> None:
    recording = run_adapter()

    words = ["pack", HUB, f"{REGISTRY}/qwen2-5-sql", "--base", "scratch", "--adapter", "--json"]
    assert steps(recording) == {"qwen2.5/sql-build": words}
    assert recording.outputs["reference"] == f"{REGISTRY}/qwen2-5-sql@{DIGEST}"
    assert recording.outputs["rank"] == 32


def test_an_adapter_of_another_stack_is_that_models_adapter() -> None:
    recording = run_adapter(from_stack=STACK)

    assert recording.outputs["reference"] == IMAGE.replace("qwen", "lora")


def test_an_adapter_that_the_other_stack_does_not_serve_is_named_with_those_that_it_does() -> None:
    with pytest.raises(ContractError, match=r"serves no adapter 'sq' of 'qwen2\.5': it serves sql; did you mean"):
        run_adapter(from_stack=STACK, adapter="sq")


@pytest.mark.parametrize("builder", ["docker", "cloudbuild"])
def test_every_builder_is_told_of_an_adapter(builder: str, in_a_folder: Path) -> None:
    recording = run_adapter(builder=builder)

    first = next(iter(steps(recording).values()))
    assert first[0] in {"context", "cloudbuild"}
    assert "--adapter" in first


# What the files say.


def traits_of(preview: bool = False, presumed: Traits | None = None, **said: Any) -> Any:
    model = replace(args(source=HUB), traits=presumed)

    def program() -> None:
        pulumi.export("traits", ModelImage("qwen2.5", model, REGISTRY).traits.apply(asdict))

    answer = None if preview else built(traits={"qwen2-5": said})
    return record(program, preview=preview, answer=answer).outputs["traits"]


def test_what_the_packer_says_of_the_files_is_what_counts() -> None:
    found = traits_of(presumed=Traits(), task="embedding", weights_file="m.gguf", a_key_of_a_later_version=1)

    assert found == asdict(Traits(task="embedding", weights_file="m.gguf"))


def test_a_state_of_a_packer_that_said_nothing_means_a_folder_that_generates() -> None:
    assert traits_of() == asdict(Traits())


def test_a_plan_takes_what_only_a_build_can_tell_to_be_as_presumed_or_unknown() -> None:
    assert traits_of(preview=True, presumed=Traits()) == asdict(Traits())
    assert isinstance(traits_of(preview=True), KnownAfter)


def test_every_setting_of_an_adapter_has_an_effect() -> None:
    existing = {"source": None, "digest": IMAGE}
    promoted = {"source": None, "from_stack": STACK}
    other = "acme/oci-model-serving/stage"
    adapters = {
        name: {"image": IMAGE.replace("qwen", name), "digest": DIGEST, "size_bytes": 1} for name in ("sql", "x")
    }
    models = {"qwen2.5": {"adapters": adapters}, "y": {"adapters": {"sql": adapters["x"]}}}
    there = {"contract_version": CONTRACT_VERSION, "models": models}

    without = unreached(
        lambda settings: ModelImage(
            "qwen2.5/sql", StackAdapter("qwen2.5/sql", settings, Target.GKE, REPOSITORY, "sql", "qwen2.5"), REGISTRY
        ),
        AdapterSettings(source=HUB),
        {
            "source": "gs://weights/lora",
            "digest": With(IMAGE.replace("qwen", "other"), existing),
            "from_stack": With(other, promoted),
            "model": With("y", promoted),
            "adapter": With("x", promoted),
            "copy_image": With(value=True, others=existing),
            "builder": "docker",
            "platform": "linux/arm64",
            **OTHER_FILES,
        },
        exempt={
            "size_gb": "is an output; tested above",
            "licence": "is attested, where the stack signs (test_vouching.py)",
        },
        answer=built(),
        stack_outputs={STACK: there, other: there},
    )

    assert without == []
