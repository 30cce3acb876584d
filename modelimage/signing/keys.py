"""Keys that sign and verify: files of this machine, and what cosign makes of a password.

ECDSA on P-256 and RSA of 2048 bits or more, both over SHA-256: what cosign takes without being told more, and what
Google KMS calls EC_SIGN_P256_SHA256 and RSA_SIGN_PKCS1_*_SHA256.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from modelimage.errors import ImageError
from oci_model_serving.errors import InputError

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - the variable's name, cosign's
_FILE_LIMIT_BYTES = 64 << 10
_RSA_BITS = 2048
_COSIGN_LABELS = ("ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY")
_SCRYPT = [{"N": 1 << power, "r": 8, "p": 1} for power in (15, 16, 17)]
"""What go-securesystemslib writes (encrypted/encrypted.go); another would be a file that means to take our memory."""
_PUBLIC = "PUBLIC KEY-----"
_PRIVATE = "PRIVATE KEY-----"


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are held against; `name` is what a person calls it."""

    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    name: str

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is this key's, over the data."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def pem(self) -> bytes:
        """The key as text."""
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def hint(self) -> str:
        """What sigstore-go writes for the key (pkg/sign/keys.go): SHA-256 of its DER form."""
        der = self.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()


@dataclass(frozen=True)
class Signer:
    """What signs with a key: the key's public half, and what makes a signature over data."""

    public: PublicKey
    sign: Callable[[bytes], bytes]


def read_public(text: str | bytes, name: str) -> PublicKey:
    """Read a public key's PEM text.

    Raises:
        InputError: it is none, or of a kind that is not taken.
    """
    encoded = text.encode() if isinstance(text, str) else text
    if _PRIVATE.encode() in encoded:
        raise InputError(f"{name} is a private key: give the public one (`cosign public-key --key FILE` prints it)")
    try:
        return PublicKey(_of_kind(serialization.load_pem_public_key(encoded), name), name)
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{name} is no public key: give PEM text that begins with -----BEGIN PUBLIC KEY-----"
        ) from error


def public_of_file(path: str) -> PublicKey:
    """The public key in a file."""
    return read_public(_content(path), path)


def signer_of_file(path: str) -> Signer:
    """What signs with the private key in a file: PEM, plain or encrypted, or what `cosign generate-key-pair` writes.

    Raises:
        InputError: it holds no private key that is taken, or its password is not in COSIGN_PASSWORD.
    """
    content = _content(path)
    if _PUBLIC.encode() in content and _PRIVATE.encode() not in content:
        raise InputError(f"{path} is a public key: to sign give the private one")
    password = os.environ.get(PASSWORD, "").encode()
    if any(label.encode() in content for label in _COSIGN_LABELS):
        loaded = _loaded(_cosign_opened(content, password, path), None, path, serialization.load_der_private_key)
    else:
        encrypted = b"ENCRYPTED" in content
        if encrypted and not password:
            raise InputError(f"{path} is encrypted: set {PASSWORD} to its password")
        loaded = _loaded(content, password if encrypted else None, path, serialization.load_pem_private_key)
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise InputError(f"{path}: {_TAKEN}")
    return Signer(PublicKey(_of_kind(loaded.public_key(), path), path), partial(_signature, loaded))


def _signature(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


_TAKEN = "keys are taken that are ECDSA on P-256 or RSA of 2048 bits or more: make one with `cosign generate-key-pair`"


def _of_kind(key: object, name: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS:
        return key
    raise InputError(f"{name}: {_TAKEN}")


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_FILE_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise InputError(f"the key {path!r} cannot be read: {why}: give a file, or gcpkms://…") from error
    if len(content) > _FILE_LIMIT_BYTES:
        raise InputError(f"{path} is larger than {_FILE_LIMIT_BYTES} bytes, and no key: give a PEM file")
    return content


def _loaded(content: bytes, password: bytes | None, path: str, load: Callable[[bytes, bytes | None], object]) -> object:
    try:
        return load(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = f"no private key, or {PASSWORD} is not its password" if password else "no private key in PEM form"
        raise InputError(f"{path} is {why}") from error


def _cosign_opened(content: bytes, password: bytes, path: str) -> bytes:
    """The PKCS #8 form in a file of cosign's: NaCl's secretbox, whose key scrypt makes of the password."""
    try:
        text = b"".join(line for line in content.split(b"\n") if line.strip() and not line.startswith(b"-----"))
        said = json.loads(base64.b64decode(text, validate=True))
        kdf, cipher = said["kdf"], said["cipher"]
        known = (kdf["name"], cipher["name"]) == ("scrypt", "nacl/secretbox") and kdf["params"] in _SCRYPT
        salt, nonce, sealed = (base64.b64decode(one) for one in (kdf["salt"], cipher["nonce"], said["ciphertext"]))
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise InputError(f"{path} is no key of cosign's: make one with `cosign generate-key-pair`") from error
    if not known:
        raise InputError(f"{path} is encrypted as cosign v3 does not: make a key with `cosign generate-key-pair`")
    cost = kdf["params"]
    key = hashlib.scrypt(password, salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=256 << 20, dklen=32)
    try:
        return SecretBox(key).decrypt(sealed, nonce)
    except (CryptoError, ValueError) as error:
        raise ImageError(f"{path}: {PASSWORD} is not set to its password") from error
