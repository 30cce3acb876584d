"""The loopback server: a request is understood by the discovery documents, checked, and answered from memory.

The first part of a path is the service (`/container/v1beta1/projects/…`); what follows is as on Google's own host.
A request that no document knows, or that breaks its schema, is refused as Google does, and kept in `violations`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.google import builds, compute, container, generic, iam, kms, objects, operations, projects, secrets
from tests.google.discovery import VERSIONS, Method, find
from tests.google.errors import JSON, GoogleError, not_found
from tests.google.faults import Faults, api_off
from tests.google.schema import check_body
from tests.google.state import Call, State
from tests.modelimage.servers import Answer
from tests.smoke import loopback

Handler = Callable[[State, Call], Any]

_GENERIC: dict[str, Handler] = {
    "create": generic.create,
    "get": generic.get,
    "list": generic.list_,
    "patch": generic.patch,
    "delete": generic.delete,
    "getIamPolicy": iam.get_policy,
    "setIamPolicy": iam.set_policy,
    "testIamPermissions": iam.granted,
}
_COMPUTE: dict[str, Handler] = {
    "insert": compute.insert,
    "get": compute.get,
    "list": compute.list_,
    "patch": compute.patch,
    "update": compute.patch,
    "delete": compute.delete,
    "setPrivateIpGoogleAccess": compute.set_private_access,
}
_OWN: dict[str, Handler] = {
    "cloudresourcemanager.projects.get": projects.get_project,
    "serviceusage.services.enable": projects.enable,
    "serviceusage.services.batchEnable": projects.enable_all,
    "serviceusage.services.disable": projects.disable,
    "serviceusage.services.get": projects.get_service,
    "serviceusage.services.list": projects.list_services,
    "iam.projects.serviceAccounts.create": iam.create_account,
    "iam.projects.serviceAccounts.get": iam.get_account,
    "iam.projects.serviceAccounts.patch": iam.patch_account,
    "iam.projects.serviceAccounts.delete": iam.delete_account,
    **container.HANDLERS,
    **builds.HANDLERS,
    **secrets.HANDLERS,
    **kms.HANDLERS,
    **objects.HANDLERS,
}
_KEEPS_DEFAULTS = frozenset({"compute", "storage"})
# Where a disabled service is told of, and what must work to enable it.
_ALWAYS_ON = frozenset({"serviceusage", "storage"})


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    verb: str
    path: str
    method: str
    """The id of the method, empty where there is none."""
    body: Any


@dataclass
class Google:
    """Google's APIs on loopback."""

    faults: Faults = field(default_factory=Faults)
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """What no method takes, each with the refusal."""
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = State(self.faults)

    def answer(self, verb: str, target: str, raw: bytes, headers: dict[str, str]) -> Answer:
        """Answer one request."""
        with self.state.lock:
            self.state.settle()
            try:
                return self._answer(verb, target, raw, headers)
            except GoogleError as error:
                return _json(error.status, error.body(), **error.headers)
            except Exception as error:  # noqa: BLE001 - a fault of this server must not look like a lost connection
                self.violations.append(f"{verb} {target}: this server failed: {error!r}")
                return _json(500, GoogleError(500, f"this server failed: {error!r}").body())

    def _answer(self, verb: str, target: str, raw: bytes, headers: dict[str, str]) -> Answer:
        parts = urlsplit(target)
        service, _, path = parts.path.lstrip("/").partition("/")
        # The gateway takes both spellings of a parameter, as of a body's field.
        query = {generic.camel(key): said for key, said in parse_qs(parts.query, keep_blank_values=True).items()}
        body = _parsed(raw)
        found = find(service, verb, path) if service in VERSIONS else None
        self.requests.append(Request(verb, target, found[0].id if found else "", body))
        with self._noting(verb, target):
            if found is None:
                raise not_found(f"The requested URL /{path} was not found on this server.")
        method, parameters = found
        first = {name: values[0] for name, values in query.items()}
        call = Call(method, parameters, first, body, _name(method, path), headers)
        self._let_in(call)
        with self._noting(verb, target):
            method.check_parameters(parameters, query)
            check_body(method, body)
            handler = _handler(method)
        answered = handler(self.state, call)
        if isinstance(answered, Answer):
            return answered
        return _json(200, answered if method.service in _KEEPS_DEFAULTS else generic.without_defaults(answered))

    def _let_in(self, call: Call) -> None:
        service = call.method.service
        refusal = self.faults.refusal(call.method.id)
        if refusal is not None:
            raise refusal
        if not call.headers.get("authorization", "").startswith("Bearer ") and service != "storage":
            text = "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie "
            raise GoogleError(401, text + "or other valid authentication credential.", reason="required")
        if service in self.faults.apis_off - _ALWAYS_ON:
            raise api_off(call.method.title, service, call.project)

    @contextlib.contextmanager
    def _noting(self, verb: str, target: str) -> Iterator[None]:
        try:
            yield
        except GoogleError as error:
            self.violations.append(f"{verb} {target}: {error.message}")
            raise


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except ValueError:
        return None


def _handler(method: Method) -> Handler:
    own = _OWN.get(method.id)
    if own is not None:
        return own
    if "perations" in method.collection and method.action in {"get", "wait"}:
        return operations.get
    table = _COMPUTE if method.service == "compute" else _GENERIC
    if method.action not in table and method.action not in _GENERIC:
        raise GoogleError(501, f"{method.id} is not served here: see tests/google/server.py")
    return table.get(method.action) or _GENERIC[method.action]


def _name(method: Method, path: str) -> str:
    return unquote(path).removeprefix(method.root).removesuffix(method.custom)


def _json(status: int, body: JSON, **headers: str) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=UTF-8", **headers})


@contextlib.contextmanager
def serve(faults: Faults | None = None) -> Iterator[Google]:
    """Serve Google's APIs on loopback until the context ends."""
    google = Google(faults or Faults())
    with loopback.serve(type("Handler", (_Handler,), {"google": google})) as address:
        google.url = f"http://{address}"
        yield google


class _Handler(loopback.Handler):
    google: ClassVar[Google]

    def do_PUT(self) -> None:  # noqa: N802 - http.server's name
        self.respond()

    def respond(self) -> None:
        raw = self.read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.google.answer(self.command, self.path, raw, headers)
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
