"""The Kubernetes API as plain JSON objects.

The `kubernetes` package reads the kubeconfig (certificates, tokens, exec plugins such as GKE's) and opens the
websocket of `exec`; httpx carries everything else, so that objects stay what the server sent, whatever fields a newer
server has, and so that a Service can be reached as a stream through the API server.
"""

import json
import os
import ssl
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import yaml
from kubernetes.stream import stream as open_stream

from modelimage.answers import BoundedClient
from oci_model_serving.errors import InputError
from oci_model_serving.foreign import in_line, is_header, read_json, without_login
from watch.causes import NotHeldError, said, short

JSON = dict[str, Any]

FIELD_MANAGER = "oci-model-serving-smoke"
_REMEDIES = {
    401: "the kubeconfig's credentials are refused: log in again (`gcloud auth login`), or give --kubeconfig",
    403: "ask for the right that the message names (`kubectl auth can-i` shows what you have)",
}


_NO_API = "see what answers at that address: a proxy or a gateway may stand before the API server"
_MESSAGE_CHARACTERS = 4000
"""Of what the API server says of a refused object: a webhook or a schema names each field."""
_ANSWER_LIMIT_BYTES = 64 << 20
"""Of an answer of the API server: a list of a namespace's objects."""
_OUTPUT_LIMIT_BYTES = 16 << 20
"""Of what a command in a container writes."""
_UPDATE_SECONDS = 1.0


class ApiError(NotHeldError):
    """The API server refused a request: `status` is the HTTP status, `message` what it said."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        try:
            body = read_json(response.content)
        except ValueError:
            body = {}
        login = response.request.headers.get("authorization", "")
        reason = str(body.get("reason") or response.reason_phrase) if isinstance(body, dict) else ""
        said = str(body.get("message") or "") if isinstance(body, dict) else ""
        self.message = in_line(without_login(said, login), _MESSAGE_CHARACTERS)
        told = self.message or short(without_login(response.text, login)) or short(reason)
        remedy = _REMEDIES.get(self.status, "see the message; `pulumi up` deploys what is missing")
        super().__init__(f"the API server answered {self.status}: {told}", remedy)


@dataclass(frozen=True)
class Executed:
    """What a command in a container did: its exit code and its output."""

    code: int
    stdout: str
    stderr: str


class _Bearer(httpx.Auth):
    """Sends the kubeconfig's token, asking its exec plugin for a new one when the old one has run out."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        for setting in self._configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                if not is_header(str(setting["value"])):
                    # The HTTP library's own error would say the token.
                    raise InputError("the kubeconfig's token holds what no header can: log in again")
                request.headers[setting["key"]] = setting["value"]
        yield request


