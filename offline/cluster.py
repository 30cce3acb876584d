"""Applies a plan's Kubernetes objects to its cluster, where no engine does it: server-side, never pruning."""

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes.config
import urllib3
import yaml
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError, ResourceNotFoundError

from offline.errors import InputError, RunFailedError
from offline.manifests import KubernetesObject, helm_releases, kubernetes_objects
from offline.plan import Plan
from offline.telling import at
from offline.values import MASK, KnownAfter, reveal, unknowns

FIELD_MANAGER = "oci-model-serving"
"""Who owns the fields that an apply sets, so that a later engine run meets a named owner and no surprise."""
_PROVIDER_TYPE = "pulumi:providers:kubernetes"
_WAIT_FOR = "pulumi.com/waitFor"
_JSONPATH = re.compile(r"jsonpath=\{\.(?P<path>[^}]+)\}(?:=(?P<value>.*))?")
_AT_LEAST = re.compile(r"jsonpath=\{\$(?:\.(?P<path>[\w.]+))?\[\?@\.(?P<field>\w+) > (?P<number>-?\d+)\]\}")
_POLL_SECONDS = 2.0
_DEFINED_BY = {
    "serving.kserve.io": "the KServe chart kserve-crd",
    "kubeai.org": "the KubeAI chart",
    "gateway.networking.k8s.io": "the Gateway API",
    "cert-manager.io": "the cert-manager chart",
    "keda.sh": "the KEDA chart",
    "networking.gke.io": "GKE",
}


def apply(plan: Plan, *, wait_seconds: float | None = None) -> None:
    """Apply the objects of the plan, namespaces first; wait for what `pulumi.com/waitFor` asks only if told to.

    Nothing is applied unless everything can be. Nothing is ever deleted; progress goes to stderr.

    Raises:
        InputError: an object holds a value that is known only later or that only the engine can decrypt, the
            cluster lacks a kind, or no cluster is given.
        RunFailedError: the cluster refuses an object, cannot be reached, or an object does not become ready in time.
    """
    objects = sorted(kubernetes_objects(plan), key=_rank)
    _check_values(objects)
    with _client(plan) as client:
        resources = _kinds(client, objects)
        for item in objects:
            _apply_one(client, resources[item.api_version, item.kind], item)
            _say(f"applied {item}")
        for release in helm_releases(plan):
            _say(f"not installed: Helm release {release.name} (its values are among --manifests)")
        _say("what an earlier run applied and this plan lacks stays: nothing is pruned")
        if wait_seconds is not None:
            deadline = time.monotonic() + wait_seconds
            for item in objects:
                _wait(resources[item.api_version, item.kind], item, deadline)


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _summary(error: DynamicApiError) -> str:
    return str(error.summary())  # type: ignore[no-untyped-call]


def _rank(item: KubernetesObject) -> int:
    return {"Namespace": 0, "CustomResourceDefinition": 1}.get(item.kind, 2)


def _check_values(objects: list[KubernetesObject]) -> None:
    problems = []
    for item in objects:
        waiting = sorted({str(value) for value in unknowns(item.body)})
        if waiting:
            problems.append(f"{item} cannot be applied: a value in it is {'; '.join(waiting)} (add --build?)")
        elif MASK in json.dumps(reveal(item.body)):
            problems.append(f"{item} cannot be applied: only the engine can decrypt a value in it: run `pulumi up`")
    if problems:
        raise InputError("\n".join(problems))


