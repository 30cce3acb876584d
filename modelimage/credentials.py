"""Who we are to a registry, by the means that are already there.

In this order: MODELIMAGE_USERNAME and MODELIMAGE_PASSWORD (for the registry that is written to or inspected only, so
that they never reach the host of a base), what a login has left, Google application default credentials for Google's
own registries (an account's key, a user's login, Workload Identity Federation), and nothing at all.

Logins are looked for as go-containerregistry and podman do: the file that REGISTRY_AUTH_FILE names, Docker's
configuration (`$DOCKER_CONFIG/config.json` or `~/.docker/config.json`), then `containers/auth.json` below
`$XDG_RUNTIME_DIR` and below `$XDG_CONFIG_HOME` or `~/.config` (containers-auth.json(5)), each with its credential
helpers. Secrets stay in memory: they are never put in arguments, messages or files.
"""

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelimage.errors import ImageError, first_line
from modelimage.variables import PASSWORD_VARIABLE, USERNAME_VARIABLE, without_secrets
from oci_model_serving.foreign import beginning, read_json
from oci_model_serving.reference import is_google

_GOOGLE_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_GOOGLE_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_HELPER_SECONDS = 60
_LOGINS_LIMIT_BYTES = 8 << 20
_DOCKER_HUB = "https://index.docker.io/v1/"


