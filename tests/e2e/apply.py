"""Puts a program's objects on a real API server where no engine is on PATH, and does what the engine would beside it.

Objects are applied server-side, namespaces first, those only that changed; the watch commands run after what they
depend on, and their failure is the update's; what is gone from the program is deleted at the end. A patch is an apply
by a manager of its own, which gives its fields up at the end where the patch is gone or has become another one.

`python -m tests.e2e.apply STACK`, in the project's folder, builds the images, applies the objects and prints
the stack's outputs.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from components import commands
from components.settings.stack_file import find_project, read_config
from offline import Plan, Program, Resource
from offline.manifests import KubernetesObject, kubernetes_objects
from offline.values import dumps, reveal
from tests.integration import cluster
from watch.kube import api_root

FIELD_MANAGER = "oci-model-serving"
FORCE = "pulumi.com/patchForce"
STATE = "applied.json"
"""Where the command keeps its state, in the project's folder."""
_GONE_SECONDS = 180
_BY = " by "


@dataclass
class State:
    """What the last update left: an engine's state, as far as it decides what the next update does.

    Attributes:
        objects: the digest of the inputs of each object, by its path, in the order in which they were applied.
        commands: the digest of the inputs of each command that succeeded, by its URN.
    """

    objects: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "State":
        """The state in a file, or an empty one."""
        return cls(**json.loads(file.read_text())) if file.exists() else cls()

    def write(self, file: Path) -> None:
        """Keep the state in a file."""
        file.write_text(json.dumps(asdict(self)))

    def refresh(self, path: str) -> None:
        """Take an object's state from the cluster: whatever the inputs of its last update were, they are sent again."""
        self.objects[path] = ""


def apply(plan: Plan, kubeconfig: Path, state: State | None = None) -> None:
    """Bring the cluster to what the plan says; `state` is what the last update left, and is kept up to date.

    Raises:
        AssertionError: the cluster lacks a kind or refuses an object, or a command failed; with what it said. What is
            gone from the plan then stays, as with the engine.
    """
    state = State() if state is None else state
    applied: list[str] = []
    # Of an object that patches add to, what it says itself.
    bodies = {item.resource.urn: replace(item, body=item.resource.inputs) for item in kubernetes_objects(plan)}
    patches = {one.urn: KubernetesObject(one, one.inputs) for one in plan.resources if one.type.endswith("Patch")}
    running: dict[str, _Command] = {}
    with cluster.client(kubeconfig) as api:
        for resource in sorted(plan.resources, key=lambda one: not _is_namespace(bodies.get(one.urn))):
            _finish(running, resource.dependencies, state)
            if resource.urn in bodies:
                applied.append(_apply_one(api, bodies[resource.urn], state))
            elif resource.urn in patches:
                applied.append(_apply_patch(api, patches[resource.urn], state))
            elif resource.runs and resource.runs.module in {commands.ROLLOUT, commands.ADMITTED}:
                started = _Command(resource)
                if state.commands.get(resource.urn) != started.inputs:
                    running[resource.urn] = started.start()
        _finish(running, list(running), state)
        gone = [path for path in state.objects if path not in applied]
        for path in reversed(gone):
            _delete(api, path)
            del state.objects[path]
    present = {resource.urn for resource in plan.resources}
    state.commands = {urn: inputs for urn, inputs in state.commands.items() if urn in present}


def destroy(kubeconfig: Path, state: State) -> None:
    """Delete all that was applied, the last first."""
    with cluster.client(kubeconfig) as api:
        for path in reversed(list(state.objects)):
            _delete(api, path)
            del state.objects[path]
    state.commands = {}


