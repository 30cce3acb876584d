"""Where the facts about a deployed stack come from: its outputs, by the engine or from a file."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.outputs import ContractError, ModelOutput, StackOutputs, parse
from smoke.checks import SmokeError

_ENGINE_SECONDS = 120


@dataclass(frozen=True)
class Model:
    """A model of the stack: its key in the outputs, and what the outputs say about it."""

    key: str
    output: ModelOutput


def read_outputs(stack: str, file: Path | None = None) -> StackOutputs:
    """Read a stack's outputs: from `file` when given, else from Pulumi's engine.

    Args:
        stack: the stack's name, as `pulumi stack ls` shows it.
        file: what `pulumi stack output --json --show-secrets` printed, or the plan of `python -m offline` as JSON,
            which holds the outputs under the key `outputs`.

    Raises:
        SmokeError: there are no such outputs, or they are not of this program's contract.
    """
    raw = _from_file(file) if file else _from_engine(stack)
    if isinstance(raw.get("outputs"), dict) and "contract_version" not in raw:
        raw = raw["outputs"]
    try:
        return parse(raw, stack=str(file) if file else f"stack {stack}")
    except ContractError as error:
        raise SmokeError(str(error)) from None


def select(outputs: StackOutputs, keys: list[str]) -> list[Model]:
    """Return the models of these keys; all of the stack's when none is named.

    Raises:
        SmokeError: a key is not in the stack, or the stack serves nothing.
    """
    if not outputs.models:
        raise SmokeError("the stack serves no model: add one under `models` in Pulumi.<stack>.yaml and `pulumi up`")
    unknown = [key for key in keys if key not in outputs.models]
    if unknown:
        raise SmokeError("\n".join(f"--model: {_unknown(outputs, key)}" for key in unknown))
    return [Model(key, outputs.models[key]) for key in dict.fromkeys(keys or outputs.models)]


def _unknown(outputs: StackOutputs, key: str) -> str:
    try:
        outputs.model(key)
    except ContractError as error:
        return str(error)
    raise KeyError(key)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SmokeError(f"--outputs {file}: {error.strerror}") from None
    except ValueError:
        raise SmokeError(
            f"--outputs {file}: not JSON: write it with `pulumi stack output --json --show-secrets > {file}`"
        ) from None
    if not isinstance(raw, dict):
        raise SmokeError(f"--outputs {file}: not a JSON object of stack outputs")
    return raw


def _from_engine(stack: str) -> dict[str, Any]:
    command = ["pulumi", "stack", "output", "--json", "--stack", stack, "--show-secrets", "--non-interactive"]
    try:
        # The kubeconfig is among the secrets that come back; they stay in this process.
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ENGINE_SECONDS, check=False)
    except FileNotFoundError:
        raise SmokeError(
            "pulumi is not on PATH: install it, or give the outputs with --outputs FILE "
            "(`pulumi stack output --json --show-secrets`, or `python -m offline --format json`)"
        ) from None
    except subprocess.TimeoutExpired:
        raise SmokeError(f"pulumi gave no outputs of stack {stack} in {_ENGINE_SECONDS} s: is it logged in?") from None
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
        raise SmokeError(f"pulumi has no outputs of stack {stack}: {said.strip()}; see `pulumi stack ls`")
    raw = json.loads(done.stdout)
    return raw if isinstance(raw, dict) else {}