class KubeApi:
    """A client of one cluster's API server.

    Args:
        kubeconfig: the text of a kubeconfig, the path of one (as a text an absolute one), or None for KUBECONFIG and
            ~/.kube/config.
        context: its context; None for the current one.
        timeout: seconds that one request may take.

    Raises:
        InputError: there is no usable kubeconfig.
    """

    def __init__(
        self, kubeconfig: str | Path | None = None, *, context: str | None = None, timeout: float = 30
    ) -> None:
        self._configuration = _configuration(kubeconfig, context)
        self._timeout = timeout
        self._http = self._client(str(self._configuration.host))
        self._served: dict[str, dict[str, JSON]] = {}

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self._configuration.host)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: str) -> JSON:
        """Read an object or a list.

        Raises:
            ApiError: the server refused.
        """
        return self._json("GET", path, params=params)

    def find(self, path: str, **params: str) -> JSON | None:
        """Read an object, or None where there is none (or its kind is not served)."""
        try:
            return self.get(path, **params)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **params: str) -> list[JSON]:
        """Read the items of a list; none where the kind is not served."""
        found = self.find(path, **params)
        items = found.get("items") or [] if found else []
        if not isinstance(items, list) or not all(_is_object(item) for item in items):
            raise NotHeldError(f"{self.server} answered no list of objects for {path}", _NO_API)
        return items

    def text(self, path: str, **params: str) -> str:
        """Read something that is not JSON: metrics, a container's log."""
        return self._send("GET", path, params=params).text

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False, alone: bool = False) -> JSON:
        """Create an object, or have the server only pretend to: schemas, defaults and webhooks run all the same.

        Unknown fields are refused rather than dropped. `alone` is over a connection that nothing else uses after it:
        where there are several API servers, a balancer chooses again for the next.
        """
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        headers = {"Connection": "close"} if alone else {}
        return self._json("POST", path, params=params, json=dict(body), headers=headers)

    def patch(self, path: str, body: Mapping[str, Any]) -> JSON:
        """Merge-patch an object; None as a value removes the key."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._json("PATCH", path, params={"fieldManager": FIELD_MANAGER}, json=dict(body), headers=headers)

    def apply_dry(self, path: str, body: Mapping[str, Any], manager: str) -> JSON:
        """What the object would be after a server-side apply by `manager`, conflicts won; nothing is changed."""
        params = {"fieldManager": manager, "force": "true", "dryRun": "All"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return self._json("PATCH", path, params=params, content=json.dumps(body), headers=headers)

    def path_of(self, body: Mapping[str, Any]) -> str:
        """The API path of an object by what it says of itself; "" where the server does not serve its kind."""
        version, metadata = str(body["apiVersion"]), body["metadata"]
        if version not in self._served:
            found = self.find(api_root(version)) or {}
            self._served[version] = {one["kind"]: one for one in found.get("resources", ()) if "/" not in one["name"]}
        kind = self._served[version].get(body["kind"])
        if kind is None:
            return ""
        if kind["namespaced"]:
            return namespaced(version, str(metadata.get("namespace") or "default"), kind["name"], metadata["name"])
        return f"{api_root(version)}/{kind['name']}/{metadata['name']}"

    def delete(self, path: str, *, foreground: bool = False) -> None:
        """Delete an object, in the foreground only after what it owns; nothing happens where there is none."""
        try:
            self._send("DELETE", path, params={"propagationPolicy": "Foreground"} if foreground else {})
        except ApiError as error:
            if error.status != 404:
                raise

    def execute(self, namespace: str, pod: str, container: str, command: list[str], *, timeout: float = 60) -> Executed:
        """Run a command in a container and wait for its end.

        Raises:
            NotHeldError: the API server or the kubelet would not run it, or it did not end in `timeout` seconds.
        """
        api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(self._configuration))
        streams = {"stdout": True, "stderr": True, "stdin": False, "tty": False}
        given = {"container": container, "command": command, "_preload_content": False, "_request_timeout": timeout}
        try:
            session = open_stream(api.connect_get_namespaced_pod_exec, pod, namespace, **streams, **given)
        except kubernetes.client.ApiException as error:
            raise NotHeldError(
                f"no command could be run in {namespace}/{pod}: {short(str(error.reason))}",
                "ask for the right to create pods/exec in that namespace, and see that the node is Ready",
            ) from None
        try:
            wrote = _wrote(session, timeout)
            if session.is_open():
                raise NotHeldError(
                    f"`{short(' '.join(command), 80)}` in {namespace}/{pod} was still running after {timeout:.0f} s",
                    "see what holds it up, or give a larger --timeout",
                )
            return Executed(_code_of(session), *wrote)
        finally:
            session.close()

    def service_client(self, namespace: str, service: str, port: int | str, *, timeout: float) -> httpx.Client:
        """Return a client whose requests go to a Service in the cluster, through the API server's proxy.

        The proxy (rather than port-forwarding) since it is plain HTTP that streams (the API server flushes
        text/event-stream at once: Go's net/http/httputil.ReverseProxy), needs no websocket and no kubelet, follows
        the Service from pod to pod, and asks for one right only: get and create on services/proxy.
        """
        path = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"
        return self._client(self.server.rstrip("/") + path, timeout=timeout)

    def _client(self, base_url: str, *, timeout: float | None = None) -> httpx.Client:
        configuration = self._configuration
        verify: ssl.SSLContext | bool = bool(configuration.verify_ssl)
        if verify:
            verify = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
            if configuration.cert_file:
                verify.load_cert_chain(configuration.cert_file, configuration.key_file)
        return BoundedClient(
            _ANSWER_LIMIT_BYTES,
            base_url=base_url,
            auth=_Bearer(configuration),
            verify=verify,
            timeout=timeout or self._timeout,
            proxy=configuration.proxy or None,
            trust_env=False,
        )

    def _json(self, method: str, path: str, **options: Any) -> JSON:
        response = self._send(method, path, **options)
        try:
            found = read_json(response.content)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("metadata", {}), dict):
            raise NotHeldError(f"{self.server} answered no object for {path}: {short(response.text)}", _NO_API)
        return found

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise ApiError(response)
        return response


def _is_object(item: object) -> bool:
    """Whether an item of a list is one of Kubernetes' objects: it says which."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def is_transient(error: Exception) -> bool:
    """Whether an error says only that the API server does not answer now: overloaded, restarting, being upgraded."""
    if isinstance(error, ApiError):
        return error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, httpx.TransportError)