@contextmanager
def _client(plan: Plan) -> Iterator[DynamicClient]:
    """A client of the cluster that the plan's provider names."""
    providers = [resource for resource in plan.resources if resource.type == _PROVIDER_TYPE]
    if len(providers) > 1:
        names = ", ".join(provider.name for provider in providers)
        raise InputError(f"--apply serves one cluster, and the stack has providers for several: {names}")
    inputs = reveal(providers[0].inputs) if providers else {}
    folder = inputs.get("renderYamlToDirectory")
    if folder:
        raise InputError("--apply needs a cluster, and this stack only renders manifests: set cluster.kubeconfig")
    with tempfile.TemporaryDirectory(prefix="offline-") as temporary:
        try:
            api = _api_client(inputs, Path(temporary))
            # The discovery cache would otherwise stay in the machine's temporary folder.
            cache = str(Path(temporary) / "discovery.json")
            yield DynamicClient(api, cache_file=cache)  # type: ignore[no-untyped-call]
        except DynamicApiError as error:
            raise RunFailedError(f"the cluster answers: {_summary(error)}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RunFailedError(f"the cluster cannot be reached: {error}") from error


def _api_client(inputs: Mapping[str, Any], folder: Path) -> Any:
    given = inputs.get("kubeconfig")
    if isinstance(given, KnownAfter):
        raise InputError(f"--apply needs a cluster that exists: its kubeconfig is {given}")
    if not isinstance(given, str) or not given:
        # The ambient kubeconfig could be of any cluster, and nobody said that it is meant.
        raise InputError("--apply needs a cluster, and this stack names none: set cluster.kubeconfig")
    loader: Any = kubernetes.config
    options = {"context": inputs.get("context"), "persist_config": False}
    try:
        if _is_path(given):
            return loader.new_client_from_config(str(Path(given).expanduser()), **options)
        return loader.new_client_from_config_dict(yaml.safe_load(given), temp_file_path=str(folder), **options)
    except (kubernetes.config.ConfigException, yaml.YAMLError, TypeError) as error:
        raise InputError(f"--apply: the stack's kubeconfig cannot be used: {error}") from error


def _is_path(kubeconfig: str) -> bool:
    """Whether the provider's kubeconfig names a file; it may also be the content of one."""
    return "\n" not in kubeconfig and not kubeconfig.lstrip().startswith("{")


def _kinds(client: DynamicClient, objects: list[KubernetesObject]) -> dict[tuple[str, str], Any]:
    """What the cluster calls each kind; those that a CRD of this very plan defines are looked up when it is there."""
    resources: dict[tuple[str, str], Any] = {}
    problems: dict[str, None] = {}
    for item in objects:
        key = (item.api_version, item.kind)
        if key in resources:
            continue
        try:
            resources[key] = client.resources.get(api_version=item.api_version, kind=item.kind)
        except ResourceNotFoundError:
            problems[_lacking(item)] = None
    if problems:
        raise InputError("\n".join(problems))
    return resources


def _lacking(item: KubernetesObject) -> str:
    group = item.api_version.rpartition("/")[0]
    lower = item.kind.lower()
    plural = f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"
    source = _DEFINED_BY.get(group, "what defines it")
    return f"the cluster does not know {item.kind} of {item.api_version}: install CRD {plural}.{group} ({source}) first"


def _apply_one(client: DynamicClient, resource: Any, item: KubernetesObject) -> None:
    body = reveal(dict(item.body))
    namespace = (item.namespace or "default") if resource.namespaced else None
    try:
        client.server_side_apply(  # type: ignore[no-untyped-call]
            resource, body=body, name=item.name, namespace=namespace, field_manager=FIELD_MANAGER
        )
    except DynamicApiError as error:
        raise RunFailedError(f"the cluster refuses {item}: {_summary(error)}") from error


def _wait(resource: Any, item: KubernetesObject, deadline: float) -> None:
    annotations = item.body["metadata"].get("annotations") or {}
    wanted = str(annotations.get(_WAIT_FOR, ""))
    if not wanted:
        return
    expressions = json.loads(wanted) if wanted.startswith("[") else [wanted]
    _say(f"waiting for {item}: {', '.join(expressions)}")
    while True:
        state = _state(resource, item)
        unmet = [expression for expression in expressions if not is_met(expression, state)]
        if not unmet:
            return
        if time.monotonic() >= deadline:
            raise RunFailedError(f"{item} is not ready in time: {', '.join(unmet)} is not met")
        time.sleep(_POLL_SECONDS)


def _state(resource: Any, item: KubernetesObject) -> dict[str, Any]:
    namespace = (item.namespace or "default") if resource.namespaced else None
    try:
        found: dict[str, Any] = resource.get(name=item.name, namespace=namespace).to_dict()
    except NotFoundError:
        return {}
    return found


def is_met(expression: str, state: Mapping[str, Any]) -> bool:
    """Whether an object's state meets one expression of `pulumi.com/waitFor`.

    Its forms: `condition=TYPE[=STATUS]`, `jsonpath={.a.b}[=VALUE]` with plain fields, and `jsonpath={$.a[?@.b > 1]}`
    for an object of which a member has a number above another (pulumi-kubernetes 4.34).

    Raises:
        InputError: the expression has another form.
    """
    observed, generation = (at(dict(state), path) for path in ("status.observedGeneration", "metadata.generation"))
    if isinstance(observed, int) and isinstance(generation, int) and observed < generation:
        return False  # the status is of an older spec
    kind, _, rest = expression.partition("=")
    if kind == "condition":
        name, _, status = rest.partition("=")
        conditions = at(dict(state), "status.conditions") or []
        return any(
            condition.get("type", "").lower() == name.lower()
            and condition.get("status", "").lower() == (status or "true").lower()
            for condition in conditions
        )
    if number := _AT_LEAST.fullmatch(expression):
        members = at(dict(state), number["path"]) if number["path"] else state
        counted = [one.get(number["field"]) for one in dict(members or {}).values() if isinstance(one, Mapping)]
        return any(isinstance(one, int) and one > int(number["number"]) for one in counted)
    match = _JSONPATH.fullmatch(expression)
    if match is None:
        raise InputError(f"{_WAIT_FOR}: {expression!r} is neither condition=TYPE nor jsonpath={{.field}}=VALUE")
    found = at(dict(state), match["path"])
    text = found if isinstance(found, str) else json.dumps(found)
    return found is not None and match["value"] in {None, text}
