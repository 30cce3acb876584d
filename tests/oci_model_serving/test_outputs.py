"""The contract between stacks: what is written is what is read, and what is not of it is refused by name."""

import copy
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