def api_root(group_version: str) -> str:
    """The API path of a group's version: `v1`, or `group/version`."""
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


def namespaced(group_version: str, namespace: str, resource: str, name: str = "") -> str:
    """Return the API path of a namespaced resource; `group_version` is `v1` or `group/version`."""
    return f"{api_root(group_version)}/namespaces/{namespace}/{resource}" + (f"/{name}" if name else "")


def _wrote(session: Any, seconds: float) -> tuple[str, str]:
    """What a command writes to its two ends until it has ended, or the time is over.

    Raises:
        NotHeldError: it writes without end.
    """
    parts: tuple[list[str], list[str]] = ([], [])
    end, left = time.monotonic() + seconds, _OUTPUT_LIMIT_BYTES
    while True:
        going = session.is_open() and time.monotonic() < end
        if going:
            session.update(timeout=_UPDATE_SECONDS)
        for own, more in zip(parts, (session.read_stdout(timeout=0), session.read_stderr(timeout=0)), strict=True):
            own.append(more or "")
            left -= len(more or "")
        if left < 0:
            raise NotHeldError(f"a command wrote more than {_OUTPUT_LIMIT_BYTES >> 20} MiB", _NO_API)
        if not going:
            return "".join(parts[0]), "".join(parts[1])


def _code_of(session: Any) -> int:
    """How a command has ended, as the kubelet writes it into the stream's last channel."""
    try:
        return int(session.returncode or 0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, yaml.YAMLError):
        raise NotHeldError("the API server did not say how a command has ended", _NO_API) from None


def _configuration(kubeconfig: str | Path | None, context: str | None) -> Any:
    if isinstance(kubeconfig, str) and kubeconfig.startswith("/"):
        kubeconfig = Path(kubeconfig)
    configuration = kubernetes.client.Configuration()
    given = {"client_configuration": configuration, "persist_config": False, "context": context}
    try:
        if isinstance(kubeconfig, str):
            kubernetes.config.load_kube_config_from_dict(_parsed(kubeconfig), **given)  # type: ignore[no-untyped-call]
        else:
            # Asked here, as the package looks at the variable only once, when it is imported.
            path = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
            kubernetes.config.load_kube_config(config_file=path, **given)  # type: ignore[no-untyped-call]
    # What a parser or the package trips over is a text of the file, which holds credentials.
    except (kubernetes.config.ConfigException, OSError) as error:
        told = said(error)
    except (yaml.YAMLError, RecursionError):
        told = "is not YAML"
    except (ValueError, TypeError, LookupError, AttributeError):
        told = "is no kubeconfig"
    else:
        return configuration
    origin = "in the stack's outputs" if isinstance(kubeconfig, str) else str(kubeconfig or "KUBECONFIG")
    raise InputError(f"kubeconfig {origin}: {told}; give a working one with --kubeconfig FILE")


_held: dict[bytes, str] = {}


def _in_memory(content: str | bytes, *_: object, **__: object) -> str:
    """Keep a certificate or key in a file that has no name, and is gone with this process however it ends."""
    data = content.encode() if isinstance(content, str) else content
    if data not in _held:
        descriptor = os.memfd_create("kubeconfig")
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        _held[data] = f"/proc/self/fd/{descriptor}"
    return _held[data]


if hasattr(os, "memfd_create"):
    # The package leaves such files in the temporary folder, and removes them only where the interpreter ends orderly
    # (kubernetes 37.0.2, config/kube_config.py). It has no other door for it.
    kubernetes.config.kube_config.__dict__["_create_temp_file_with_content"] = _in_memory


def _parsed(text: str) -> JSON:
    parsed = yaml.safe_load(text)
    if not isinstance(parsed, dict):
        # The text is a secret: the message must not quote it.
        raise kubernetes.config.ConfigException("is not a YAML mapping")
    return parsed
