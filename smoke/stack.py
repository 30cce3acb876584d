"""The models that are checked, as the stack's outputs have them."""

from dataclasses import dataclass

from oci_model_serving.errors import InputError
from oci_model_serving.outputs import ContractError, ModelOutput, StackOutputs


@dataclass(frozen=True)
class ServedModel:
    """A model of the stack: its key, what the outputs say about it, and its nodes' service account ("": unknown)."""

    key: str
    output: ModelOutput
    account: str = ""


def select(outputs: StackOutputs, keys: list[str]) -> list[ServedModel]:
    """Return the models of these keys; all of the stack's when none is named.

    Raises:
        InputError: a key is not in the stack, or the stack serves nothing.
    """
    if not outputs.models:
        raise InputError("the stack serves no model: add one under `models` in Pulumi.<stack>.yaml and `pulumi up`")
    unknown = [problem for key in keys or outputs.models if (problem := _unknown(outputs, key))]
    if unknown:
        raise InputError(*unknown)
    models = {key: outputs.models[key] for key in keys or outputs.models}
    accounts = outputs.node_service_accounts
    return [ServedModel(key, model, accounts.get(model.node_pool or "", "")) for key, model in models.items()]


def _unknown(outputs: StackOutputs, key: str) -> str:
    try:
        outputs.model(key)
    except ContractError as error:
        return f"--model: {error}"
    return ""
