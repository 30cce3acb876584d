"""Keys of tests, and bundles that no honest hand makes."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def write_keys(folder: Path, name: str = "own", key: Private | None = None, password: str = "") -> tuple[str, str]:
    """A private key's file and its public key's."""
    made = key or ec.generate_private_key(ec.SECP256R1())
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public.write_bytes(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(private), str(public)
