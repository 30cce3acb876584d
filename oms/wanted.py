"""The Kubernetes objects that a stack's settings ask for, with the images that are deployed: what drift is held to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.serving.objects import MODEL_LABEL
from components.settings.stack_file import find_project
from oci_model_serving.outputs import ModelOutput, StackOutputs
from offline.deployed import plan_of_deployed
from offline.manifests import kubernetes_objects
from offline.values import KnownAfter, Secret
from smoke.drift import Wanted

_UNSET = object()


def wanted_objects(stack: str, outputs: StackOutputs, models: list[ModelOutput]) -> list[Wanted]:
    """The objects of a stack in the program's order, without those of models that are not asked for.

    Raises:
        InputError: the settings are wrong or missing.
    """
    asked = {model.name for model in models}
    others = {model.name for model in outputs.models.values()} - asked
    plan = plan_of_deployed(find_project(Path.cwd()), stack.rpartition("/")[2], outputs)
    found = []
    for one in kubernetes_objects(plan):
        unknown: set[tuple[str | int, ...]] = set()
        body = _known(one.body, (), unknown, secret=one.kind == "Secret")
        if (body["metadata"].get("labels") or {}).get(MODEL_LABEL) not in others:
            found.append(Wanted(body, frozenset(unknown)))
    return found


def _known(value: Any, path: tuple[str | int, ...], unknown: set[tuple[str | int, ...]], *, secret: bool) -> Any:
    """The value without what is not set, secret or not known; where that would stand goes to `unknown`."""
    if isinstance(value, Mapping):
        parts = {key: _known(part, (*path, key), unknown, secret=secret) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part is not _UNSET}
    if isinstance(value, list | tuple):
        found: list[Any] = [_known(part, (*path, at), unknown, secret=secret) for at, part in enumerate(value)]
        if any(part is _UNSET for part in found):
            unknown.add(path)  # the places of a list's other items are not sure any more
            return _UNSET
        return found
    if isinstance(value, Secret) and secret:
        return ""  # of a Secret the keys are compared; its values go nowhere
    if isinstance(value, KnownAfter | Secret):
        unknown.add(path)
    return _UNSET if value is None or isinstance(value, KnownAfter | Secret) else value
