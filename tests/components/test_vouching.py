"""What a stack builds is signed, and nothing is copied or served that nobody vouches for who is named."""

import shlex
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from pydantic import ValidationError

from components.model_image import ModelImage
from components.serving.admission import admit
from components.settings.models import StackModel
from components.settings.places import StackRegistry
from components.settings.registry import RegistrySettings
from components.settings.serving import KServeSettings, ModelSettings
from components.settings.types import Target
from tests.mocks import DIGEST, Recording, Resource, built, record
from tests.serving import IMAGE

COMMAND = "command:local:Command"
HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
REGISTRY = "us-central1-docker.pkg.dev/demo/models"
BUILT = f"{REGISTRY}/qwen@{DIGEST}"
KMS = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
ISSUER = "https://token.actions.githubusercontent.com"
SIGNERS = {"signers": [{"key": "cosign.pub"}, {"identity": "https://github.com/o/r", "issuer": ISSUER}]}
WANTED = ["--key", "cosign.pub", "--identity", "https://github.com/o/r", "--issuer", ISSUER]


def run(registry: Mapping[str, Any], *, answer: Any = None, preview: bool = False, **fields: Any) -> Recording:
    settings = RegistrySettings.model_validate({"create": {"repository": "models"}, **registry})
    place = StackRegistry(settings, "demo", "us-central1")
    model = StackModel("qwen", ModelSettings.model_validate(fields), Target.GKE, place, KServeSettings())

    def program() -> None:
        images = {"qwen": ModelImage("qwen", model, REGISTRY)}
        pulumi.export("admitted", admit({"qwen": model}, images)["qwen"].apply(str))

    return record(program, preview=preview, answer=answer or built())


def words(recording: Recording) -> dict[str, list[str]]:
    made = [step for step in recording.of_type(COMMAND) if "create" in step.inputs]
    return {step.name: shlex.split(step.inputs["create"])[3:-1] for step in made}


def test_what_the_stack_builds_is_signed_and_attested_by_its_digest_and_then_verified() -> None:
    recording = run({"sign": {"key": KMS, "files": True}, "verify": SIGNERS}, source=HUB, files={"allow": ["*.json"]})
    said = words(recording)
    assert said["qwen-sign"] == ["sign", BUILT, "--key", KMS]
    assert said["qwen-attest"][:4] == ["attest", BUILT, "--source", HUB]
    assert "--files" in said["qwen-attest"]
    assert "allow=*.json" in said["qwen-attest"]
    assert said["qwen-attest"][-2:] == ["--key", KMS]
    assert said["qwen-verify"] == ["verify", BUILT, *WANTED]
    assert recording.outputs == {"admitted": BUILT}


def test_a_licence_that_is_vouched_for_is_attested() -> None:
    said = words(run({"sign": {"keyless": True}}, source=HUB, licence="apache-2.0"))["qwen-attest"]
    assert said[said.index("--licence") + 1] == "apache-2.0"


def test_a_stack_that_signs_as_its_workflow_says_so() -> None:
    assert words(run({"sign": {"keyless": True}}, source=HUB))["qwen-sign"] == ["sign", BUILT, "--keyless"]


def test_an_image_in_a_layout_is_signed_where_it_lies() -> None:
    said = words(run({"create": None, "sign": {"key": "own.key"}, "verify": SIGNERS}, source=HUB))
    assert said["qwen-sign"][1] == said["qwen-verify"][1] == f"oci:.local/images/qwen@{DIGEST}"


@pytest.mark.parametrize("copied", [False, True])
def test_an_image_that_exists_is_verified_where_it_comes_from(copied: bool) -> None:
    said = words(run({"verify": {**SIGNERS, "attestations": ["bom"]}}, digest=IMAGE, copy=copied))
    assert said["qwen-verify"] == ["verify", IMAGE, *WANTED, "--attestation", "bom"]


@pytest.mark.parametrize("fields", [{"source": HUB}, {"digest": IMAGE}, {"digest": IMAGE, "copy": True}])
def test_what_is_not_verified_is_neither_admitted_nor_copied(fields: dict[str, Any]) -> None:
    usual = built()
    seen: list[str] = []

    def refusing(resource: Resource) -> Any:
        seen.append(resource.name)
        if resource.name == "qwen-verify":
            raise RuntimeError("is not signed by cosign.pub")
        return usual(resource)

    with pytest.raises(Exception, match="is not signed by"):
        run({"verify": SIGNERS}, answer=refusing, **fields)
    assert "qwen-copy" not in seen


def test_a_plan_shows_what_will_be_verified_before_it_is() -> None:
    recording = run({"verify": SIGNERS}, preview=True, answer=lambda _: None, digest=IMAGE)
    assert recording.outputs == {"admitted": IMAGE}


def test_a_stack_without_these_keys_runs_nothing_more() -> None:
    assert list(words(run({}, source=HUB))) == ["qwen-build"]


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ({"sign": {}}, "write exactly one"),
        ({"sign": {"key": "k", "keyless": True}}, "write exactly one"),
        ({"sign": {"key": "-----BEGIN EC PRIVATE KEY-----"}}, "holds a private key"),
        ({"sign": {"key": "-----BEGIN PUBLIC KEY-----"}}, "has a public key"),
        ({"sign": {"key": KMS.rpartition("/cryptoKeyVersions")[0]}}, "names no version of a key"),
        ({"verify": {"signers": []}}, "at least 1"),
        ({"verify": {"signers": [{"identity": "me@example.com"}]}}, "write either key, or identity and issuer"),
        ({"verify": {"signers": [{"key": "k", "identity": "i", "issuer": ISSUER}]}}, "write either key"),
        ({"verify": {"signers": [{"key": "--key"}]}}, "is no key"),
    ],
)
def test_keys_that_mean_nothing_or_two_things_are_refused(registry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RegistrySettings.model_validate(registry)
