"""Cloud KMS: the public half of a key's version, and signatures with the private one, each with its checksums."""

from __future__ import annotations

import base64
from typing import cast

import google_crc32c
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.google.errors import JSON, GoogleError, not_found
from tests.google.state import Call, State


def add_version(state: State, name: str, algorithm: str = "EC_SIGN_P256_SHA256") -> None:
    """Have a version of a key there."""
    made = ec.generate_private_key(ec.SECP256R1())
    state.contents["cloudkms", name] = made.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    state.put("cloudkms", name, {"name": name, "algorithm": algorithm, "state": "ENABLED"})


def public_key(state: State, call: Call) -> JSON:
    """The public half."""
    name = call.name.removesuffix("/publicKey")
    pem = (
        _key(state, name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    version = state.resources["cloudkms", name]
    return {"name": name, "pem": pem.decode(), "algorithm": version["algorithm"], "pemCrc32c": _checksum(pem)}


def sign(state: State, call: Call) -> JSON:
    """Sign a digest."""
    name = call.name.removesuffix(":asymmetricSign")
    digest = base64.b64decode(call.body["digest"]["sha256"])
    if call.body.get("digestCrc32c") not in {None, _checksum(digest)}:
        raise GoogleError(400, "Checksum in digest_crc32c does not match", code="INVALID_ARGUMENT")
    signature = _key(state, name).sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    return {
        "name": name,
        "signature": base64.b64encode(signature).decode(),
        "signatureCrc32c": _checksum(signature),
        "verifiedDigestCrc32c": "digestCrc32c" in call.body,
        "protectionLevel": "SOFTWARE",
    }


def _key(state: State, name: str) -> ec.EllipticCurvePrivateKey:
    if ("cloudkms", name) not in state.contents:
        raise not_found(f"CryptoKeyVersion {name} not found.")
    loaded = serialization.load_der_private_key(state.contents["cloudkms", name], None)
    return cast("ec.EllipticCurvePrivateKey", loaded)


def _checksum(data: bytes) -> str:
    return str(google_crc32c.value(data))


_VERSIONS = "cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions"
HANDLERS = {f"{_VERSIONS}.getPublicKey": public_key, f"{_VERSIONS}.asymmetricSign": sign}
