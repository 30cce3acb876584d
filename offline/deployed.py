"""A plan of what is deployed: the settings as they are now, with the images that the stack's outputs say it has."""

import json
from collections.abc import Mapping
from typing import Any

from components.settings.stack_file import Project, read_config
from oci_model_serving.outputs import CONTRACT_VERSION, ModelOutput, StackOutputs
from offline.plan import Plan
from offline.program import Program
from offline.recording import COMMAND_TYPE, IMAGE_TYPE, MODEL_IMAGE_TYPE, Resource

_STEPS = ("build", "seal", "copy", "check")
"""The commands of a model image that answer with it, by the end of their name (`components.model_image`)."""


def plan_of_deployed(project: Project, stack: str, outputs: StackOutputs) -> Plan:
    """The plan of a stack in which every image that `outputs` have is known.

    What another stack would be asked for is taken from there too: its image is the one that was promoted.

    Raises:
        InputError: the settings are wrong or missing.
        Exception: whatever the program itself raises.
    """
    references: dict[str, dict[str, Any]] = {}
    for key, settings in read_config(project, stack).models.items():
        origin, model = settings.get("fromStack"), outputs.models.get(key)
        if origin and model:
            promoted = references.setdefault(str(origin), {"contract_version": CONTRACT_VERSION, "models": {}})
            promoted["models"][settings.get("model") or key] = model.model_dump()
    return Program(project, references).plan(stack, answer=lambda resource: _answer(resource, outputs))


def _answer(resource: Resource, outputs: StackOutputs) -> Mapping[str, Any] | None:
    kind, _, key = resource.parent.rpartition("::")
    model = outputs.models.get(key) if kind.endswith(MODEL_IMAGE_TYPE) else None
    if model is None:
        return None
    if resource.type == IMAGE_TYPE:
        return {"repoDigest": model.image}
    if resource.type == COMMAND_TYPE and resource.name in {f"{key}-{step}" for step in _STEPS}:
        return {"stdout": json.dumps(_result(model)), "stderr": ""}
    return None


def _result(model: ModelOutput) -> dict[str, Any]:
    return {"digest": model.digest, "reference": model.image, "size_bytes": model.size_bytes, "layers": []}