@dataclass(frozen=True)
class Credential:
    """A user and password for a registry, or an identity token to be traded for one. Never printed but its `source`."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)
    source: str = field(default="", compare=False)

    def basic(self) -> str:
        """The value of an Authorization header of the Basic scheme."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Credentials:
    """Finds the credential of one registry, afresh whenever it is asked: helpers' and Google's tokens expire.

    `path` is the repository below the host: a login may be for a namespace alone. `use_environment` says whether the
    two variables are meant for this host.
    """

    def __init__(self, host: str, path: str = "", *, use_environment: bool) -> None:
        self.host, self._use_environment = host, use_environment
        self._namespaces, self._spellings = _namespaces(host, path), _spellings(host)
        self._google: Any = None

    def find(self, *, refresh: bool = False) -> Credential | None:
        """The credential for the host, or None to stay anonymous.

        `refresh` asks Google for a new token even if the old one looks valid.

        Raises:
            ImageError: a credential is configured and cannot be had; the message names the means, not the secret.
        """
        return self._from_environment() or self._from_logins() or self.from_google(refresh=refresh)

    def _from_environment(self) -> Credential | None:
        if not self._use_environment:
            return None
        username, password = os.environ.get(USERNAME_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
        if bool(username) != bool(password):
            given, missing = (
                (USERNAME_VARIABLE, PASSWORD_VARIABLE) if username else (PASSWORD_VARIABLE, USERNAME_VARIABLE)
            )
            raise ImageError(f"{given} is set and {missing} is not: set both, or none")
        if not (username and password):
            return None
        return Credential(username, password, source=f"{USERNAME_VARIABLE} and {PASSWORD_VARIABLE}")

    def _from_logins(self) -> Credential | None:
        """What the first file has that knows the host; a file that fails counts only where no other one does."""
        failure: ImageError | None = None
        for path in _login_files():
            try:
                found = self._from_login(path)
            except ImageError as error:
                failure = failure or error
                continue
            if found:
                return found
        if failure:
            raise failure
        return None

    def _from_login(self, path: Path) -> Credential | None:
        config = _read_logins(path)
        helpers, entries = config["credHelpers"], config["auths"]
        for name in self._spellings:
            if name in helpers:
                found = self._from_helper(str(helpers[name]), name)
                if found or not is_google(self.host):
                    return found
        for name in (*self._namespaces, *self._spellings):
            entry = entries.get(name)
            if isinstance(entry, dict) and (found := _from_entry(entry, path, name)):
                return found
        store = config.get("credsStore")
        if store:
            for name in self._spellings:
                if found := self._from_helper(str(store), name):
                    return found
        return None

    def _from_helper(self, helper: str, server: str) -> Credential | None:
        program = shutil.which(f"docker-credential-{helper}")
        if program is None:
            if is_google(self.host):
                return None  # application default credentials do the same
            raise ImageError(
                f"the registries' logins want docker-credential-{helper} for {self.host}, which is not on PATH: "
                f"install it, or set {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}"
            )
        try:
            answer = subprocess.run(
                [program, "get"],
                input=server.encode(),
                env=without_secrets(os.environ),
                capture_output=True,
                timeout=_HELPER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ImageError(f"docker-credential-{helper} did not answer for {self.host}: run it by hand") from error
        if answer.returncode:
            if b"credentials not found" in answer.stdout + answer.stderr:  # the helpers' protocol has no code for it
                return None
            if is_google(self.host):
                return None  # not logged in with gcloud, as in CI: application default credentials may do
            raise ImageError(
                f"docker-credential-{helper} failed for {self.host} (exit code {answer.returncode}): "
                f"log in again, then `echo {server} | docker-credential-{helper} get` should answer"
            )
        try:
            found = read_json(answer.stdout)
            return _credential(str(found["Username"]), str(found["Secret"]), f"docker-credential-{helper}")
        except (ValueError, KeyError, TypeError):
            # `from None`: a decoding error would carry the secret.
            raise ImageError(f"docker-credential-{helper} answered for {self.host} with no credential") from None

    def from_google(self, *, refresh: bool) -> Credential | None:
        """What Google's registries are shown; None for another registry, and where nobody is logged in.

        Raises:
            ImageError: application default credentials are configured and give no token.
        """
        if not is_google(self.host):
            return None
        import google.auth  # noqa: PLC0415 - a quarter of a second that only Google's registries need
        import google.auth.credentials  # noqa: PLC0415
        import google.auth.exceptions  # noqa: PLC0415
        import google.auth.transport.requests  # noqa: PLC0415

        try:
            if self._google is None:
                # With scopes, the library would ask the Resource Manager for the project's name, which a federated
                # identity may neither reach nor be allowed to, and which nobody wants here.
                found, _ = google.auth.default()
                self._google = google.auth.credentials.with_scopes_if_required(  # type: ignore[no-untyped-call]
                    found, _GOOGLE_SCOPES
                )
            if refresh or not self._google.valid:
                self._google.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.DefaultCredentialsError as error:
            if not os.environ.get(_GOOGLE_FILE):
                return None
            raise ImageError(f"{_GOOGLE_FILE}: {first_line(error)}: correct the variable or the file") from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise ImageError(
                f"Google's application default credentials gave no token for {self.host}: "
                "run `gcloud auth application-default login`, or check the service account and, with Workload Identity "
                "Federation, that its subject token is there and that its pool takes it"
            ) from error
        # The user name that Artifact Registry documents for access tokens.
        source = "Google's application default credentials"
        return Credential("oauth2accesstoken", str(self._google.token), source=source)


def _login_files() -> Iterator[Path]:
    """Where tools leave their logins, the likeliest first."""
    environment = os.environ
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    try:
        home: Path | None = Path.home()
    except RuntimeError:
        home = None  # a user without a home folder, as in some containers
    docker, settings = environment.get("DOCKER_CONFIG"), environment.get("XDG_CONFIG_HOME")
    if docker or home:
        yield Path(docker or f"{home}/.docker", "config.json")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers", "auth.json")
    if settings or home:
        yield Path(settings or f"{home}/.config", "containers", "auth.json")


def _read_logins(path: Path) -> dict[str, Any]:
    """Return a file of logins with both of its tables, empty where it has none."""
    tables: dict[str, Any] = {"credHelpers": {}, "auths": {}}
    try:
        config = read_json(beginning(path, _LOGINS_LIMIT_BYTES))
    except FileNotFoundError:
        return tables
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read as a file of registries' logins: repair or remove it") from error
    if not isinstance(config, dict) or not all(isinstance(config.get(key) or {}, dict) for key in tables):
        raise ImageError(
            f"{path}: not a file of registries' logins: credHelpers and auths are objects: repair or remove it"
        )
    return {**config, **{key: config.get(key) or {} for key in tables}}


def _namespaces(host: str, path: str) -> list[str]:
    """The keys of logins that hold below a host only, the narrowest first."""
    parts = path.split("/") if path else []
    return ["/".join([host, *parts[:end]]) for end in range(len(parts), 0, -1)]


def _spellings(host: str) -> list[str]:
    """The keys under which Docker's tools file a host, the likeliest first."""
    spellings = [host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/"]
    return [_DOCKER_HUB, *spellings] if host == "docker.io" else spellings


def _from_entry(entry: dict[str, Any], path: Path, name: str) -> Credential | None:
    source = f"auths.{name} in {path}"
    if token := entry.get("identitytoken"):
        return _credential("<token>", str(token), source)
    if entry.get("username") and entry.get("password"):
        return _credential(str(entry["username"]), str(entry["password"]), source)
    if not entry.get("auth"):
        return None
    try:
        username, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        # `from None`: the decoding error would carry the secret.
        raise ImageError(f"{path}: auths.{name}.auth is not base64 of USER:PASSWORD: log in again") from None
    return _credential(username, password.rstrip("\0"), source)


def _credential(username: str, secret: str, source: str) -> Credential:
    # Docker's convention: this user name marks an identity token (docker/cli, credential stores).
    try:
        f"{username}{secret}".encode()
    except UnicodeEncodeError:
        raise ImageError(f"{source}: the login is no text that could be sent: log in again") from None
    if username == "<token>":
        return Credential("", "", secret, source)
    return Credential(username, secret, source=source)