class _Command:
    """A watch command, with the interpreter that runs this."""

    def __init__(self, resource: Resource) -> None:
        assert resource.runs, resource
        self._name, self._urn = resource.name, resource.urn
        self._line = [sys.executable, "-m", resource.runs.module, *resource.runs.arguments]
        self._input = str(reveal(resource.inputs.get("stdin", "")))
        self._environment = reveal(resource.inputs.get("environment", {}))
        self.inputs = _digest([resource.runs.arguments, self._input, reveal(resource.inputs.get("triggers"))])

    def start(self) -> "_Command":
        self._process = subprocess.Popen(
            self._line,
            env={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        self._process.stdin.write(self._input)
        self._process.stdin.close()
        self._process.stdin = None
        return self

    def finish(self, state: State) -> str:
        """Wait for its end; what it said where it failed."""
        _, said = self._process.communicate()
        if not self._process.returncode:
            state.commands[self._urn] = self.inputs
            return ""
        state.commands.pop(self._urn, None)
        return f"{self._name} failed: {said}"


def _finish(running: dict[str, _Command], urns: Iterable[str], state: State) -> None:
    failed = [running.pop(urn).finish(state) for urn in list(urns) if urn in running]
    if any(failed):
        failed += [running.pop(urn).finish(state) for urn in list(running)]
        raise AssertionError("\n".join(filter(None, failed)))


def _apply_one(api: httpx.Client, item: KubernetesObject, state: State) -> str:
    path = f"{_collection(api, item.api_version, item.kind, item.namespace)}/{item.name}"
    body = reveal(dict(item.body))
    inputs = _digest(body)
    if state.objects.get(path) != inputs:
        forced = (body["metadata"].get("annotations") or {}).get(FORCE) == "true"
        answer = api.patch(
            path,
            params={"fieldManager": FIELD_MANAGER, **({"force": "true"} if forced else {})},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(body),
        )
        assert answer.is_success, f"the cluster refuses {item}: {answer.text}"
        state.objects[path] = inputs
    return path


def _apply_patch(api: httpx.Client, item: KubernetesObject, state: State) -> str:
    """Add to an object, as the provider does; what stands for the patch in the state is its object and its manager."""
    path = f"{_collection(api, item.api_version, item.kind, item.namespace)}/{item.name}"
    body = reveal(dict(item.body))
    own = f"{path}{_BY}{FIELD_MANAGER}-{_digest([item.resource.urn, body])[:8]}"
    if own not in state.objects:
        answer = _send_patch(api, own, body)
        assert answer.is_success, f"the cluster refuses the patch of {item}: {answer.text}"
        state.objects[own] = _digest(body)
    return own


def _send_patch(api: httpx.Client, own: str, body: dict[str, Any]) -> httpx.Response:
    path, _, manager = own.partition(_BY)
    headers = {"Content-Type": "application/apply-patch+yaml"}
    return api.patch(path, params={"fieldManager": manager}, headers=headers, content=json.dumps(body))


def _delete(api: httpx.Client, path: str) -> None:
    """Delete an object and wait until it is gone, with all that it owns; of a patch, give up what it has set."""
    if _BY in path:
        found = api.get(path.partition(_BY)[0])
        if found.is_success:
            known = found.json()
            metadata = {key: known["metadata"][key] for key in ("name", "namespace") if key in known["metadata"]}
            body = {"apiVersion": known["apiVersion"], "kind": known["kind"], "metadata": metadata}
            _send_patch(api, path, body).raise_for_status()
        return
    answer = api.delete(path, params={"propagationPolicy": "Foreground"})
    assert answer.is_success or answer.status_code == 404, f"the cluster does not delete {path}: {answer.text}"
    cluster.wait_for(lambda: api.get(path).status_code == 404, _GONE_SECONDS)


def _is_namespace(item: KubernetesObject | None) -> bool:
    return item is not None and item.kind == "Namespace"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _collection(api: httpx.Client, version: str, kind: str, namespace: str) -> str:
    root = api_root(version)
    listed: list[dict[str, Any]] = api.get(root).json().get("resources", [])
    found = [one for one in listed if one["kind"] == kind and "/" not in one["name"]]
    assert found, f"the cluster does not know {kind} of {version}"
    within = f"/namespaces/{namespace or 'default'}" if found[0]["namespaced"] else ""
    return f"{root}{within}/{found[0]['name']}"


def _main(stack: str, file: Path) -> None:
    project = find_project(Path.cwd())
    made = Program(project).plan(stack, build=True)
    state = State.read(file)
    try:
        apply(made, Path(str(read_config(project, stack).kubeconfig)), state)
    finally:
        state.write(file)
    sys.stdout.write(dumps(reveal(made.recording.outputs)))


if __name__ == "__main__":
    _main(sys.argv[1], Path(STATE))
