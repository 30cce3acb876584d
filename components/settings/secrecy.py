"""Where a stack's secrets may be, and that none is elsewhere: encrypted where it becomes plain, or never encrypted."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from components.settings import plain_secrets
from components.settings.building import in_secret_manager
from components.settings.encrypted import Place, key_of, path_of, texts

Problem = tuple[str, str]
_KEPT = (
    ("hubToken",),
    ("pullSecrets",),
    ("pullSecrets", "*"),
    ("pullSecrets", "*", "username"),
    ("pullSecrets", "*", "password"),
    ("models", "*", "secretEnv"),
    ("models", "*", "secretEnv", "*"),
)
"""The places from which a secret goes on as one: to a Secret of the cluster, or to a build's environment."""
_HOLDERS = frozenset(place[0] for place in _KEPT)
_ENCRYPTED_ONLY = _KEPT[0], _KEPT[4], _KEPT[6]
_GOOGLE = frozenset({"gcp:project", "gcp:region", "gcp:zone", "gcp:impersonateServiceAccount"})
_FLAGS = frozenset({"args", "command"})
_FROM_ENV = {"--api-key": "VLLM_API_KEY", "--hf-token": "HF_TOKEN"}
"""What the server reads instead of the argument (vLLM, `vllm/envs.py`; huggingface_hub)."""
_SHORTEST = 4
"""Below it a text is in any message."""


@dataclass(frozen=True)
class Secrecy:
    """A stack's values as they are written.

    Attributes:
        values: by their keys; those of the project's own namespace without it.
        secret: the keys that hold a secret.
        places: where in such a key its secrets are, as far as that is known.
    """

    values: Mapping[str, Any]
    secret: Collection[str] = ()
    places: Mapping[str, Collection[Place]] = field(default_factory=dict)

    def _is_encrypted(self, place: Place) -> bool | None:
        """Whether the value at a place is a secret; None where its key holds some and it is not known where."""
        key = str(place[0])
        if key not in self.secret:
            return False
        known = self.places.get(key)
        if known is None:
            return True if ":" in key else None  # a provider's own, whose plain parts are its matter
        return any(place[1 : 1 + len(one)] == one for one in known)

    def problems(self) -> Iterator[Problem]:
        """What would not stay a secret, or was never one, each by its key."""
        for key in sorted(self.secret):
            known = self.places.get(key)
            if known is not None:
                for one in sorted(known, key=str):
                    yield from self._lost((key, *one))
            elif key not in _HOLDERS or (key == "models" and not self._has_secret_env()):
                yield from self._lost((key,))
        for place, text in _all(self.values):
            if _matches(place, _ENCRYPTED_ONLY):
                yield from self._unencrypted(place, text)
            elif not self._is_encrypted(place):
                yield from _plain(place, text)
        for place, spelled, _ in self._flagged:
            yield from _argument(place, spelled, own_server=place[2] == "server" or self._has_server(place))

    def warnings(self) -> Iterator[Problem]:
        """What is not refused, for the engine does not tell where the secrets are."""
        if "models" in self.secret and "models" not in self.places:
            yield (
                "models",
                "has secrets, and the stack's file does not say which: those of secretEnv stay secret, any other would "
                "stand in plain in the state and plans",
            )

    def hide(self, said: str) -> str:
        """A text for a person, with every secret that is known here taken out."""
        for secret in self._secrets:
            for form in dict.fromkeys((secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])):
                # A short one, or a word, is taken out only where it is quoted: it may be in any message.
                plain = len(form) < _SHORTEST or (form.isalpha() and form.islower())
                said = said.replace(repr(form) if plain else form, "[secret]")
        return said

    @cached_property
    def _secrets(self) -> list[str]:
        found = {text for _, _, text in self._flagged}
        for place, text in _all(self.values):
            if self._is_encrypted(place) or _matches(place, _KEPT) or any(_plain(place, text)):
                found.add(text)
        return sorted(found - {""}, key=len, reverse=True)

    @cached_property
    def _flagged(self) -> list[tuple[Place, str, str]]:
        """Secrets that only an argument and the one before it make out."""
        lists: dict[Place, list[str]] = {}
        for place, text in _all({"models": self.values.get("models")}):
            if len(place) > 3 and place[-2] in _FLAGS and not self._is_encrypted(place):
                lists.setdefault(place[:-1], []).append(text)
        return [(place, *found) for place, given in lists.items() for found in plain_secrets.flagged(given)]

    def _has_server(self, place: Place) -> bool:
        return any(one[:3] == (*place[:2], "server") for one, _ in _all({"models": self.values.get("models")}))

    def _has_secret_env(self) -> bool:
        return any(_matches(place, _KEPT[6:]) for place, _ in _all(self.values))

    def _lost(self, place: Place) -> Iterator[Problem]:
        """A secret where it would not stay one."""
        if _matches(place, _KEPT) or (":" in str(place[0]) and place[0] not in _GOOGLE):
            return
        key = str(place[0])
        known = f"pulumi config set --plaintext --path '{path_of(place)}' …"
        if key == "models" and len(place) > 2 and place[2] in {"env", "args", "server"}:
            name = place[3] if place[2] == "env" and len(place) > 3 else "NAME"
            instead = f"remove it and write secretEnv: `{_set_secret_env(str(place[1]), str(name))}`"
            if place[2] != "env":
                instead += f", which an argument may name as $({name})"
        elif len(place) < 3 and key in _HOLDERS:
            instead = (
                "set what is no secret without --secret, and alone pullSecrets.NAME.password, hubToken and "
                "models.NAME.secretEnv.NAME with it"
            )
        else:
            instead = f"a secret does not belong here; if it is none, `{known}`"
        yield (
            key_of(place),
            f"is set with --secret, and would stand in plain in the state, plans and manifests: {instead}",
        )

    def _unencrypted(self, place: Place, text: str) -> Iterator[Problem]:
        if not text or self._is_encrypted(place) is not False or (place[0] == "hubToken" and in_secret_manager(text)):
            return
        if place[0] == "pullSecrets":
            path = "pullSecrets.NAME.password"
            yield (
                "pullSecrets",
                "is plain text in the stack's file: remove it there, change the passwords, and set each with "
                f"`pulumi config set --secret --path '{path}'`",
            )
        elif place[0] == "hubToken":
            yield (
                "hubToken",
                "is plain text in the stack's file: remove it there, revoke the token, and set a new one with "
                "`pulumi config set --secret hubToken`",
            )
        else:
            yield (
                f"models.{place[1]}.secretEnv",
                "is plain text in the stack's file: remove it there, change the secrets, and set each with "
                f"`{_set_secret_env(str(place[1]), 'NAME')}`",
            )


