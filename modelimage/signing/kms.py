"""Keys in Google KMS, by its REST API: the private half never leaves it (Cloud KMS v1, `asymmetricSign`).

Who we are is told by Google application default credentials. The checksums that Google asks clients to compare are
compared ("Verifying end-to-end data integrity").
"""

import base64
import binascii
import hashlib
import re
from typing import Any

import google.auth
import google_crc32c
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from modelimage.errors import ImageError, first_line
from modelimage.signing.keys import PublicKey, Signer, read_public
from oci_model_serving.errors import InputError
from oci_model_serving.foreign import read_json

SCHEME = "gcpkms://"
ENDPOINT = "https://cloudkms.googleapis.com"
_VERSION = re.compile(
    r"(projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+)/(?:cryptoKeyVersions|versions)/([0-9]+)"
)
_ALGORITHMS = re.compile(r"EC_SIGN_P256_SHA256|RSA_SIGN_PKCS1_\d+_SHA256")
_SCOPES = ("https://www.googleapis.com/auth/cloudkms",)
_ANSWER_LIMIT_BYTES = 1 << 20
_SECONDS = 30


def version_of(text: str) -> str:
    """The resource name of a key's version that `gcpkms://…` names.

    Raises:
        InputError: it names none; a key without a version would come to mean another.
    """
    found = _VERSION.fullmatch(text.removeprefix(SCHEME))
    if not text.startswith(SCHEME) or found is None:
        raise InputError(
            f"{text!r} is no version of a key: write "
            f"{SCHEME}projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1"
        )
    return f"{found[1]}/cryptoKeyVersions/{found[2]}"


def public_key(text: str) -> PublicKey:
    """The public half of a version.

    Raises:
        InputError: it names none, or one that signs otherwise.
        ImageError: KMS cannot be asked, or refuses.
    """
    return _Kms(text).public()


def signer(text: str) -> Signer:
    """What signs with a version; errors as of `public_key`."""
    kms = _Kms(text)
    return Signer(kms.public(), kms.sign)


class _Kms:
    """One version of a key."""

    def __init__(self, text: str) -> None:
        self._name, self._version = text, version_of(text)
        try:
            credentials, _ = google.auth.default(scopes=_SCOPES)
        except GoogleAuthError as error:
            raise ImageError(
                f"{text}: there are no Google credentials here: run `gcloud auth application-default login`"
            ) from error
        self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    def public(self) -> PublicKey:
        said = self._call("GET", f"{self._version}/publicKey")
        algorithm, pem = str(said.get("algorithm")), said.get("pem")
        if not _ALGORITHMS.fullmatch(algorithm):
            raise InputError(
                f"{self._name} is of the algorithm {algorithm[:40]}: take a key for EC_SIGN_P256_SHA256, or "
                "RSA_SIGN_PKCS1_3072_SHA256"
            )
        if not isinstance(pem, str) or _checksum(pem.encode()) != said.get("pemCrc32c"):
            raise ImageError(f"{self._name}: the public key came damaged: try again")
        return read_public(pem, self._name)

    def sign(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        body = {"digest": {"sha256": base64.b64encode(digest).decode()}, "digestCrc32c": _checksum(digest)}
        said = self._call("POST", f"{self._version}:asymmetricSign", body)
        try:
            signature = base64.b64decode(said["signature"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise ImageError(f"{self._name}: the answer holds no signature") from error
        ours = said.get("name") == self._version and said.get("verifiedDigestCrc32c") is True
        if not ours or _checksum(signature) != said.get("signatureCrc32c"):
            raise ImageError(f"{self._name}: the request or the signature came damaged: try again")
        return signature

    def _call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._session.request(  # type: ignore[no-untyped-call]
                verb,
                f"{ENDPOINT}/v1/{path}",
                json=body,
                timeout=_SECONDS,
                max_allowed_time=_SECONDS,
                stream=True,
                allow_redirects=False,
            )
            with answer:
                content = answer.raw.read(_ANSWER_LIMIT_BYTES, decode_content=True)
            said = read_json(content)
        except (GoogleAuthError, requests.RequestException, OSError) as error:
            raise ImageError(f"{self._name}: Google KMS cannot be asked: {first_line(error)}") from error
        except ValueError as error:
            raise ImageError(f"{self._name}: Google KMS answered with what is no JSON") from error
        if not isinstance(said, dict):
            raise ImageError(f"{self._name}: Google KMS answered with what is no object")
        if answer.status_code != requests.codes.ok:
            failure = said.get("error")
            why = str(failure.get("message") if isinstance(failure, dict) else answer.status_code)[:300]
            role = "cloudkms.signerVerifier" if verb == "POST" else "cloudkms.publicKeyViewer"
            raise ImageError(
                f"{self._name}: Google KMS refuses: {first_line(ValueError(why))}: grant roles/{role} on it"
            )
        return said


def _checksum(data: bytes) -> str:
    """CRC32C as the API's int64 spells it."""
    return str(google_crc32c.value(data))
