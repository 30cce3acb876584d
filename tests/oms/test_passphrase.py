"""A local stack's secrets are encrypted with the checkout's own passphrase; what an earlier version encrypted opens."""

import base64
import hashlib
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from oci_model_serving.errors import InputError
from oci_model_serving.private import private_folder
from oms.passphrase import passphrase
from tests.serving import ROOT

STATE = ROOT / "tests" / "engine" / "states" / "0.1.0" / "local.json"


def salted(word: str) -> str:
    """The line that the engine writes for a passphrase: a word that it encrypts."""
    seed, nonce = b"12345678", b"123456789012"
    key = hashlib.pbkdf2_hmac("sha256", word.encode(), seed, 1_000_000, 32)
    parts = (seed, nonce, AESGCM(key).encrypt(nonce, b"pulumi", None))
    salt, once, encrypted = (base64.b64encode(part).decode() for part in parts)
    return f"encryptionsalt: v1:{salt}:v1:{once}:{encrypted}\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_checkout_has_its_own_that_nobody_else_can_read(tmp_path: Path) -> None:
    first, again, other = (passphrase(tmp_path / name, []) for name in ("a", "a", "b"))

    assert first == again
    files = [Path(given["PULUMI_CONFIG_PASSPHRASE_FILE"]) for given in (first, other)]
    assert [mode(file) for file in files] == [0o600, 0o600]
    assert [mode(file.parent) for file in files] == [0o700, 0o700]
    assert len({file.read_text() for file in files}) == 2
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["passphrase"]


def test_two_commands_that_begin_at_once_agree(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path as P; from oms.passphrase import passphrase; f = P(sys.argv[1]); "
    code += "print(P(passphrase(f, [])['PULUMI_CONFIG_PASSPHRASE_FILE']).read_text())"
    line = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]

    assert len({one.communicate()[0] for one in started}) == 1


def test_what_version_0_1_0_has_encrypted_is_opened_with_its_passphrase_and_a_new_stack_with_the_own(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(salted("local") + "config: {}\n")

    assert passphrase(tmp_path / "p", [new, old]) == {"PULUMI_CONFIG_PASSPHRASE": "local"}
    own = passphrase(tmp_path / "p", [new])
    new.write_text(salted(Path(own["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text().strip()))
    assert passphrase(tmp_path / "p", [new, old]) == own


def test_a_passphrase_that_is_not_known_here_is_told_with_the_variable_that_gives_it(tmp_path: Path) -> None:
    salt = json.loads(STATE.read_text())["deployment"]["secrets_providers"]["state"]["salt"]
    (tmp_path / "stack.yaml").write_text(f"encryptionsalt: {salt}\n")  # by the real engine, with the tests' own

    with pytest.raises(InputError, match="set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE"):
        passphrase(tmp_path / "p", [tmp_path / "stack.yaml"])


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)

    assert mode(private_folder(tmp_path / "open")) == 0o700
    assert mode(private_folder(tmp_path / "new" / "below")) == 0o700
