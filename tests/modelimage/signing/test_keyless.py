"""Signatures of an identity: which certificate is whose, and what is told where nothing can be verified or signed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sigstore.errors import VerificationError
from sigstore.verify import policy

from modelimage.errors import ImageError
from modelimage.signing import bundles, keyless
from modelimage.signing.bundles import BundleError
from modelimage.signing.keyless import Identity, Trust
from modelimage.signing.signers import hand, trusted
from oci_model_serving.errors import InputError

ISSUER = "https://token.actions.githubusercontent.com"
WORKFLOW = "https://github.com/o/r/.github/workflows/deploy.yml@refs/heads/main"


def certificate() -> x509.Certificate:
    """As Fulcio makes them (docs/certificate-specification.md): the identity as a URI, the issuer in an extension."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    issuer = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), ISSUER.encode())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WORKFLOW)]), critical=True)
        .add_extension(issuer, critical=False)
        .sign(key, hashes.SHA256())
    )


def of(*identities: Identity) -> keyless._Noting:
    return keyless._Noting(
        [(one.name, policy.Identity(identity=one.identity, issuer=one.issuer)) for one in identities]
    )


def test_the_identity_of_a_certificate_is_found_among_others_and_no_other_is_taken() -> None:
    shown, right = certificate(), Identity(WORKFLOW, ISSUER)
    fork, elsewhere = Identity(WORKFLOW.replace("main", "fork"), ISSUER), Identity(WORKFLOW, "https://example.com")
    found = of(fork, right)
    found.verify(shown)
    assert found.name == right.name
    for wrong in (fork, elsewhere):
        with pytest.raises(VerificationError):
            of(wrong).verify(shown)


def test_a_certificate_that_nobody_vouches_for_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    made = json.loads(bundles.of_key(bundles.statement(bundles.SIGNATURE, f"sha256:{'1' * 64}", {}), b"none", ""))
    raw = base64.b64encode(certificate().public_bytes(Encoding.DER)).decode()
    made["verificationMaterial"] = {"certificate": {"rawBytes": raw}, "tlogEntries": []}
    monkeypatch.setattr(Trust, "_made", lambda _: _verifier())
    with pytest.raises(BundleError) as error:
        trusted((), [(WORKFLOW, ISSUER)]).signer_of(bundles.read(json.dumps(made).encode()))
    assert len(str(error.value).splitlines()) == 1


def _verifier() -> object:
    from sigstore.verify import Verifier

    return Verifier.production(offline=True)


def test_a_trusted_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no trusted root"):
        Trust(str(tmp_path / "none"))._made()
    (tmp_path / "root.json").write_text("{}")
    with pytest.raises(ImageError, match="cannot be had"):
        Trust(str(tmp_path / "root.json"))._made()


def test_where_nothing_says_who_signs_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("id.detect_credential", lambda _: None)
    with pytest.raises(ImageError, match="permissions: id-token: write"):
        hand(None).bundle(b"{}")
