"""A plan: what a stack's program would register and export, and its stable JSON form."""

import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import commands
from components.prediction import Prediction
from components.settings.stack_file import is_stack_name
from oci_model_serving import foreign
from oci_model_serving.errors import InputError
from offline import predicted
from offline.recording import Recording, Resource
from offline.values import plain

_LIMIT_BYTES = 64 << 20
"""Of a file with a plan or a stack's outputs: hundreds of pools and models have a few."""


@dataclass(frozen=True)
class Plan:
    """The recorded run of one stack's program.

    `promoted` has, by the key of each image that comes from another stack of the project, a name of how that stack
    makes it: with another name another digest is promoted, though neither is known before that stack's update.
    """

    project: str
    stack: str
    recording: Recording = field(default_factory=Recording)
    prediction: Prediction = field(default_factory=Prediction)
    promoted: Mapping[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> list[Resource]:
        """The resources, in the program's order."""
        return self.recording.resources

    def children(self) -> dict[str, list[Resource]]:
        """The resources by their parent's URN, each group in the program's order."""
        children: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.resources:
            children[resource.parent].append(resource)
        return children

    def data(self) -> dict[str, Any]:
        """The plan as plain data, secrets masked, in an order that does not depend on the run.

        `stack` is the stack's name; `resources` holds objects of `type`, `name`, `parent` (`TYPE::NAME`, null at the
        top), `inputs` and, where the program sets any, `options`; `outputs` holds the stack's outputs; where there are
        any, `predictions` what is predicted of its models and its cost, `promoted` as here, and `warnings` what the
        program warned of.
        """
        by_urn = {resource.urn: resource for resource in self.resources}

        def label(urn: str) -> str | None:
            return f"{by_urn[urn].type}::{by_urn[urn].name}" if urn in by_urn else None

        resources = [
            {"type": one.type, "name": one.name, "parent": label(one.parent), "inputs": portable(plain(one.inputs))}
            | ({"options": dict(one.options)} if one.options else {})
            for one in self.resources
        ]
        resources.sort(key=lambda item: (item["type"], item["name"], item["parent"] or ""))
        warned = [message for level, message in self.recording.messages if level == "warning"]
        extra = {"predictions": self.prediction.data(), "promoted": dict(self.promoted), "warnings": warned}
        told = {key: value for key, value in extra.items() if value}
        return {"stack": self.stack, "resources": resources, "outputs": plain(self.recording.outputs), **told}


def portable(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs without the place of this machine's interpreter in a command of ours."""
    own = commands.read(inputs.get("create"))
    return {**inputs, "create": shlex.join(["python", "-m", own.module, *own.arguments])} if own else dict(inputs)


def tops(plan: Mapping[str, Any]) -> dict[str, str]:
    """What each resource of a plan in JSON belongs to at the top, both as `TYPE::NAME`.

    The plan may be of somebody else's making: one whose parents lead in a circle stands by itself.
    """
    parents = {f"{item['type']}::{item['name']}": item.get("parent") or "" for item in plan["resources"]}

    def top(label: str) -> str:
        at, seen = label, {label}
        while (above := parents[at]) in parents:
            if above in seen:
                return label
            seen.add(above)
            at = above
        return at

    return {label: top(label) for label in parents}


def load(path: Path) -> dict[str, Any]:
    """Read a plan that was written as JSON.

    Raises:
        InputError: the file is missing or is not such a plan.
    """
    data = read_json(path)
    if not is_plan(data):
        raise InputError(f"{path} is not a plan: write one with `oms plan --stack NAME --json`")
    return dict(data)


def read_json(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return foreign.read_json(foreign.beginning(path, _LIMIT_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {foreign.in_line(str(error))}") from error


def is_plan(data: Any) -> bool:
    """Whether data that was read from JSON has the form of a plan."""
    of_resource = {"type": str, "name": str, "parent": str | None, "inputs": dict}
    return (
        _has(data, {"outputs": dict, "resources": list})
        and all(_has(item, of_resource) and _are_options(item.get("options", {})) for item in data["resources"])
        and predicted.is_read(data.get("predictions", {}))
        and _is_name(data.get("stack", "-"))
        and _are_texts(data.get("promoted", {}))
    )


def _are_options(options: Any) -> bool:
    """Whether a resource's options are lists of texts, of those at least that are read (`offline.diff`)."""
    return isinstance(options, dict) and all(
        isinstance(listed := options.get(name, []), list) and all(isinstance(one, str) for one in listed)
        for name in ("ignoreChanges", "replaceOnChanges", "aliases")
    )


def _is_name(stack: Any) -> bool:
    """Whether it can be a stack's name, which titles and markers hold."""
    return isinstance(stack, str) and is_stack_name(stack)


def _are_texts(promoted: Any) -> bool:
    return isinstance(promoted, dict) and all(isinstance(one, str) for one in promoted.values())


def _has(data: Any, fields: Mapping[str, Any]) -> bool:
    return isinstance(data, dict) and all(isinstance(data.get(name), kind) for name, kind in fields.items())
