"""The real cosign (v3.1.3) verifies what we sign and attest, and we verify what it does; model-signing its files."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelimage import copy, pack
from modelimage.signing.statements import PREDICATES, Facts
from modelimage.signing.trust import UnsignedError, attest, sign, verify
from tests.modelimage.signing.hands import write_keys
from tests.registry import RegistryServer, registry_missing

pytestmark = pytest.mark.integration

HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
NO_SERVICES = '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}'
"""A signing configuration without Sigstore's log and clock, which are not here."""

Cosign = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cosign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_tools: None) -> Cosign:
    program = shutil.which("cosign")
    if program is None:
        pytest.skip("cosign is not here: .ci/run builds it")
    monkeypatch.setenv("COSIGN_PASSWORD", "open sesame")
    monkeypatch.setenv("TUF_ROOT", str(tmp_path / "tuf"))
    (tmp_path / "services.json").write_text(NO_SERVICES)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert run("generate-key-pair").returncode == 0
    return run


@pytest.fixture
def image(registry: RegistryServer, model: Path) -> str:
    return pack(str(model), f"{registry.host}/models").reference


def verifies(cosign: Cosign, image: str, key: str, *words: str) -> subprocess.CompletedProcess[str]:
    verb = "verify-attestation" if words else "verify"
    return cosign(verb, *words, "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry", image)


def test_cosign_verifies_what_we_sign_with_its_key_and_with_a_plain_one(
    cosign: Cosign, image: str, tmp_path: Path
) -> None:
    own, public = write_keys(tmp_path)
    assert verifies(cosign, image, "cosign.pub").returncode != 0
    sign(image, key=str(tmp_path / "cosign.key"))
    answer = verifies(cosign, image, "cosign.pub")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[0]["critical"]["image"] == {"docker-manifest-digest": image.partition("@")[2]}
    assert verifies(cosign, image, public).returncode != 0
    sign(image, key=own)
    assert verifies(cosign, image, public).returncode == 0


def test_we_verify_what_cosign_signs_and_nothing_that_it_attests_only(
    cosign: Cosign, image: str, tmp_path: Path
) -> None:
    common = ("--key", "cosign.key", "--signing-config", "services.json", "--allow-http-registry", "-y", image)
    (tmp_path / "predicate.json").write_text("{}")
    attested = cosign("attest", "--predicate", "predicate.json", "--type", "slsaprovenance1", *common)
    assert attested.returncode == 0, attested.stderr
    public = str(tmp_path / "cosign.pub")
    with pytest.raises(UnsignedError, match="is not signed by"):
        verify(image, keys=[public])
    signed = cosign("sign", *common)
    assert signed.returncode == 0, signed.stderr
    assert verify(image, keys=[public], attestations=["provenance"]).attestations == {"provenance": public}
    with pytest.raises(UnsignedError):
        verify(image, keys=[write_keys(tmp_path)[1]])


def test_cosign_verifies_our_attestations_and_all_of_it_where_the_image_is_copied_to(
    cosign: Cosign, image: str, tmp_path: Path
) -> None:
    if reason := registry_missing():
        pytest.skip(reason)
    key, public = str(tmp_path / "cosign.key"), str(tmp_path / "cosign.pub")
    sign(image, key=key)
    attest(image, Facts(HUB, licence="apache-2.0"), key=key, files=True)
    with RegistryServer(tmp_path / "elsewhere") as target:
        there = copy(image, f"{target.host}/promoted").reference
        for at in (image, there):
            assert verifies(cosign, at, public).returncode == 0
            for kind in ("slsaprovenance1", "cyclonedx"):
                answer = verifies(cosign, at, public, "--type", kind)
                assert answer.returncode == 0, answer.stderr
            assert verify(at, keys=[public], attestations=list(PREDICATES)).attestations == dict.fromkeys(
                PREDICATES, public
            )
    statement = json.loads(base64.b64decode(json.loads(answer.stdout.splitlines()[-1])["payload"]))
    assert statement["predicate"]["metadata"]["component"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]


def test_model_signing_verifies_the_files_that_we_attest(
    registry: RegistryServer, image: str, model: Path, tmp_path: Path
) -> None:
    model_signing = pytest.importorskip("model_signing")
    private, public = write_keys(tmp_path)
    made = attest(image, Facts(HUB), key=private, files=True).attached[PREDICATES["files"]]
    layer = registry.manifest("models", made).json()["layers"][0]["digest"]
    bundle = tmp_path / "model.sig"
    bundle.write_bytes(registry.get(f"models/blobs/{layer}").content)
    (model / ".gitattributes").unlink()  # what no image of ours holds
    verifying = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=Path(public))
    verifying.verify(model, bundle)
    (model / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(ValueError, match=r"does not match|mismatch"):
        verifying.verify(model, bundle)
