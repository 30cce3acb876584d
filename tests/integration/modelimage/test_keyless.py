"""A bundle that GitHub's identity has signed, as Sigstore's own log recorded it, is verified without a network.

It is among the tests' data of sigstore-go, in the module cache once .ci/run has built cosign.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from modelimage.signing import bundles
from modelimage.signing.bundles import BundleError
from modelimage.signing.keyless import Identity, Trust
from modelimage.signing.signers import Trusted

pytestmark = pytest.mark.integration

DATA = Path("~/go/pkg/mod/github.com/sigstore/sigstore-go@v1.2.2/pkg/testing/data").expanduser()
ISSUER = "https://token.actions.githubusercontent.com"
WORKFLOW = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"


@pytest.fixture
def trust() -> Trust:
    if not DATA.is_dir():
        pytest.skip("sigstore-go's recorded bundles are not here: .ci/run builds cosign, which brings them")
    return Trust(str(DATA / "trusted-roots/public-good.json"))


def test_the_identity_that_signed_is_found_among_others_and_no_other_is_taken(trust: Trust) -> None:
    bundle = bundles.read((DATA / "bundles/sigstore.js@2.0.0-provenance.sigstore.json").read_bytes())
    assert bundle.keyless
    other, right = Identity(WORKFLOW.replace("main", "fork"), ISSUER), Identity(WORKFLOW, ISSUER)
    name, payload = Trusted((), (other, right), trust).signer_of(bundle)
    assert name == right.name
    assert bundles.claim_of(payload).predicate_type.startswith("https://slsa.dev/provenance/")
    for wrong in (other, Identity(WORKFLOW, "https://accounts.example.com")):
        with pytest.raises(BundleError):
            Trusted((), (wrong,), trust).signer_of(bundle)
