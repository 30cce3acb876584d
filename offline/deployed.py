"""A plan of what is deployed: the settings as they are now, with the images that the stack's outputs say it has."""

import json
from collections.abc import Mapping
from typing import Any

from components.settings.image_settings import adapter_key
from components.settings.images import cache_key
from components.settings.stack import Settings
from components.settings.stack_file import Project, read_config
from oci_model_serving.outputs import CONTRACT_VERSION, AdapterOutput, ModelOutput, StackOutputs
from offline.plan import Plan
from offline.program import Program
from offline.recording import COMMAND_TYPE, IMAGE_TYPE, MODEL_IMAGE_TYPE, Resource

_STEPS = ("build", "seal", "copy", "check", "sign", "attest", "verify")
"""The commands of a model image that answer with it, by the end of their name (`components.model_image`)."""


def plan_of_deployed(project: Project, stack: str, outputs: StackOutputs) -> Plan:
    """The plan of a stack in which every image that `outputs` have is known.

    What another stack would be asked for is taken from there too: its image is the one that was promoted.

    Raises:
        InputError: the settings are wrong or missing.
        Exception: whatever the program itself raises.
    """
    return _planned(project, stack, outputs)[1]


def settings_of_deployed(project: Project, stack: str, outputs: StackOutputs) -> Settings:
    """The settings of a stack as they are now, as the program reads them; `outputs` and errors as above."""
    return _planned(project, stack, outputs)[0].settings(stack)


def _planned(project: Project, stack: str, outputs: StackOutputs) -> tuple[Program, Plan]:
    references: dict[str, dict[str, Any]] = {}
    for key, settings in read_config(project, stack).models.items():
        model = outputs.models.get(key)
        if model is None:
            continue
        if settings.get("fromStack"):
            _promoted(references, settings, key).update(model.model_dump(exclude={"adapters"}))
        for label, adapter in (settings.get("adapters") or {}).items():
            if adapter.get("fromStack") and label in model.adapters:
                there = _promoted(references, adapter, key).setdefault("adapters", {})
                there[adapter.get("adapter") or label] = model.adapters[label].model_dump()
    program = Program(project, references)
    return program, program.plan(stack, answer=lambda resource: _answer(resource, outputs))


def _promoted(references: dict[str, dict[str, Any]], settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What the stack that an image is promoted from would say of its model there."""
    empty: dict[str, Any] = {"contract_version": CONTRACT_VERSION, "models": {}}
    outputs = references.setdefault(str(settings["fromStack"]), empty)
    models: dict[str, dict[str, Any]] = outputs["models"]
    return models.setdefault(settings.get("model") or key, {})


def _answer(resource: Resource, outputs: StackOutputs) -> Mapping[str, Any] | None:
    kind, _, key = resource.parent.rpartition("::")
    image = _images(outputs).get(key) if kind.endswith(MODEL_IMAGE_TYPE) else None
    if kind.endswith(MODEL_IMAGE_TYPE) and key in _unused(outputs) and resource.name == f"{key}-check":
        return {"stdout": json.dumps({"annotations": {}, "size_bytes": 0}), "stderr": ""}
    if image is None:
        return None
    if resource.type == IMAGE_TYPE:
        return {"repoDigest": image.image}
    if resource.type == COMMAND_TYPE and resource.name in {f"{key}-{step}" for step in _STEPS}:
        return {"stdout": json.dumps(_result(image)), "stderr": ""}
    return None


def _unused(outputs: StackOutputs) -> set[str]:
    """The keys of compile caches that do not fit: what they were made for is not among the outputs."""
    caches = ((key, model.compile_cache) for key, model in outputs.models.items())
    return {cache_key(key) for key, cache in caches if cache and not cache.used}


def _images(outputs: StackOutputs) -> dict[str, ModelOutput | AdapterOutput]:
    """The images that the outputs have, by the keys that name their resources."""
    adapters = {
        adapter_key(key, label): adapter
        for key, model in outputs.models.items()
        for label, adapter in model.adapters.items()
    }
    return {**outputs.models, **adapters}


def _result(image: ModelOutput | AdapterOutput) -> dict[str, Any]:
    found = {"digest": image.digest, "reference": image.image, "size_bytes": image.size_bytes, "layers": []}
    return {**found, **image.traits.model_dump()}
