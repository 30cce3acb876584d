"""A plan: what a stack's program would register and export, and its stable JSON form."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import commands
from oci_model_serving.errors import InputError
from offline.recording import Recording, Resource
from offline.values import plain


@dataclass(frozen=True)
class Plan:
    """The recorded run of one stack's program."""

    project: str
    stack: str
    recording: Recording = field(default_factory=Recording)

    @property
    def resources(self) -> list[Resource]:
        """The resources, in the program's order."""
        return self.recording.resources

    def data(self) -> dict[str, Any]:
        """The plan as plain data, secrets masked, in an order that does not depend on the run.

        `resources` holds objects of `type`, `name`, `parent` (`TYPE::NAME`, null at the top), `inputs` and, where the
        program sets any, `options`; `outputs` holds the stack's outputs.
        """
        by_urn = {resource.urn: resource for resource in self.resources}

        def label(urn: str) -> str | None:
            return f"{by_urn[urn].type}::{by_urn[urn].name}" if urn in by_urn else None

        resources = [
            {
                "type": resource.type,
                "name": resource.name,
                "parent": label(resource.parent),
                "inputs": portable(plain(resource.inputs)),
                **({"options": dict(resource.options)} if resource.options else {}),
            }
            for resource in self.resources
        ]
        resources.sort(key=lambda item: (item["type"], item["name"], item["parent"] or ""))
        return {"resources": resources, "outputs": plain(self.recording.outputs)}


def portable(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs without the place of this machine's interpreter in a command of ours."""
    own = commands.read(inputs.get("create"))
    return {**inputs, "create": shlex.join(["python", "-m", own.module, *own.arguments])} if own else dict(inputs)


def load(path: Path) -> dict[str, Any]:
    """Read a plan that was written as JSON.

    Raises:
        InputError: the file is missing or is not such a plan.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not is_plan(data):
        raise InputError(f"{path} is not a plan: write one with `oms plan --stack NAME --json`")
    return dict(data)


def is_plan(data: Any) -> bool:
    """Whether data that was read from JSON has the form of a plan."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("outputs"), dict)
        and isinstance(data.get("resources"), list)
        and all(_is_resource(item) for item in data["resources"])
    )


def _is_resource(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("type"), str)
        and isinstance(item.get("name"), str)
        and isinstance(item.get("parent"), str | None)
        and isinstance(item.get("inputs"), dict)
        and isinstance(item.get("options", {}), dict)
    )
