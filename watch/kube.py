"""The Kubernetes API as plain JSON objects.

The `kubernetes` package reads the kubeconfig (certificates, tokens, exec plugins such as GKE's) and opens the
websocket of `exec`; httpx carries everything else, so that objects stay what the server sent, whatever fields a newer
server has, and so that a Service can be reached as a stream through the API server.
"""

import json
import os
import ssl
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import yaml
from kubernetes.stream import stream as open_stream

from oci_model_serving.errors import InputError
from watch.causes import NotHeldError, said, short

JSON = dict[str, Any]

FIELD_MANAGER = "oci-model-serving-smoke"
_REMEDIES = {
    401: "the kubeconfig's credentials are refused: log in again (`gcloud auth login`), or give --kubeconfig",
    403: "ask for the right that the message names (`kubectl auth can-i` shows what you have)",
}


class ApiError(NotHeldError):
    """The API server refused a request: `status` is the HTTP status, `message` what it said."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        try:
            body = response.json()
        except ValueError:
            body = {}
        reason = str(body.get("reason") or response.reason_phrase) if isinstance(body, dict) else ""
        self.message = str(body.get("message") or "") if isinstance(body, dict) else ""
        told = self.message or short(response.text) or reason
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
                request.headers[setting["key"]] = setting["value"]
        yield request


class KubeApi:
    """A client of one cluster's API server.

    Args:
        kubeconfig: the text of a kubeconfig, the path of one, or None for KUBECONFIG and ~/.kube/config.
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
        return list(found["items"]) if found else []

    def text(self, path: str, **params: str) -> str:
        """Read something that is not JSON: metrics, a container's log."""
        return self._send("GET", path, params=params).text

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> JSON:
        """Create an object, or have the server only pretend to: schemas, defaults and webhooks run all the same.

        Unknown fields are refused rather than dropped.
        """
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        return self._json("POST", path, params=params, json=dict(body))

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
            session.run_forever(timeout=timeout)
            if session.is_open():
                raise NotHeldError(
                    f"`{short(' '.join(command), 80)}` in {namespace}/{pod} was still running after {timeout:.0f} s",
                    "see what holds it up, or give a larger --timeout",
                )
            return Executed(session.returncode or 0, session.read_stdout() or "", session.read_stderr() or "")
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
        return httpx.Client(
            base_url=base_url,
            auth=_Bearer(configuration),
            verify=verify,
            timeout=timeout or self._timeout,
            proxy=configuration.proxy or None,
            trust_env=False,
        )

    def _json(self, method: str, path: str, **options: Any) -> JSON:
        return dict(self._send(method, path, **options).json())

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise ApiError(response)
        return response


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


def _configuration(kubeconfig: str | Path | None, context: str | None) -> Any:
    configuration = kubernetes.client.Configuration()
    given = {"client_configuration": configuration, "persist_config": False, "context": context}
    try:
        if isinstance(kubeconfig, str):
            kubernetes.config.load_kube_config_from_dict(_parsed(kubeconfig), **given)  # type: ignore[no-untyped-call]
        else:
            # Asked here, as the package looks at the variable only once, when it is imported.
            path = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
            kubernetes.config.load_kube_config(config_file=path, **given)  # type: ignore[no-untyped-call]
    except (kubernetes.config.ConfigException, OSError, yaml.YAMLError) as error:
        origin = "in the stack's outputs" if isinstance(kubeconfig, str) else str(kubeconfig or "KUBECONFIG")
        # A parser's own message quotes the text, which holds credentials.
        told = "is not YAML" if isinstance(error, yaml.YAMLError) else said(error)
        raise InputError(f"kubeconfig {origin}: {told}; give a working one with --kubeconfig FILE") from None
    return configuration


def _parsed(text: str) -> JSON:
    parsed = yaml.safe_load(text)
    if not isinstance(parsed, dict):
        # The text is a secret: the message must not quote it.
        raise kubernetes.config.ConfigException("is not a YAML mapping")
    return parsed
