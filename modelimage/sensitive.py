"""Keys and tokens that lie among weights by accident, told by name and by form.

An image is readable by all who may pull it, and its layers stay. Forms are those that the issuers publish; a text
that only shows the form (a README's `hf_xxxxxxxx`, Amazon's `…EXAMPLE`) is none.
"""

import json
import re
import string
from collections.abc import Callable

from modelimage.source import SourceFile
from modelimage.weights import is_weights

_TEXT_LIMIT_BYTES = 1 << 20
_NAMES = re.compile(
    r"id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx|jks|keystore|ppk)|_?netrc|credentials(\.json)?|kubeconfig.*"
    r"|.*service[-_]?account.*\.json|application_default_credentials\.json|htpasswd|.*\.env",
    re.IGNORECASE,
)
_HARMLESS = re.compile(rb"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----")
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----\s*(?:[A-Za-z-]+:[^\n]*\n)*\s*[A-Za-z0-9+/=\\n\s]{60}"
)
_TOKENS = {
    "a Hugging Face token": re.compile(rb"\bhf_[A-Za-z0-9]{34,40}\b"),
    "an AWS access key": re.compile(rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    "a GitHub token": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,90})\b"),
    "a Google API key": re.compile(rb"\bAIza[A-Za-z0-9_-]{35}\b"),
    "an OAuth client's secret": re.compile(rb"\bGOCSPX-[A-Za-z0-9_-]{28}\b"),
    "a Slack token": re.compile(rb"\bxox[abprs]-[0-9]{8,}-[A-Za-z0-9-]{10,}"),
    "a key of OpenAI's": re.compile(rb"\bsk-(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[\w-]{40,}"),
    "a GitLab token": re.compile(rb"\bglpat-[A-Za-z0-9_-]{20}\b"),
}
_MARKS = re.compile(
    rb"PRIVATE KEY|hf_|A[KS]IA|gh[pousr]_|github_pat_|AIza|GOCSPX-|xox|sk-|glpat-|service_account|refresh_token|Config"
    rb"|machine"
)
"""Every secret that is told by its form holds one of these: a text without any is gone through once."""
_OF_NO_MARK = bytes(sorted(set(range(256)) - set(b"PRIVATE KEY_-") - set(string.ascii_letters.encode())))
"""Bytes that no mark holds: without them marks are still whole, and numbers, which fill models' files, are gone."""
_DISTINCT = 10


def secret_in(file: SourceFile) -> str:
    """What secret the file holds, in a few words and without the secret; empty for none that is known.

    Raises:
        ImageError: it cannot be read.
    """
    suspect = bool(_NAMES.fullmatch(file.path.rpartition("/")[2]))
    if file.size > _TEXT_LIMIT_BYTES or is_weights(file.path) or not (suspect or file.local is not None):
        return ""
    content = file.head(_TEXT_LIMIT_BYTES)
    if b"\0" in content:
        return "looks like a store of keys by its name" if suspect else ""
    by_form = _by_form(content) if _MARKS.search(content.translate(None, _OF_NO_MARK)) else ""
    return by_form or (_by_name(content) if suspect else "")


def token_in(content: bytes) -> str:
    """What kind of key or token a text holds, by the form that its issuer gives it; empty for none that is known."""
    if _PRIVATE_KEY.search(content):
        return "a private key"
    known = (what for what, form in _TOKENS.items() if any(_is_random(match[0]) for match in form.finditer(content)))
    return next(known, "")


def _by_form(content: bytes) -> str:
    if what := token_in(content):
        return f"holds {what}"
    checks: dict[bytes, Callable[[bytes], bool]] = {b"service_account": _is_account, b"refresh_token": _is_account}
    if any(word in content and check(content) for word, check in checks.items()):
        return "is a Google account's key"
    if re.search(rb"(?m)^kind: *[\"']?Config\b", content) and re.search(
        rb"(?m)^\s+(client-key-data|token|password): *\S", content
    ):
        return "is a kubeconfig with credentials"
    if re.search(rb"(?m)^\s*machine\s+\S+\s+login\s+\S+\s+password\s+\S", content):
        return "is a netrc file with a password"
    return ""


def _by_name(content: bytes) -> str:
    """A file with the name of a store of keys; a public certificate and an example without values are none."""
    if _HARMLESS.search(content) or not content.strip():
        return ""
    if re.search(
        rb"(?mi)^\s*(?:export\s+)?\w*(?:token|secret|password|passwd|api_?key)\w*\s*[=:]\s*[^\s<$\"'][^\s<]{7,}",
        content,
    ):
        return "sets a password or token"
    return ""


def _is_random(token: bytes) -> bool:
    """Tell a token from a placeholder: many different characters, and no word that says what it is."""
    spoken = re.search(rb"example|xxxx|your|1234|abcd|\.\.\.|placeholder", token, re.IGNORECASE)
    return not spoken and len(set(token)) >= _DISTINCT


def _is_account(content: bytes) -> bool:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict):
        return False
    return bool(document.get("private_key") or (document.get("refresh_token") and document.get("client_secret")))
