"""The passphrase that encrypts a local stack's secrets: the checkout's own, which nobody has chosen.

It reaches the engine as the name of a file: a variable's text would be in the environment of each provider and of each
command that these start.
"""

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from oci_model_serving.errors import InputError
from oci_model_serving.private import private_folder

_FILE = "passphrase"
_OF_0_1 = "local"
"""The passphrase of all local stacks in version 0.1.0: what it has encrypted is still read."""
_ROUNDS, _KEY_BYTES = 1_000_000, 32


def passphrase(folder: Path, settings: Iterable[Path]) -> dict[str, str]:
    """The variable that tells the engine the passphrase.

    Args:
        folder: where the checkout's own is kept, and made where there is none.
        settings: files that may say what the stack's secrets were encrypted with; the first that does holds.

    Raises:
        InputError: they were encrypted with one that is not known here.
    """
    file = _own(folder)
    own = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}
    salt = next((salt for path in settings if path.is_file() and (salt := salt_in(path.read_text()))), "")
    if not salt or _opens(salt, file.read_text().strip()):
        return own
    if _opens(salt, _OF_0_1):
        return {"PULUMI_CONFIG_PASSPHRASE": _OF_0_1}
    raise InputError(
        f"the stack's secrets are encrypted with another passphrase than {file}: set PULUMI_CONFIG_PASSPHRASE or "
        "PULUMI_CONFIG_PASSPHRASE_FILE, or remove encryptionsalt from the stack's file and set its secrets again"
    )


def salt_in(text: str) -> str:
    """The line of a stack's settings that says what its secrets are encrypted with; empty without one."""
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("encryptionsalt:"))


def _own(folder: Path) -> Path:
    file = private_folder(folder) / _FILE
    if not file.is_file():
        # Whole or not at all, and the first one's where two commands begin at once.
        descriptor, made = tempfile.mkstemp(dir=folder, prefix=f".{_FILE}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
        try:
            os.link(made, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            Path(made).replace(file)
        finally:
            Path(made).unlink(missing_ok=True)
    return file


def _opens(salt: str, passphrase: str) -> bool:
    """Whether a passphrase is the one of a salt, which holds a word that it encrypts.

    Source: pulumi, `pkg/secrets/passphrase/manager.go` and `sdk/go/common/resource/config/crypt.go` (v3.224): PBKDF2
    with SHA-256, then AES-GCM. Of a salt of another form the engine has to say what is wrong.
    """
    from cryptography.exceptions import InvalidTag  # google-auth brings it; only this needs it
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        _, salted, _, nonce, word = (part.strip().strip("'\"") for part in salt.partition(":")[2].split(":"))
        seed, nonce_bytes, encrypted = (base64.b64decode(part, validate=True) for part in (salted, nonce, word))
    except (ValueError, binascii.Error):
        return True
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), seed, _ROUNDS, _KEY_BYTES)
    try:
        AESGCM(key).decrypt(nonce_bytes, encrypted, None)
    except (InvalidTag, ValueError):
        return False
    return True
