"""KServe's and KubeAI's controllers as far as this project's objects go, played against the test cluster.

They make what the real ones make from the objects that this project applied, and write as those write: under the
managers' own names, by POST, PUT and patches, never by apply and never by force. `kserve` and `kubeai`, beside this
module, hold what each of them does; test_recorded.py holds both to what the real ones were seen to write.

Not played: KubeAI's proxy. Its Service leads to the models' pods, whose server takes the prefix `/openai` itself; and
each Model has a Service of its own, `model-NAME`, that leads to its pods as the proxy does.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from tests.integration import kserve as kserve_controller
from tests.integration import kubeai as kubeai_controller
from tests.integration.cluster import client, wait_for

JSON = dict[str, Any]
Reconcile = Callable[[httpx.Client, JSON], float]
"""Reconciles one object; how many seconds the controller then rests."""
_POLL_SECONDS = 0.5
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def playing(
    kubeconfig: Path,
    *,
    kserve: str = "",
    kubeai: str = "",
    selector: str = "",
    values: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Play the controllers until the context ends.

    Args:
        kubeconfig: of the cluster's admin.
        kserve: the namespace in which KServe's is played.
        kubeai: the namespace in which KubeAI's is played.
        selector: labels of the InferenceServices that KServe's takes instead, in whichever namespace.
        values: the values that KubeAI's chart is installed with; its defaults hold where they say nothing.
    """
    version = f"{kserve_controller.API}/v1beta1"
    loops: list[tuple[str, dict[str, str], Reconcile]] = []
    if kserve or selector:
        path = f"{version}/namespaces/{kserve}/inferenceservices" if kserve else f"{version}/inferenceservices"
        loops.append((path, {"labelSelector": selector} if selector else {}, kserve_controller.reconcile))
    if kubeai:
        controller = kubeai_controller.Controller({} if values is None else values)
        loops.append((f"{kubeai_controller.API}/namespaces/{kubeai}/models", {}, controller.reconcile))
    stopped = threading.Event()
    # A controller each: one that rests, as KubeAI's does after each step, holds up nobody else.
    threads = [threading.Thread(target=_run, args=(kubeconfig, *loop, stopped), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        with client(kubeconfig) as api:
            for path, params, _ in loops:
                _leave(api, path, params)


def _leave(api: httpx.Client, path: str, params: dict[str, str]) -> None:
    """Leave no finalizer on what is still there: nobody would take it off, and its namespace would never go."""
    with _told():
        for found in api.get(path, params=params).raise_for_status().json()["items"]:
            if found["metadata"].get("finalizers"):
                kserve_controller.finalizers(api, found, [])


def stand_in(kubeconfig: Path, namespace: str, name: str, image: str) -> None:
    """Make the Deployment of a controller that is in the cluster; the one played here is outside of it."""
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "manager", "image": image, "command": ["sleep", "86400"], "securityContext": secure}
    user = {"runAsNonRoot": True, "runAsUser": 1010, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"terminationGracePeriodSeconds": 0, "securityContext": user, "containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    with client(kubeconfig) as api:
        made = api.post(path, json=body)
        if made.status_code != HTTPStatus.CONFLICT:
            made.raise_for_status()
        wait_for(lambda: api.get(f"{path}/{name}").json()["status"].get("availableReplicas"))


def _run(kubeconfig: Path, path: str, params: dict[str, str], one: Reconcile, stopped: threading.Event) -> None:
    with client(kubeconfig) as api:
        while not stopped.wait(_POLL_SECONDS):
            # Objects change and go meanwhile: as the real controllers, these try again.
            with _told():
                for found in api.get(path, params=params).raise_for_status().json()["items"]:
                    with _told():
                        stopped.wait(one(api, found))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        _LOG.warning("%s", error.response.json().get("message", error))
    except (httpx.HTTPError, LookupError) as error:
        _LOG.warning("%s", error)
