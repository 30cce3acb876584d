"""What in plain text looks like a secret: by the form of a value, or by the name of what holds it.

A false refusal is as bad as a false acceptance: `MAX_TOKENS`, `HF_TOKENIZER` and `EOS_TOKEN` are no secrets, and a
path, a switch or a reference to another variable is none under any name. False alarms of others, which are none here:
gitleaks #877, #1219 and #1587, trufflehog #209, #894 and #1489, shellclear #73.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from modelimage.sensitive import token_in

_NAME = re.compile(
    r"(^|_)(TOKEN|(API|AUTH|ACCESS)_TOKENS|API_?KEYS?|SECRETS?(_(KEY|TOKEN))?|ACCESS_KEY(_ID)?"
    r"|(PRIVATE|MASTER|ENCRYPTION|SIGNING|ACCOUNT)_KEY|CREDENTIALS?|PASS)(_?\d+)?$",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE)S?(_?\d+)?$|_PWD$", re.IGNORECASE)
_KEY = re.compile(r"(^|_)(KEY|AUTH)$", re.IGNORECASE)
"""Names that are as often of a cache's or a sort's key: only a value that looks random tells."""
_OF_TEXT = re.compile(
    r"(^|_)(BOS|EOS|EOT|PAD|UNK|SEP|CLS|MASK|STOP|START|END|IMAGE|VIDEO|AUDIO|SPECIAL|THINK|REASONING|DRAFT|PER|NEXT"
    r"|FIRST|LAST|NEW|EACH|SPLIT|TOOL|CALL)_TOKEN$|(^|_)(PUBLIC|PARTITION|SORT|CACHE|PRIMARY|ROUTING)_KEY$",
    re.IGNORECASE,
)
"""Tokens that are pieces of text, and keys that open nothing."""
_HARMLESS = re.compile(
    r"[0-9]*|true|false|yes|no|on|off|none|null|auto|default|enabled|disabled|optional|required|full"
    r"|empty|dummy|not-needed|no-key|placeholder"
    r"|\S*\$\(\w+\)\S*|\$\{?\w+\}?|\*+|<[^<>]*>|\[[A-Z_]+\]|\[secret\]"
    r"|(~|\.{1,2})?/\S*|[\w.-]+\.(json|ya?ml|pem|crt|key|txt|env|ini|toml|conf)",
    re.IGNORECASE,
)
"""What a variable of such a name may hold: a number, a switch, a word that says that there is none, a reference to
another one, a piece of text, a file."""
_REFERENCE = re.compile(r"\$\(\w+\)|\$\{?\w+|\*{3}|(%2A){3}|^<.*>$")
"""Of another variable; or what others have put over a secret."""
_LONG = re.compile(r"(?=\w*[A-Za-z])(?=\w*\d)\w{20,}|[A-Za-z0-9+/=_-]{32,}")
_FORMS = {
    "a key of OpenAI's": re.compile(r"\bsk-(proj|svcacct|admin|ant)-[\w-]{20,}"),
    "a key of NVIDIA's": re.compile(r"\bnvapi-[\w-]{60,}"),
    "a token of Docker Hub": re.compile(r"\bdckr_pat_[\w-]{27,}"),
    "an access token of Google's": re.compile(r"\bya29\.[\w-]{30,}"),
    "a token of npm": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a key of Groq's": re.compile(r"\bgsk_[A-Za-z0-9]{40,}\b"),
    "a signed address": re.compile(
        r"[?&](X-Goog-Signature|X-Amz-Signature|Signature|sig)=[\w%+/=-]{20,}", re.IGNORECASE
    ),
    "a kubeconfig with credentials": re.compile(r"(?s)\bcontexts:.*\n\s+(token|password|client-key-data): *\S"),
}
_ASSIGNED = re.compile(r"(?:^|[\s;&|,?])(?:export\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>'[^']*'|\"[^\"]*\"|[^\s;&|,]+)")
_FLAG = re.compile(r"-{1,2}(?P<name>[A-Za-z][\w.-]*)(=(?P<value>.*))?", re.DOTALL)


def _is_random(text: str) -> bool:
    """A long run of letters and digits, as no word and no name of a model has."""
    run = _LONG.search(text)
    return bool(run and len(set(run[0])) > 8 and re.search(r"\d", run[0]) and not _REFERENCE.search(text))


def _is_token_head(text: str) -> bool:
    try:
        head = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        return False
    return isinstance(head, dict) and "alg" in head


def _is_private(text: str) -> bool:
    whole = text.rstrip("=")
    try:
        return b"PRIVATE KEY" in base64.b64decode(whole[: len(whole) // 4 * 4])[:60]
    except (ValueError, binascii.Error):
        return False


def _is_no_word(text: str) -> bool:
    return not (text.isalpha() and text[1:].islower())


_LIKELY: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("a signed token (JWT)", re.compile(r"\b(?P<value>eyJ[\w-]{8,})\.eyJ[\w-]{8,}\.[\w-]{10,}"), _is_token_head),
    ("a private key", re.compile(r"(?P<value>LS0tLS1CRUdJTi[A-Za-z0-9+/=]{60,})"), _is_private),
    (
        "an address with a password",
        re.compile(r"\b[a-z][a-z0-9+.-]*://[^/?#\s:@]*:(?P<value>[^/?#\s@]+)@(?!sha(256|512):)", re.IGNORECASE),
        bool,
    ),
    (
        "an address with a token",
        re.compile(r"\b[a-z][a-z0-9+.-]*://(?P<value>[^/?#\s:@]{20,})@", re.IGNORECASE),
        _is_random,
    ),
    (
        "an address with a token",
        re.compile(r"[?&](access_token|auth_token|token|api_?key|key|password)=(?P<value>[^&\s#]+)", re.IGNORECASE),
        _is_random,
    ),
    (
        "a header with a token",
        re.compile(
            r"\b(?:(?:proxy-)?authorization|x-[\w-]*(?:key|token)|api-key)\s*[=:]\s*"
            r"(?:(?:bearer|basic|token)(?:\s|%20)+)?(?P<value>[^\s,;\"']{6,})",
            re.IGNORECASE,
        ),
        _is_no_word,
    ),
)
"""Forms that are secret where their value is meant."""


def form_of(text: str) -> str:
    """What kind of secret a text holds by its form, in a few words and without it; empty for none that is known."""
    known = (what for what, form in _FORMS.items() if form.search(text))
    meant = (
        what
        for what, form, is_meant in _LIKELY
        if any(is_meant(found["value"]) and not _REFERENCE.search(found["value"]) for found in form.finditer(text))
    )
    return token_in(text.encode(errors="replace")) or next(known, "") or next(meant, "")


def looks_secret(name: str, text: str) -> bool:
    """Whether the value of a variable, or of a map's key, is hardly meant to be read by others."""
    return bool(form_of(text)) or _named(name, text) or _within(text)


