"""The Kubernetes objects of a plan, as files that `kubectl apply`, Kustomize and a reviewer can read.

What a folder has: `objects/`, which `kubectl apply -f` takes as it is, numbered by phase; `kustomization.yaml`, which
lists them for all who build with Kustomize (beside them it would be an object that no cluster knows); `helm/` with the
values of each release and the command; `secrets/` with each Secret that somebody else has to fill.
"""

import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from oci_model_serving.errors import InputError
from offline.phases import phase_of
from offline.plan import Plan
from offline.recording import RELEASE_TYPE, Resource
from offline.values import KnownAfter, Secret, plain

_OURS = "which replaces or removes this file on its next run."
HEADER = f"# Written by `oms`, {_OURS}\n"
"""First line of every file: what lacks its end was not written by us and is never touched."""
OBJECTS, SECRETS, HELM, ARGO_CD, FLUX = "objects", "secrets", "helm", "argocd", "flux"
"""The folders."""
KUSTOMIZATION = "kustomization.yaml"
_FOLDERS = ("", OBJECTS, SECRETS, HELM, ARGO_CD, FLUX, f"{FLUX}/platforms")
"""Where an earlier run may have left files; the first is that of versions that had all in one."""
_DATA = frozenset({"data", "stringData"})
"""Of a Secret: never written."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class KubernetesObject:
    """An object as the Kubernetes provider receives it; `body` may still hold secrets and values known later."""

    resource: Resource
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.body["kind"])

    @property
    def api_version(self) -> str:
        """The object's group and version."""
        return str(self.body["apiVersion"])

    @property
    def namespace(self) -> str:
        """The object's namespace; empty for one that has none."""
        return str(plain(self.body["metadata"].get("namespace") or ""))

    @property
    def name(self) -> str:
        """The object's name."""
        return str(plain(self.body["metadata"]["name"]))

    @property
    def is_patch(self) -> bool:
        """Whether it only adds to an object."""
        return self.resource.type.endswith(f":{self.kind}Patch")

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


def kubernetes_objects(plan: Plan) -> list[KubernetesObject]:
    """The objects that the plan declares, in the program's order; Helm releases are not among them.

    What a patch adds to an object of the plan is in that object.

    Raises:
        InputError: an object has no name of its own, so that only the engine's provider could name it.
    """
    objects: list[KubernetesObject] = []
    nameless = []
    for resource in plan.resources:
        if not resource.type.startswith("kubernetes:") or resource.type == RELEASE_TYPE:
            continue
        if resource.component or resource.read or "kind" not in resource.inputs:
            continue
        metadata = resource.inputs.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            nameless.append(f"{resource.inputs['kind']} {resource.name!r} has no metadata.name: give it one")
            continue
        objects.append(KubernetesObject(resource, resource.inputs))
    if nameless:
        raise InputError("\n".join(nameless))
    added: dict[str, list[KubernetesObject]] = {}
    for item in objects:
        if item.is_patch:
            added.setdefault(str(item), []).append(item)
    return [replace(item, body=_patched(item, added.get(str(item), []))) for item in objects if not item.is_patch]


