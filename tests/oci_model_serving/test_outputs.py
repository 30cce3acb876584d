"""The contract between stacks: what is written is what is read, and what is not of it is refused by name."""

import copy
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from oci_model_serving import outputs
from tests import serving
from tests.mocks import KnownAfter, Recording, Secret, plain, record

STACK = "acme/oci-model-serving/dev"
MODELS = {
    "qwen2.5": {"digest": serving.IMAGE, "nodePool": "l4"},
    "openai": {"digest": serving.IMAGE, "delivery": "kubeai"},
}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """The outputs of a stack, as a deployment would leave them: what only Google knows is filled in."""
    made = dict(serving.run(serving.gke(MODELS)).outputs)
    made["cluster"] = {**made["cluster"], "version": "1.35.8-gke.1000000"}
    made["kubeconfig"] = Secret("apiVersion: v1")
    return made


def read(values: dict[str, Any]) -> Recording:
    def program() -> None:
        stack = pulumi.StackReference("dev", stack_name=STACK)
        pulumi.export("image", outputs.read(stack).apply(lambda made: made.model("qwen2.5").image))

    return record(program, stack_outputs={STACK: values})


def test_what_the_program_exports_is_what_a_consumer_reads(written: dict[str, Any]) -> None:
    assert read(written).outputs == {"image": serving.IMAGE}

    made = outputs.parse(plain(written))
    assert set(made.models) == set(MODELS)
    assert made.model("qwen2.5").reference.digest == serving.IMAGE.partition("@")[2]
    assert made.node_pools["l4"].disk_size_gb == 200
    assert made.node_service_accounts["l4"].endswith("@demo.iam.gserviceaccount.com")
    assert (made.platforms["kserve"].gateway, made.platforms["kubeai"].version) == ("gke", "0.24.0")


def test_only_the_kubeconfig_is_secret_and_it_stays_one(written: dict[str, Any]) -> None:
    assert {key for key, value in serving.run(serving.gke(MODELS)).outputs.items() if isinstance(value, Secret)} <= {
        "kubeconfig"
    }
    assert "apiVersion: v1" not in repr(outputs.parse({**plain(written), "kubeconfig": "apiVersion: v1"}))
    assert not isinstance(read(written).outputs["image"], Secret)


def test_no_digest_is_invented_while_the_other_stacks_outputs_are_not_known(written: dict[str, Any]) -> None:
    values = copy.deepcopy(written)
    values["models"]["openai"]["image"] = KnownAfter("build of openai")

    def program() -> None:
        image = outputs.read_image(pulumi.StackReference("dev", stack_name=STACK), "qwen2.5")
        pulumi.export("image", image.apply(lambda read: str(read[0])))

    seen = record(program, stack_outputs={STACK: values}).outputs["image"]
    assert isinstance(seen, KnownAfter)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contract_version": None}, "has no output contract_version: it is not a stack of this program, or it was"),
        ({"contract_version": 0}, "has outputs of contract 0, this program reads 1: run `pulumi up` on it with this"),
        ({"contract_version": 0.0}, "has outputs of contract 0, this program reads 1: run `pulumi up` on it with this"),
        ({"contract_version": "1"}, "has an output contract_version that is no number, '1': it is not a"),
        ({"contract_version": 2}, "has outputs of contract 2, this program reads 1: update this program"),
        ({"registry_url": None}, "registry_url: Field required; run `pulumi up` on it"),
        ({"models": {"qwen2.5": {"image": "x"}}}, "models.qwen2.5.digest: Field required"),
    ],
)
def test_other_outputs_are_refused_with_what_to_do(written: dict[str, Any], change: dict[str, Any], said: str) -> None:
    values = {key: value for key, value in {**plain(written), **change}.items() if value is not None}

    with pytest.raises(outputs.ContractError) as caught:
        outputs.parse(values, stack=STACK)

    assert said in str(caught.value)
    assert str(caught.value).startswith((STACK, f"outputs of {STACK}"))
    assert isinstance(caught.value, pulumi.RunError)  # the engine shows it without a traceback


DEEP: Any = []
for _ in range(5000):
    DEEP = [DEEP]

