"""Reading a stack's configuration: what is right is typed, what is wrong is told all at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components.settings import reader as settings
from components.settings.stack import Settings
from components.settings.types import Target
from modelimage.traits import Traits
from oci_model_serving.delivery import Delivery
from tests.components.settings.reading import problems, read
from tests.mocks import record
from tests.serving import IMAGE, NAMESPACE, PULL_SECRETS, ROOT, gke, settings_of
from tests.weights import safetensors_bytes

STACKS = ("local", "dev", "prod")
EVERYTHING_WRONG: dict[str, Any] = {
    "targett": "gke",
    "target": "gke",
    "registry": {"url": "https://registry.example/models"},
    "cluster": {"create": {"name": "demo", "version": 1.35}},
    "nodePools": {
        "l4": {"accelerator": "nvidia-l4", "bootDisk": {"sizeGb": 100}, "machineType": "n1-standard-4"},
        "t4": {"accelerator": "nvidia-tesla-t4", "count": "two", "minNodes": 3, "maxNodes": 1},
    },
    "platforms": {"kserve": {"gatway": "gke"}},
    "models": {
        "tagged": {"digest": "registry.example/models/qwen:v1", "nodePool": "l4"},
        "both": {"digest": IMAGE, "source": "hf://Qwen/Qwen@main", "nodePool": "h100"},
        "openai": {"digest": IMAGE, "delivery": "kubeai", "replicas": {"min": 2, "max": 1}},
        "q" * 54: {"digest": IMAGE, "gpus": 1},
    },
}
TOLD = [
    ("targett", "is unknown: did you mean 'target'?"),
    ("registry.url", "has a scheme: write 'registry.example/models'"),
    ("cluster.create.version", "is the number 1.35: put it in quotes"),
    ("nodePools.l4.bootDisk.sizeGb", "is 100: write at least 200"),
    ("nodePools.l4", "n1-standard-4"),
    ("nodePools.t4.count", "is 'two': write a whole number"),
    ("nodePools.t4.maxNodes", "is 1, below minNodes (3)"),
    ("platforms.kserve.gatway", "is unknown: did you mean 'gateway'?"),
    (
        "models.tagged.digest",
        "names the tag 'v1': a tag can move, so write registry.example/models/qwen@sha256:<64 hex>",
    ),
    ("models.both", "has source and digest: write exactly one"),
    ("models.both.source", "write hf://Qwen/Qwen@<40-hex commit>"),
    ("models.both.nodePool", "does not exist: the stack's pools are l4, t4"),
    ("models.openai.delivery", "is kubeai, but platforms.kubeai is not set"),
    ("models.openai.replicas.max", "is 1, below min (2)"),
    (f"models.{'q' * 54}.gpus", "there is no nodePool"),
    (f"models.{'q' * 54}", "KServe takes 53"),
]


def test_all_problems_of_a_stack_are_told_at_once_each_with_key_and_remedy() -> None:
    found = problems(EVERYTHING_WRONG)

    for path, said in TOLD:
        assert any(text.startswith(f"{NAMESPACE}:{path}: ") and said in text for text in found), (path, found)
    assert len(found) == len(set(found))


def test_the_error_is_one_message_with_a_line_for_each_problem() -> None:
    with pytest.raises(settings.SettingsError) as caught:
        read(EVERYTHING_WRONG)

    head, *lines = str(caught.value).splitlines()
    assert head == f"{len(lines)} problems in the stack's configuration:"
    assert lines == [f"  {problem}" for problem in caught.value.problems]
    assert issubclass(settings.SettingsError, pulumi.RunError)  # the engine shows it without a traceback


@pytest.mark.parametrize("verb", ["offline", "oms"])
def test_a_wrong_stack_ends_in_that_message_with_exit_code_2_and_no_traceback(verb: str, tmp_path: Path) -> None:
    config: dict[str, Any] = {f"{NAMESPACE}:{key}": value for key, value in EVERYTHING_WRONG.items()}
    config |= {"gcp:project": "demo", "gcp:region": "us-central1"}
    (tmp_path / "Pulumi.wrong.yaml").write_text(yaml.safe_dump({"config": config}))
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": "/nonexistent"}
    action = ["preview"] if verb == "oms" else []

    ended = subprocess.run(
        [sys.executable, "-m", verb, *action, "--stack", "wrong"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    for path, said in TOLD:
        assert any(f"{NAMESPACE}:{path}: " in line and said in line for line in ended.stderr.splitlines()), path
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"target": "aws"}, "target: is 'aws': write gke or local"),
        ({"models": ["a"]}, "models: is a list: write a map from names to settings"),
        ({"models": {"a": None}}, "models.a: is empty: write a "),
        (
            {"models": {"a": {"digest": IMAGE, "replicas": {"min": -1}}}},
            "models.a.replicas.min: is -1: write at least 0",
        ),
        ({"models": {"a": {"digest": IMAGE, "paused": "no"}}}, "models.a.paused: is 'no': write a boolean"),
        (
            {"models": {"a": {"digest": IMAGE, "resources": {"cpu": "4 cores"}}}},
            "'4 cores' is not a Kubernetes quantity",
        ),
        ({"models": {"a": {"digest": IMAGE, "served_name": "b"}}}, "models.a.served_name: is unknown: did you mean"),
        ({"platforms": {"kubeai": {}}}, "platforms.kubeai.version: is missing (chart version, no default)"),
        (
            {"platforms": {"kserve": {"version": "0.20.0"}}},
            "platforms.kserve.version: is '0.20.0' (version of its charts): write what matches ^v",
        ),
        ({"registry": {"url": "a.b/c", "create": {"repository": "d"}}}, "registry: has both create and url: keep one"),
        ({"cluster": {"name": "a", "kubeconfig": "b"}}, "cluster: has name and kubeconfig: keep one"),
        (
            {"nodePools": {"l4": {"accelerator": "nvidia-l4", "registryMirrors": {"docker.io": []}}}},
            "nodePools.l4.registryMirrors.docker.io: has too little: write at least 1, or remove it",
        ),
        ({"registry": {"create": {"repository": "m", "extraReaders": ["allUsers"]}}}, "would make the weights public"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_with_what_to_write(values: dict[str, Any], problem: str) -> None:
    assert any(problem in text for text in problems({**gke({}), **values})), problems({**gke({}), **values})


def test_a_list_is_not_called_too_short_for_what_is_wrong_in_it() -> None:
    mirrors = {"docker.io": [{"host": "mirror.gcr.io"}]}
    found = problems(gke({}, nodePools={"l4": {"accelerator": "nvidia-l4", "registryMirrors": mirrors}}))

    assert [text for text in found if "registryMirrors" in text] == [
        "oci-model-serving:nodePools.l4.registryMirrors.docker.io.0.host: 'mirror.gcr.io' is no mirror: write "
        "https://HOST[:PORT], or with the API's whole path https://HOST/v2/PATH"
    ]


def test_passwords_in_plain_text_are_refused_and_never_repeated() -> None:
    (problem,) = problems(gke({}, pullSecrets=PULL_SECRETS))

    assert "change the passwords" in problem
    assert "pulumi config set --secret --path 'pullSecrets.NAME.password'" in problem
    assert "hunter2" not in problem
    wrong = {"private": {**PULL_SECRETS["private"], "password": ["hunter2"], "usrname": "hunter2"}}
    assert "hunter2" not in "".join(problems(gke({}, pullSecrets=wrong), secret=["pullSecrets"]))


def test_an_encrypted_pull_secret_is_read_and_hides_its_password() -> None:
    made = read(gke({}, pullSecrets=PULL_SECRETS), secret=["pullSecrets"])

    assert made.pull_secrets["private"].password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(made)


def test_the_running_stacks_configuration_is_read_with_structured_values_and_secrets() -> None:
    seen: list[Settings] = []
    values = gke({"qwen": {"digest": IMAGE, "nodePool": "l4"}}, pullSecrets=PULL_SECRETS)
    config = {
        "gcp:project": "demo",
        "gcp:region": "us-central1",
        **{f"{NAMESPACE}:{key}": v if isinstance(v, str) else json.dumps(v) for key, v in values.items()},
    }

    record(
        lambda: seen.append(settings.load()),
        config=config,
        secret_keys=[f"{NAMESPACE}:pullSecrets"],
        project=NAMESPACE,
        stack_name="dev",
    )

    (made,) = seen
    assert (made.stack, made.target, made.project, made.region) == ("dev", Target.GKE, "demo", "us-central1")
    assert made.models["qwen"].delivery is Delivery.MODELCAR
    assert made.pull_secrets["private"].username == "reader"


def test_a_folders_size_is_known_before_the_build(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(bytes(3_000_000)))
    (tmp_path / "config.json").write_text("{}")

    made = read(gke({"a": {"source": str(tmp_path)}, "b": {"digest": IMAGE, "sizeGb": 7, "nodePool": "l4"}}))

    assert made.image_sizes_gb == {"a": pytest.approx(0.003, abs=1e-4), "b": 7}


def test_what_a_folder_holds_is_known_before_the_build_and_an_adapters_too(tmp_path: Path) -> None:
    for name, config in {
        "model/config.json": {"architectures": ["BertModel"]},
        "lora/adapter_config.json": {"r": 8},
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(json.dumps(config))
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes(safetensors_bytes(bytes(1_000_000)))
    adapters = {"sql": {"source": str(tmp_path / "lora")}, "hub": {"digest": IMAGE, "sizeGb": 2}}

    made = read(gke({"a": {"source": str(tmp_path / "model"), "adapters": adapters, "nodePool": "l4"}}))

    assert made.models["a"].traits == Traits(task="embedding", architecture="BertModel", has_config=True)
    sql, hub = made.models["a"].adapters
    assert (sql.traits, hub.traits) == (Traits(lora_rank=8), None)
    assert sql.size_gb == pytest.approx(0.001, rel=0.1)
    assert hub.size_gb == 2
    assert set(made.node_pools["l4"].image_sizes_gb) == {"a", "a/sql", "a/hub"}


def test_an_adapter_of_too_high_a_rank_is_refused_before_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 1024}')
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors_bytes(b"weights"))

    with pytest.raises(settings.SettingsError, match=r"models\.a\.adapters\.sql\.source: the adapter has rank 1024"):
        read(gke({"a": {"digest": IMAGE, "adapters": {"sql": {"source": str(tmp_path)}}}}))


def test_a_plan_knows_nothing_of_what_hints_at_a_gguf(tmp_path: Path) -> None:
    commit = "7ae557604adf67be50417f59c2c2f167def9a775"
    sources = {"a": f"hf://org/Model-GGUF@{commit}", "b": f"hf://org/Model@{commit}"}

    made = read(gke({key: {"source": source} for key, source in sources.items()}))

    assert {key: model.traits for key, model in made.models.items()} == {
        "a": None,
        "b": Traits(streams=True),
    }


def test_the_gateways_default_is_the_targets() -> None:
    assert read(gke({})).kserve.gateway == "gke"
    assert read({}).kserve.gateway == "none"
    assert read(gke({}, platforms={"kserve": {"gateway": "envoy"}})).kserve.gateway == "envoy"


def test_models_are_awaited_on_gke_only_unless_told() -> None:
    made = read(gke({"a": {"digest": IMAGE}, "b": {"digest": IMAGE, "awaitReady": False}}))
    assert [model.awaited for model in made.models.values()] == [True, False]
    assert not read({"registry": {"url": "a.b/c"}, "models": {"a": {"digest": IMAGE}}}).models["a"].awaited


@hypothesis_settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["create", "name", "accelerator", "digest", "replicas", "min", "kserve", "kubeai", "version", "url"]
                )
                | st.text(max_size=4),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(settings.KEYS),
)
def test_whatever_a_key_holds_is_read_or_told_and_never_a_crash(value: Any, key: str) -> None:
    # Without project and region, so that there is always something to tell.
    found = problems({**gke({}), key: value}, project="", region="", secret=["pullSecrets"])

    assert all(text.startswith((f"{NAMESPACE}:", "gcp:")) for text in found)


@pytest.mark.parametrize("stack", STACKS)
def test_the_committed_stacks_use_known_keys_only(stack: str) -> None:
    assert set(settings_of(ROOT / f"Pulumi.{stack}.yaml")) <= set(settings.KEYS)


def test_pulumi_yaml_declares_every_key_with_type_default_and_description() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]

    assert set(declared) == set(settings.KEYS)
    assert all({"type", "default", "description"} <= set(entry) for entry in declared.values())
    # What the engine fills in for a stack that says nothing is a stack that can be read.
    assert read({key: entry["default"] for key, entry in declared.items()}).target is Target.LOCAL