def _patched(item: KubernetesObject, patches: Sequence[KubernetesObject]) -> Mapping[str, Any]:
    """The object with the annotations that patches add; those that only a run knows stand under the patch's name."""
    if not patches:
        return item.body
    metadata = item.body["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    for patch in patches:
        more = patch.body["metadata"].get("annotations")
        annotations.update(more if isinstance(more, dict) else {patch.resource.name: more})
    return {**item.body, "metadata": {**metadata, "annotations": annotations}}


def helm_releases(plan: Plan) -> list[Resource]:
    """The Helm releases that the plan declares, in the program's order."""
    return [resource for resource in plan.resources if resource.type == RELEASE_TYPE]


def _unchanged(item: KubernetesObject) -> Mapping[str, str]:  # noqa: ARG001 - one of many such
    return {}


def render(plan: Plan, annotations: Callable[[KubernetesObject], Mapping[str, str]] = _unchanged) -> dict[str, str]:
    """File to content: one file an object, one with the values of each Helm release, and the list for Kustomize.

    `annotations` are what each object is given beyond those of the plan.
    """
    objects: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for item in kubernetes_objects(plan):
        body, files = _annotated(item, annotations(item)), objects
        name = _file_name(item.kind, item.namespace, item.name)
        folder = f"{OBJECTS}/{phase_of(item.kind)}-"
        if item.kind == "Secret":
            files, folder = secrets, f"{SECRETS}/"
        if f"{folder}{name}" in files:
            group = item.api_version.rpartition("/")[0] or "core"
            name = _file_name(f"{item.kind}.{group}", item.namespace, item.name)
        files[f"{folder}{name}"] = _document(body, is_secret=item.kind == "Secret")
    helm = {
        f"{HELM}/{number}-{_NOT_IN_NAMES.sub('_', release.name)}.yaml": _release(release)
        for number, release in enumerate(helm_releases(plan), start=1)
    }
    files = dict(sorted({**objects, **secrets, **helm}.items()))
    return {**files, KUSTOMIZATION: _kustomization(sorted(objects))}


def incomplete(plan: Plan) -> list[str]:
    """What of the files only a run of the engine knows, or nobody may write: each a sentence with the place."""
    found = []
    for item in kubernetes_objects(plan):
        hidden = _DATA if item.kind == "Secret" else frozenset[str]()
        body = {key: part for key, part in item.body.items() if key not in hidden}
        found += [f"{item}: {path}: {_why(leaf)}" for path, leaf in _leaves(body, "") if _why(leaf)]
    for release in helm_releases(plan):
        found += [
            f"Helm release {release.name}: {path}: {_why(leaf)}"
            for path, leaf in _leaves(release.inputs, "")
            if _why(leaf)
        ]
    return found


def _why(leaf: Any) -> str:
    if isinstance(leaf, KnownAfter):
        return f"is {leaf}"
    return "is secret" if isinstance(leaf, Secret) else ""


def write(plan: Plan, folder: Path) -> list[Path]:
    """Write the plan's manifests to `folder` and remove those of an earlier run that are no longer in the plan.

    All files are complete before the first of them takes its place.

    Raises:
        InputError: the folder holds a file of that name that an earlier run did not write, or cannot be written.
    """
    return write_files(render(plan), folder, option="--manifests")


def write_files(files: Mapping[str, str], folder: Path, *, option: str) -> list[Path]:
    """Write rendered files as `write` does; `option` is what named the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [name for name in files if (folder / name).exists() and not _is_ours(folder / name)]
        if foreign:
            raise InputError(
                f"{option} {folder}: {', '.join(foreign)} was not written by this command: move it, or name "
                "another folder"
            )
        _replace(files, folder)
    except OSError as error:
        raise InputError(f"{option} {folder}: {error}") from error
    return [folder / name for name in files]


def _replace(files: Mapping[str, str], folder: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=".manifests-", dir=folder))
    try:
        for name, content in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(content, encoding="utf-8")
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).replace(folder / name)
        for within in reversed(_FOLDERS):
            for path in (folder / within).glob("*.yaml"):
                if path.relative_to(folder).as_posix() not in files and _is_ours(path):
                    path.unlink()
            if within and (folder / within).is_dir() and not any((folder / within).iterdir()):
                (folder / within).rmdir()
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().endswith(f"{_OURS}\n")


def _file_name(kind: str, namespace: str, name: str) -> str:
    parts = [kind.lower(), *([namespace] if namespace else []), name]
    return _NOT_IN_NAMES.sub("_", "-".join(parts)) + ".yaml"


def _document(body: Mapping[str, Any], *, is_secret: bool) -> str:
    hidden = _DATA & body.keys() if is_secret else set()
    notes = [f"# Left out, since it is secret: {part} ({', '.join(sorted(body[part]))})" for part in sorted(hidden)]
    return _file(notes, {key: value for key, value in body.items() if key not in hidden})


def _annotated(item: KubernetesObject, more: Mapping[str, str]) -> Mapping[str, Any]:
    if not more:
        return item.body
    metadata = item.body["metadata"]
    return {**item.body, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **more}}}


def _kustomization(resources: Sequence[str]) -> str:
    """In the order of the phases, which Kustomize's own order of kinds would undo (`sortOptions`, since v5.0)."""
    listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [*resources]}
    return _file([], {**listed, "sortOptions": {"order": "fifo"}})


def _release(release: Resource) -> str:
    inputs, shown = release.inputs, plain(release.inputs)
    command = ["helm", "upgrade", "--install", str(shown.get("name", release.name)), str(shown.get("chart", ""))]
    repository = shown.get("repositoryOpts", {})
    options = {
        "--repo": repository.get("repo") if isinstance(repository, dict) else None,
        "--version": shown.get("version"),
        "--namespace": shown.get("namespace"),
        # From the project's folder, as the engine starts it.
        "--post-renderer": f"./{shown['postrender']}" if shown.get("postrender") else None,
        "--timeout": f"{shown['timeout']}s" if shown.get("timeout") else None,
    }
    command += [word for option, value in options.items() if value for word in (option, str(value))]
    command += ["--create-namespace"] if inputs.get("createNamespace") else []
    command += ["--atomic"] if inputs.get("atomic") else []
    notes = [
        f"# Helm release {release.name}: chart {shown.get('chart')}, version {shown.get('version', 'newest')}",
        f"# {shlex.join(command)} --values THIS-FILE",
    ]
    return _file(notes, inputs.get("values", {}))


def _file(notes: list[str], value: Any) -> str:
    """The content, below the notes and a comment for each value that a file cannot hold."""
    for path, leaf in _leaves(value, ""):
        if isinstance(leaf, KnownAfter):
            notes.append(f"# Not complete: {path} is {leaf}")
        elif isinstance(leaf, Secret):
            notes.append(f"# Left out, since it is secret: {path}")
    return HEADER + "".join(f"{note}\n" for note in notes) + document(value)


def document(value: Any) -> str:
    """One YAML document: the same value gives the same bytes."""
    return yaml.safe_dump(plain(value), sort_keys=True, allow_unicode=True, width=1_000)


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _leaves(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _leaves(item, f"{path}[{index}]")]
    return [(path, value)]