MODEL_FORGERIES: dict[str, list[Any]] = {
    "image": ["", "registry.example/m:v1", "\x1b[2J", serving.IMAGE[:-1], serving.IMAGE.upper(), None, 7, [], {}, DEEP],
    "digest": ["", "sha256:", "sha256:" + "0" * 64, "sha512:" + "0" * 128, None, 7, {}],
    "size_bytes": [-1, 1 << 63, 10**400, 1.5, float("nan"), float("inf"), "many", None, [], {}],
    "namespace": ["../../secrets", "a b", "A", "\ud800", None, 7],
    "name": ["../x", "x/y", "x?y", "\x1b]0;x\x07", None],
    "url": ["file:///etc/passwd", "javascript:x", "http://user:pw@host", "http://h\n", "//h", 7],
    "replicas": [-1, 1 << 31, "x"],
    "delivery": ["", "other", None],
    "adapters": [[], "x", {"a": 7}, {"a": {"image": "x"}}],
}
FORGERIES: dict[str, list[Any]] = {
    "models": [[], "x", 7, {"qwen2.5": None}, {"qwen2.5": []}, {"qwen2.5": "x"}, {"qwen2.5": {}}, DEEP],
    "contract_version": [None, "1", "\x1b[2J" * 10_000, [], {}, -1, float("nan"), 10**400],
    "cluster": [None, [], "x", {"name": 1}],
    "node_pools": [[], {"l4": None}],
    "platforms": [{"other": {}}, {"kserve": {"version": "1", "namespace": "../x"}}],
}


def forged(written: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, values in FORGERIES.items():
        for value in values:
            yield {**plain(written), key: value}
    for key, values in MODEL_FORGERIES.items():
        for value in values:
            made = copy.deepcopy(plain(written))
            made["models"]["qwen2.5"][key] = value
            yield made


def test_forged_outputs_are_refused_in_few_words_that_no_terminal_obeys(written: dict[str, Any]) -> None:
    for values in forged(written):
        with pytest.raises(outputs.ContractError) as caught:
            outputs.parse(values, stack=STACK)
        said = str(caught.value)
        assert len(said) < 10_000
        assert said.isprintable(), said


@pytest.mark.parametrize("key", ["image", "digest", "size_bytes"])
def test_a_promoted_image_is_read_by_the_contract_and_its_error_shows_no_traceback(
    written: dict[str, Any], key: str
) -> None:
    # The engine's protocol carries neither what is nested so deeply nor a number of hundreds of digits.
    for value in (one for one in MODEL_FORGERIES[key] if one is not DEEP and one != 10**400):
        values = copy.deepcopy(plain(written))
        values["models"]["qwen2.5"][key] = value

        def program() -> None:
            image = outputs.read_image(pulumi.StackReference("dev", stack_name=STACK), "qwen2.5")
            pulumi.export("image", image.apply(lambda read: str(read[0])))

        with pytest.raises(outputs.ContractError) as caught:
            record(program, stack_outputs={STACK: values})
        # The SDK wraps these two where they come up in inputs, and the engine shows a traceback.
        assert not isinstance(caught.value, ValueError | AssertionError)


def test_what_a_newer_version_writes_beside_an_image_keeps_nobody_from_promoting_it(written: dict[str, Any]) -> None:
    values = copy.deepcopy(plain(written))
    values["models"]["qwen2.5"] |= {"delivery": "newer", "task": "newer", "traits": {"task": "newer"}}

    def program() -> None:
        image = outputs.read_image(pulumi.StackReference("dev", stack_name=STACK), "qwen2.5")
        pulumi.export("image", image.apply(lambda read: str(read[0])))

    assert record(program, stack_outputs={STACK: values}).outputs["image"] == serving.IMAGE


def test_keys_of_a_newer_producer_are_passed_over(written: dict[str, Any]) -> None:
    assert outputs.parse({**plain(written), "newer": 1}).contract_version == 1


def test_maps_that_the_engine_leaves_out_when_empty_are_empty(written: dict[str, Any]) -> None:
    values = {key: plain(written)[key] for key in ("contract_version", "registry_url", "cluster")}

    assert outputs.parse(values).models == {}


def test_a_model_that_is_not_served_is_named_with_those_that_are(written: dict[str, Any]) -> None:
    made = outputs.parse(plain(written))

    with pytest.raises(outputs.ContractError, match=r"serves no model 'qwen25': .*did you mean 'qwen2\.5'\?"):
        made.model("qwen25", stack=STACK)


def test_keys_that_are_not_of_the_contract_are_not_exported() -> None:
    with pytest.raises(TypeError, match=r"differ from the contract: .*'extra'"):
        record(lambda: outputs.export({"extra": 1}))
