"""Sigstore bundles over in-toto statements: written, and read from hands that may be hostile.

The form is that of cosign v3.1.3 (cmd/cosign/cli/sign/sign.go, `signDigestBundle`; pkg/oci/remote/write.go,
`WriteAttestationNewBundleFormat`): a DSSE envelope with one signature, in a bundle v0.3, as the only layer of an
artifact whose subject is the image. A bundle of a key is verified here; one of an identity by the library `sigstore`.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from modelimage.documents import EMPTY, EMPTY_TYPE, MANIFEST_TYPE, encode
from modelimage.errors import ImageError
from modelimage.stores import StoredManifest
from modelimage.streams import digest_of
from oci_model_serving.foreign import read_json
from oci_model_serving.reference import DIGEST

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_FAMILY = "application/vnd.dev.sigstore.bundle"
"""What the types of all of its versions begin with."""
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
"""The predicate that says no more than that the image is signed (cosign, pkg/types/predicate.go)."""
BUNDLE_LIMIT_BYTES = 32 << 20
"""Of one bundle: a statement on 50,000 files has about 14 MB."""
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPES = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
_PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType"


class BundleError(ImageError):
    """What is attached is no bundle, or says nothing of the image."""


@dataclass(frozen=True)
class SignedStatement:
    """A bundle that was read: its statement, one signature over it, and the whole as it was.

    `keyless` says that the signer shows a certificate and is no key that one has to know.
    """

    payload: bytes
    signature: bytes
    keyless: bool
    content: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return signed_bytes(self.payload)


@dataclass(frozen=True)
class Claim:
    """What a statement says: its kind, of which digests, and the rest."""

    predicate_type: str
    digests: frozenset[str]
    predicate: Mapping[str, Any]


def statement(predicate_type: str, digest: str, predicate: Mapping[str, Any], name: str = "") -> bytes:
    """A statement on the thing with this digest, `sha256:…`; the same words give the same bytes."""
    algorithm, _, value = digest.partition(":")
    named = {"name": name} if name else {}
    return encode(
        {
            "_type": _STATEMENT_TYPES[0],
            "subject": [{**named, "digest": {algorithm: value}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def signed_bytes(payload: bytes) -> bytes:
    """What is signed in place of a statement, so that it can be taken for nothing else (DSSE v1, "PAE")."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def of_key(payload: bytes, signature: bytes, hint: str) -> bytes:
    """A bundle whose signer is a key; `hint` tells which, and proves nothing."""
    return encode(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": _PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )


def read(content: bytes) -> SignedStatement:
    """Read a bundle.

    Raises:
        BundleError: it is none over an in-toto statement with one signature.
    """
    bundle = _mapping(_parsed(content, "it is no JSON"), "it is no bundle")
    if not str(bundle.get("mediaType")).startswith(BUNDLE_FAMILY):
        raise BundleError("its mediaType is no bundle's")
    envelope = _mapping(bundle.get("dsseEnvelope"), "it holds no statement (a dsseEnvelope)")
    if envelope.get("payloadType") != _PAYLOAD_TYPE:
        raise BundleError("its payload is no in-toto statement")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise BundleError("it has not exactly one signature")
    material = _mapping(bundle.get("verificationMaterial"), "it does not tell who signed it")
    return SignedStatement(
        _decoded(envelope.get("payload"), "payload"),
        _decoded(_mapping(signatures[0], "its signature is none").get("sig"), "signature"),
        keyless="publicKey" not in material,
        content=content,
    )


def claim_of(payload: bytes) -> Claim:
    """What a statement says, once its signature is verified: before that nobody vouches for a word of it.

    Raises:
        BundleError: it is no in-toto statement.
    """
    said = _mapping(_parsed(payload, "its statement is no JSON"), "its statement is none")
    subjects, kind = said.get("subject"), said.get("predicateType")
    if said.get("_type") not in _STATEMENT_TYPES or not isinstance(subjects, list) or not isinstance(kind, str):
        raise BundleError("its statement is no in-toto statement")
    digests = (one.get("digest") for one in subjects if isinstance(one, dict))
    found = {f"sha256:{one['sha256']}" for one in digests if isinstance(one, dict) and "sha256" in one}
    predicate = said.get("predicate")
    return Claim(
        kind,
        frozenset(digest for digest in found if DIGEST.fullmatch(digest)),
        predicate if isinstance(predicate, dict) else {},
    )


def attachment(content: bytes, predicate_type: str, subject: StoredManifest) -> StoredManifest:
    """The manifest that attaches a bundle to an image; its layer is the bundle, its configuration the empty one."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": BUNDLE_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": digest_of(EMPTY), "size": len(EMPTY)},
        "layers": [{"mediaType": BUNDLE_TYPE, "digest": digest_of(content), "size": len(content)}],
        "subject": subject.described(),
        "annotations": {
            "org.opencontainers.image.created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "dev.sigstore.bundle.content": "dsse-envelope",
            _PREDICATE_ANNOTATION: predicate_type,
        },
    }
    encoded = encode(document)
    return StoredManifest(digest_of(encoded), MANIFEST_TYPE, encoded)


def _parsed(content: bytes, otherwise: str) -> object:
    try:
        return read_json(content)
    except ValueError as error:
        raise BundleError(otherwise) from error


def _mapping(value: object, otherwise: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleError(otherwise)
    return value


def _decoded(value: object, what: str) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BundleError(f"its {what} is no base64") from error
