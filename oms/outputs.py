"""The outputs of a deployed stack: from its engine, or from a file."""

from pathlib import Path
from typing import Any

import yaml

from components.settings.stack_file import find_project, read_config
from oci_model_serving.errors import InputError
from oci_model_serving.outputs import ContractError, StackOutputs, parse
from oms import engine

_HIDDEN = "[secret]"


def read_outputs(stack: str, file: Path | None = None, *, deployed: bool = False) -> StackOutputs:
    """Read a stack's outputs: from `file` when given, else from its engine.

    Args:
        stack: the stack's name, its own or the full one.
        file: what `pulumi stack output --json --show-secrets` printed, or the plan of `oms plan --json`, which holds
            the outputs under the key `outputs`.
        deployed: whether a plan, which says what will be, is refused.

    Raises:
        InputError: there are no such outputs, or they are not of this program's contract.
    """
    raw = _from_file(file) if file else engine_of(stack).outputs(secrets=True)
    if isinstance(raw.get("outputs"), dict) and "contract_version" not in raw:
        if deployed:
            raise InputError(
                f"--outputs {file}: is a plan, which does not say what runs: write it with `pulumi stack output --json`"
            )
        raw = raw["outputs"]
        if unknown := _unknown(raw):
            raise InputError(
                f"--outputs {file}: is a plan that cannot know the images of {', '.join(unknown)} before they are "
                "made: write it with `pulumi stack output --json` when they are"
            )
    try:
        return parse(raw, stack=str(file) if file else f"stack {stack}")
    except ContractError as error:
        raise InputError(str(error)) from None


def usable_kubeconfig(kubeconfig: str | None) -> str | None:
    """The stack's kubeconfig, or none where the stack has no cluster of its own.

    Raises:
        InputError: there is one, but it is hidden; another cluster must not be taken for the stack's.
    """
    if not kubeconfig:
        return None
    if kubeconfig == _HIDDEN:
        raise InputError(
            f"the stack's output kubeconfig is {_HIDDEN}: add --show-secrets to `pulumi stack output --json`, or give "
            "--kubeconfig FILE"
        )
    try:
        parsed = yaml.safe_load(kubeconfig)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return kubeconfig  # KubeApi says what is wrong with it
    return None if isinstance(parsed, dict) and not parsed.get("clusters") else kubeconfig


def _unknown(outputs: dict[str, Any]) -> list[str]:
    """The models whose digest only a real run can know."""
    from offline.values import is_known_after, within

    models = outputs.get("models")
    return [key for key in models if is_known_after(within(models, key, "digest"))] if isinstance(models, dict) else []


def _from_file(file: Path) -> dict[str, Any]:
    from offline.plan import read_json

    try:
        raw = read_json(file)
    except InputError as error:
        raise InputError(f"--outputs {error}: write it with `pulumi stack output --json`") from None
    if not isinstance(raw, dict):
        raise InputError(f"--outputs {file}: not a JSON object of stack outputs")
    return raw


def engine_of(stack: str) -> engine.Engine:
    """The engine of a stack that it may have deployed.

    Raises:
        InputError: there is no engine on this machine.
    """
    project = find_project(Path.cwd())
    config = read_config(project, stack)
    path = engine.find()
    if path is None:
        raise InputError(
            "there is no Pulumi CLI on PATH: install it, or give the outputs with --outputs FILE "
            "(`pulumi stack output --json`, on a machine that has it)"
        )
    return engine.Engine.of(path, project, stack, config)
