"""Keys of files: those that cosign takes without being told more, and no key's text where others see it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from modelimage.errors import ImageError
from modelimage.signing.keys import PASSWORD, public_of_file, signer_of_file
from modelimage.signing.signers import hand, trusted
from oci_model_serving.errors import InputError
from tests.modelimage.signing.hands import Private, write_keys

COSIGNS = """-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJhNU52MkdndzB4b2E0Tlo4eEFrQ1c1NjVtdVNpcVY3
djVHVUFVWkhkL2o4PSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJJZmloRnNJZVNacVlYS2RsemVBdUovdmQ3L2VWckRXWSJ9LCJj
aXBoZXJ0ZXh0IjoiVEdYT3JUN0tMajAwUWF5Qk1uZFdqUVUyS0tNWDJnYU1qWXZ2
Y0FuTi84RFEvaFBqWW1la3o4UjJEQ2VnUFN6SGZQZmxLTGdrTmlmdTFKVVlYK1Ri
em9VZDdmY084VWVkeWJuTHAxVUV0dkZNQ2lRNGF5UzQ1V21idlhwbC9YQmdwK3NE
R0JTUkJrU3BaMHZBcVA1L0tiNVFuMUNGZlpPVk1RUUU2azYrczR2c0U3N0JZVkhB
NG9xNHU1TUs5a20xQWRvVlJYcWt4VTR4K0E9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
"""What `cosign generate-key-pair` (v3.1.3) has written for the password `secret`."""
COSIGNS_PUBLIC = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhzN9cTD82+J1zq0pCLKIrJVzhkky
Pzs5mwnuJQ2GrcDcz3XPhfWdJi8/l7wzvs521ksxU5RTHegc0hHdH68QNg==
-----END PUBLIC KEY-----
"""


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_a_signature_is_verified_by_the_public_half_alone(tmp_path: Path, key: Private) -> None:
    private, public = write_keys(tmp_path, key=key)
    signature = signer_of_file(private).sign(b"data")
    assert public_of_file(public).verifies(signature, b"data")
    assert not public_of_file(public).verifies(signature, b"date")
    assert not public_of_file(public).verifies(b"", b"data")


def test_keys_are_refused_that_cosign_would_hold_to_another_hash(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    for key in (ec.generate_private_key(ec.SECP384R1()), weak):
        for path, read in zip(write_keys(tmp_path, key=key), (signer_of_file, public_of_file), strict=True):
            with pytest.raises(InputError, match="P-256 or RSA of 2048 bits"):
                read(path)


def test_an_encrypted_key_is_opened_by_the_password_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = write_keys(tmp_path, password="open sesame")
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(InputError, match="set COSIGN_PASSWORD"):
        signer_of_file(private)
    monkeypatch.setenv(PASSWORD, "sesame")
    with pytest.raises(InputError, match="COSIGN_PASSWORD is not its password") as error:
        signer_of_file(private)
    assert "sesame" not in str(error.value)
    monkeypatch.setenv(PASSWORD, "open sesame")
    assert signer_of_file(private)


def test_a_key_of_cosigns_is_opened_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = tmp_path / "cosign.key", tmp_path / "cosign.pub"
    private.write_text(COSIGNS)
    public.write_text(COSIGNS_PUBLIC)
    monkeypatch.setenv(PASSWORD, "secret")
    assert public_of_file(str(public)).verifies(signer_of_file(str(private)).sign(b"data"), b"data")
    monkeypatch.setenv(PASSWORD, "other")
    with pytest.raises(ImageError, match="COSIGN_PASSWORD is not set to its password"):
        signer_of_file(str(private))


def test_a_file_of_cosigns_does_not_say_how_much_memory_its_password_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    head, *body, foot = COSIGNS.strip().splitlines()
    text = base64.b64decode("".join(body)).replace(b'"N":65536', b'"N":1073741824')
    private = tmp_path / "cosign.key"
    private.write_text("\n".join([head, base64.b64encode(text).decode(), foot]))
    monkeypatch.setenv(PASSWORD, "secret")
    with pytest.raises(InputError, match="is encrypted as cosign v3 does not"):
        signer_of_file(str(private))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"x" * (1 << 20),
    ],
)
def test_what_is_no_key_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    for read in (signer_of_file, public_of_file):
        with pytest.raises(InputError) as error:
            read(str(path))
        assert len(str(error.value).splitlines()) == 1


def test_a_private_key_is_not_taken_where_a_public_one_belongs_nor_the_other_way(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    with pytest.raises(InputError, match="is a private key: give the public one"):
        trusted([private])
    with pytest.raises(InputError, match="is a public key"):
        hand(public)
    with pytest.raises(InputError, match="which others can see there") as error:
        hand(Path(private).read_text())
    assert "BEGIN" not in str(error.value)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        trusted([str(tmp_path / "none")])
