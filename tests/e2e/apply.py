"""Puts a program's objects on a real API server where no engine is on PATH: server-side, namespaces first.

`python -m tests.e2e.apply STACK`, in the project's folder, builds the images, applies the objects and prints
the stack's outputs.
"""

import json
import sys
from pathlib import Path
from typing import Any

import httpx

from components.settings.stack_file import find_project, read_config
from offline import Plan, Program
from offline.manifests import kubernetes_objects
from offline.values import dumps, reveal
from tests.integration import cluster

FIELD_MANAGER = "oci-model-serving"


def apply(plan: Plan, kubeconfig: Path) -> None:
    """Apply the objects of the plan; nothing is waited for, forced or pruned.

    Raises:
        AssertionError: the cluster lacks a kind or refuses an object; with what it said.
    """
    with cluster.client(kubeconfig) as api:
        for item in sorted(kubernetes_objects(plan), key=lambda one: one.kind != "Namespace"):
            answer = api.patch(
                f"{_collection(api, item.api_version, item.kind, item.namespace)}/{item.name}",
                params={"fieldManager": FIELD_MANAGER},
                headers={"Content-Type": "application/apply-patch+yaml"},
                content=json.dumps(reveal(dict(item.body))),
            )
            assert answer.is_success, f"the cluster refuses {item}: {answer.text}"


def _collection(api: httpx.Client, version: str, kind: str, namespace: str) -> str:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    listed: list[dict[str, Any]] = api.get(root).json().get("resources", [])
    found = [one for one in listed if one["kind"] == kind and "/" not in one["name"]]
    assert found, f"the cluster does not know {kind} of {version}"
    within = f"/namespaces/{namespace or 'default'}" if found[0]["namespaced"] else ""
    return f"{root}{within}/{found[0]['name']}"


if __name__ == "__main__":
    project, stack = find_project(Path.cwd()), sys.argv[1]
    made = Program(project).plan(stack, build=True)
    apply(made, Path(str(read_config(project, stack).kubeconfig)))
    sys.stdout.write(dumps(reveal(made.recording.outputs)))