def flagged(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is secret among the arguments of a server: how each is spelled, and the text that holds it."""
    for argument, following in pairwise((*arguments, "")):
        flag = _FLAG.fullmatch(argument)
        value = flag["value"] if flag else None
        given = (following if not following.startswith("-") else "") if value is None else value
        spelled = argument.partition("=")[0] if flag else "a secret"
        if flag and _named(flag["name"].replace("-", "_"), given):
            yield spelled, given
        elif (what := form_of(argument)) or _within(argument if value is None else value):
            yield spelled if value is not None else what or "a secret", argument if value is None else value


def _named(name: str, text: str) -> bool:
    """Whether a value is a secret by its name."""
    if _OF_TEXT.search(name) or not text:
        return False
    if _PASSWORD.search(name):  # which may be a number, but for a switch
        return text not in {"0", "1"} and (text.isdigit() or not _HARMLESS.fullmatch(text))
    if _NAME.search(_snake(name)):
        return not _HARMLESS.fullmatch(text)
    return bool(_KEY.search(name)) and _is_random(text) and not _HARMLESS.fullmatch(text)


def _within(text: str) -> bool:
    """Whether a text sets a secret by its name: JSON, a command of a shell, a connection's parameters."""
    if text.lstrip()[:1] in {"{", "["}:
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            read = None
        if isinstance(read, dict | list):
            return any(_named(name, value) for name, value in _leaves(read))
    assigned = ((found["name"], found["value"].strip("'\"")) for found in _ASSIGNED.finditer(text))
    # A shell's expansion is cut at its first space: what it reads is not in the text.
    return any(_named(name, value) for name, value in assigned if not value.startswith(("$", "`")))


def _leaves(value: Any) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [(str(key), inner) for key, inner in one.items()]
        elif isinstance(one, list):
            waiting += [(name, inner) for inner in one]
        elif isinstance(one, str):
            yield name, one


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