def _set_secret_env(model: str, name: str) -> str:
    return f"pulumi config set --secret --path 'models[{json.dumps(model)}].secretEnv.{name}'"


def _matches(place: Place, patterns: Iterable[tuple[str, ...]]) -> bool:
    return any(
        len(place) == len(pattern) and all(want in ("*", one) for want, one in zip(pattern, place, strict=True))
        for pattern in patterns
    )


def _all(values: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for key, value in values.items():
        for below, text in texts(value):
            yield (str(key), *below), text


def _argument(place: Place, spelled: str, *, own_server: bool) -> Iterator[Problem]:
    read = None if own_server else _FROM_ENV.get(spelled.replace("_", "-"))
    yield (
        key_of(place),
        f"has {spelled} in plain text: remove it, change it where it is from, and write secretEnv: "
        f"`{_set_secret_env(str(place[1]), read or 'NAME')}`"
        + ("" if read else ", which an argument may name as $(NAME)"),
    )


def _plain(place: Place, text: str) -> Iterator[Problem]:
    """A text that looks like a secret and is none."""
    if _matches(place, _KEPT):
        return
    address = place[-1] in _INSTEAD and "://" not in text
    key, what = str(place[0]), plain_secrets.form_of(f"oci://{text}" if address else text)
    if key == "models" and len(place) > 3 and place[-2] in _FLAGS:
        return  # by `flagged`, with the argument before it
    name = str(place[-1]) if place[-2:-1] == ("env",) else ""
    if ":" in key:
        named = [one for one in place[1:] if isinstance(one, str)] or [key.partition(":")[2]]
        if what or plain_secrets.looks_secret(named[-1], text):
            path = f"--path '{path_of(place)}'" if len(place) > 1 else key
            instead = (
                f"remove it there, change it where it is from, and set it with `pulumi config set --secret {path}`"
            )
            yield key, f"is a secret in plain text: {instead}"
    elif key == "models" and name and plain_secrets.looks_secret(name, text):
        yield (
            key_of(place),
            "looks like a secret in plain text: remove it, change it where it is from, and write secretEnv: "
            f"`{_set_secret_env(str(place[1]), name)}`",
        )
    elif key == "clusterBuild" and name and plain_secrets.looks_secret(name, text):
        yield (
            key_of(place),
            "is a secret, and would stand in the Job: write hubToken, clusterBuild.hubTokenSecret or "
            "clusterBuild.registrySecret instead",
        )
    elif what:
        yield (
            key_of(place),
            f"holds {what} in plain text, which all who see the state, a plan or the cluster can read: remove it, "
            f"and change it where it is from; {_INSTEAD.get(str(place[-1]), _OTHERWISE)}",
        )


_OTHERWISE = "a server's secrets are written as models.NAME.secretEnv, with --secret"
_PULLED = "a registry's login for the nodes is written as pullSecrets, with --secret"
_INSTEAD = {
    "source": "a token of the hub is written as hubToken, and a bucket's login is the one of this environment",
    "kubeconfig": "write the path of the file",
    "url": "a registry's login is the one of this environment, and that of the nodes pullSecrets, with --secret",
    "image": _PULLED,
    "digest": _PULLED,
    "cpuImage": _PULLED,
}
