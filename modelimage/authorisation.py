"""The Authorization header of each request: the token flow of the distribution project, or Basic.

Which of the two it is, the registry says in its challenge (distribution, "Token Authentication Specification").
"""

import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing

import httpx

from modelimage.answers import held
from modelimage.credentials import Credential, Credentials
from modelimage.refusals import RegistryError, error_of
from oci_model_serving.foreign import is_header, read_json

_TOKEN_MARGIN_SECONDS = 30.0
_TOKEN_LIMIT_BYTES = 1 << 20
_TOKEN_DEFAULT_SECONDS = 60.0  # the token specification's own default for `expires_in`


class Authorisations:
    """The Authorization header for each scope, kept while it is valid; `login` is where the last login came from."""

    def __init__(self, client: httpx.Client, host: str, credentials: Credentials) -> None:
        self._client, self._host, self._credentials = client, host, credentials
        self.login = ""
        self._known: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str, challenge: str | None, *, refresh: bool) -> str | None:
        """The header for `scope`, answering the registry's `challenge` where it has made one."""
        with self._lock:
            known = self._known.get(scope)
            if challenge is None:
                return known[0] if known and time.monotonic() < known[1] else None
            scheme, _, rest = challenge.partition(" ")
            credential = self._credentials.find(refresh=refresh)
            self.login = credential.source if credential else ""
            if scheme.lower() == "basic":
                if credential is None:
                    return None
                lifetime = float("inf")
                header = credential.basic()
            elif scheme.lower() == "bearer":
                token, lifetime = self._token(self._parameters(rest), scope, credential)
                header = f"Bearer {token}"
            else:
                raise RegistryError(f"{self._host} asks for authorisation by {scheme[:40]!r}, which is not known here")
            self._known[scope] = (header, time.monotonic() + lifetime)
            return header

    def _parameters(self, challenge: str) -> dict[str, str]:
        try:
            parameters = urllib.request.parse_keqv_list(urllib.request.parse_http_list(challenge))
        except ValueError:
            parameters = {}
        if not parameters.get("realm"):
            raise RegistryError(f"{self._host} asks for a token and does not say where: is it a registry?")
        return parameters

    def _token(self, challenge: Mapping[str, str], scope: str, credential: Credential | None) -> tuple[str, float]:
        realm, service = challenge["realm"], challenge.get("service", "")
        doing = f"asking {httpx.URL(realm).host or 'an address without a host'} for a token for {self._host}"
        if credential and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": "oci-model-serving",
                "scope": scope,
                "refresh_token": credential.identity_token,
            }
            asked = self._client.build_request("POST", realm, data=form)
        else:
            headers = {"Authorization": credential.basic()} if credential else {}
            # One `scope` parameter each: the specification's way to ask for several.
            query: list[tuple[str, str | int | float | bool | None]] = [("service", service)]
            query += [("scope", part) for part in scope.split(" ")]
            asked = self._client.build_request("GET", httpx.URL(realm).copy_merge_params(query), headers=headers)
        with closing(self._client.send(asked, stream=True)) as answered:
            response = held(answered, _TOKEN_LIMIT_BYTES)
        if response.status_code != httpx.codes.OK:
            refresh_token = credential.identity_token if credential else None
            raise error_of(response, doing, self.login, refresh_token or "")
        try:
            answer = read_json(response.content)
            token = answer.get("token") or answer["access_token"]
            lifetime = float(answer.get("expires_in") or _TOKEN_DEFAULT_SECONDS)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise RegistryError(f"{doing}: the answer holds no token") from error
        if not isinstance(token, str) or not token or not is_header(token):
            raise RegistryError(f"{doing}: the answer's token is none that a header could hold")
        # Short-lived tokens are used for half their life rather than never.
        return token, max(lifetime - _TOKEN_MARGIN_SECONDS, lifetime / 2)
