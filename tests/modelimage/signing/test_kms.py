"""Keys of Google KMS, on the loopback server that is made from Google's discovery documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import google.auth
import pytest
from google.oauth2.credentials import Credentials

from modelimage import pack
from modelimage.errors import ImageError
from modelimage.signing import kms
from modelimage.signing.trust import sign, verify
from oci_model_serving.errors import InputError
from tests.google.endpoints import Loopback, loopback
from tests.google.errors import GoogleError
from tests.google.kms import add_version

NAME = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
KEY = f"gcpkms://{NAME}"
SIGN = "cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions.asymmetricSign"


@pytest.fixture
def google_kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with loopback() as server:
        add_version(server.state, NAME)
        monkeypatch.setattr(kms, "ENDPOINT", server.address("cloudkms"))
        monkeypatch.setattr(google.auth, "default", lambda **_: (Credentials("token"), "p"))  # type: ignore[no-untyped-call]
        yield server
        assert server.violations == []


def test_a_key_of_kms_signs_and_verifies(google_kms: Loopback, model: Path, tmp_path: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'layout'}").reference
    sign(image, key=KEY)
    assert verify(image, keys=[KEY.replace("cryptoKeyVersions", "versions")]).signer.endswith("versions/1")
    assert sum(request.method == SIGN for request in google_kms.requests) == 1


def test_a_refusal_is_told_with_the_role_that_is_missing(google_kms: Loopback) -> None:
    google_kms.faults.refusing = {SIGN: [GoogleError(403, "Permission denied on k", code="PERMISSION_DENIED")]}
    with pytest.raises(ImageError, match=r"Permission denied on k: grant roles/cloudkms.signerVerifier on it"):
        kms.signer(KEY).sign(b"data")


def test_a_key_that_signs_otherwise_is_refused(google_kms: Loopback) -> None:
    add_version(google_kms.state, NAME, "EC_SIGN_P384_SHA384")
    with pytest.raises(InputError, match="EC_SIGN_P384_SHA384: take a key for EC_SIGN_P256_SHA256"):
        kms.public_key(KEY)


@pytest.mark.parametrize("text", [KEY.rpartition("/cryptoKeyVersions")[0], KEY + "/x", "gcpkms://", f"{KEY}?a=b"])
def test_only_a_version_is_a_key(text: str) -> None:
    with pytest.raises(InputError, match="is no version of a key"):
        kms.public_key(text)
