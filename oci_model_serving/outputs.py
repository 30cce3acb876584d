"""The stack's outputs: the contract with other stacks and with `smoke`. This module writes it and reads it.

Consumers call `read(pulumi.StackReference(...))`; what has been read with other means (a JSON file) goes to `parse`.
The keys are snake_case. A new key keeps the version, a changed or removed one raises it.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import pulumi
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import OmsError
from oci_model_serving.foreign import in_line
from oci_model_serving.reference import ImageReference

CONTRACT_VERSION = 1


class ContractError(OmsError, pulumi.RunError):
    """A stack's outputs are not of this contract; the message says which stack, which key and what to do.

    It is no ValueError: the SDK wraps one that comes up in a resource's inputs (pulumi, runtime/rpc.py), and the engine
    would show a traceback.
    """

    exit_code = 2


class _Output(BaseModel):
    # Keys that a newer minor of the producer adds are none of an older consumer's business.
    model_config = ConfigDict(extra="ignore", frozen=True)


_O = TypeVar("_O", bound=_Output)


def _is_by_digest(text: str) -> str:
    ImageReference.parse(text)
    return text


_BY_DIGEST = {"type": "string", "pattern": r"^[^\s@]+@sha256:[0-9a-f]{64}$"}
_Image = Annotated[str, AfterValidator(_is_by_digest), WithJsonSchema(_BY_DIGEST)]
_Bytes = Annotated[int, Field(ge=0, lt=1 << 63)]
_Count = Annotated[int, Field(ge=0, lt=1 << 31)]
_ObjectName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$")]
"""Of an object in Kubernetes, whose API's paths it becomes a part of; "" of what no cluster has."""
_Address = Annotated[str, Field(pattern=r"^(https?://[^\s@/?#]+(/\S*)?)?$")]
_LISTED_NAMES = 20
_COMPARED_NAMES = 1000
_VALUE = "Value error, "


class ClusterOutput(_Output):
    """The cluster that serves: its GKE name, location and Kubernetes version ("" when unknown).

    All three are "" of a stack without a cluster, which makes images only.
    """

    name: str
    location: str
    version: str


class TaintOutput(_Output):
    """A taint of a pool's nodes, as Kubernetes spells it (effect `NoSchedule`)."""

    key: str
    value: str
    effect: str


class NodePoolOutput(_Output):
    """A pool of GPU nodes: `disk_size_gb` in GB (0: GKE chooses it), `labels` and `taints` as its nodes carry them."""

    accelerator: str
    count: _Count
    machine_type: str
    disk_size_gb: _Count
    labels: dict[str, str]
    taints: list[TaintOutput]
    min_nodes: _Count
    max_nodes: _Count
    spot: bool


class PlatformOutput(_Output):
    """A platform that is in use. The gateway keys are KServe's only."""

    version: str
    namespace: _ObjectName
    gateway: Literal["gke", "envoy", "none"] = "none"
    gateway_name: _ObjectName = ""
    gateway_namespace: _ObjectName = ""
    domain: str = ""


_Task = Literal["generation", "embedding", "reranking", "speech", "pooling"]


class TraitsOutput(_Output):
    """What an image's files say to a server (`modelimage.traits`); by default a folder of weights that generates."""

    task: _Task = "generation"
    architecture: str = ""
    weights_file: str = ""
    has_tokenizer: bool = False
    has_config: bool = False
    lora_rank: _Count = 0
    streams: bool = False


class _Promoted(_Output):
    """What other stacks take of an image; all else may be of a newer version's making."""

    image: _Image
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size_bytes: _Bytes

    @model_validator(mode="after")
    def _of_one_digest(self) -> "_Promoted":
        if self.reference.digest != self.digest:
            raise ValueError(f"image and digest do not go together: image has {self.reference.digest}")
        return self

    @property
    def reference(self) -> ImageReference:
        """The image, parsed.

        Raises:
            InputError: the output is not a reference by digest.
        """
        return ImageReference.parse(self.image)


class _ImageOutput(_Promoted):
    traits: TraitsOutput = TraitsOutput()


class AdapterOutput(_ImageOutput):
    """A LoRA adapter of a model, an image of its own: `image` is `host/path@sha256:…`."""


class StageOutput(_Output):
    """A stage of a cold start as it is predicted: its seconds, the bytes that it is about (0: of none), what bounds it.

    `constant` names the rows of `components/google/speeds.csv` that the bound is from ("" where a setting decides),
    with their `value` in `unit` at that time.
    """

    seconds: float = Field(ge=0, lt=1e9, allow_inf_nan=False)
    size_bytes: _Bytes = 0
    bound: str = ""
    constant: str = ""
    value: float = Field(default=0.0, ge=0, lt=1e15, allow_inf_nan=False)
    unit: str = ""


class ColdStartOutput(_Output):
    """A model's cold start as it was predicted when the stack was deployed, as far as it can be.

    `node_provision` are the seconds to a new node, least and most: empty where nothing is known of its nodes. `stages`
    has the others by name: `server_image_pull`, `image_pull`, `load`, `server_start` (without the load).
    """

    node_provision: list[float] = Field(default=[], max_length=2)
    # The engine leaves empty maps out of a stack's outputs.
    stages: dict[str, StageOutput] = {}


class CompileCacheOutput(_Promoted):
    """What a model's server has compiled before, an image of its own; `used` says whether it fits what is served."""

    used: bool


class ModelOutput(_ImageOutput):
    """A served model: `image` is `host/path@sha256:…`, `size_bytes` what a node downloads, `url` without `/v1`.

    `revision` names what its pods are made of ("" where an older version wrote it), `replicas` is how many there are at
    least: 0 of a paused model and of one that scales to zero. `task` is what the server is asked for, `adapters` has
    its LoRA adapters by the names that requests call them, `cold_start` what was predicted of a start, `compile_cache`
    is what the settings name. Of a stack
    without a cluster `url` and `namespace` are "": the image can be promoted, and nothing answers (`served`).
    """

    delivery: Literal["modelcar", "native", "fetch", "stream", "kubeai"]
    platform: Literal["kserve", "kubeai"]
    name: _ObjectName
    namespace: _ObjectName
    storage_uri: str
    served_name: str
    url: _Address
    paused: bool
    node_pool: str | None = None
    revision: str = ""
    replicas: _Count = 1
    task: _Task = "generation"
    # The engine leaves empty maps out of a stack's outputs.
    adapters: dict[str, AdapterOutput] = {}
    cold_start: ColdStartOutput | None = None
    compile_cache: CompileCacheOutput | None = None

    @property
    def served(self) -> bool:
        """Whether a cluster serves it, and not only its image is there."""
        return bool(self.url)

    @property
    def serving(self) -> Delivery:
        """How the weights reach its server, with all that this means."""
        return Delivery(self.delivery)


class StackOutputs(_Output):
    """All outputs of a stack of this program. `kubeconfig` is a secret in Pulumi: never print it."""

    contract_version: int
    registry_url: str
    cluster: ClusterOutput
    # The engine leaves empty maps out of a stack's outputs.
    node_service_accounts: dict[str, str] = {}
    node_pools: dict[str, NodePoolOutput] = {}
    platforms: dict[Literal["kserve", "kubeai"], PlatformOutput] = {}
    models: dict[str, ModelOutput] = {}
    kubeconfig: str | None = Field(default=None, repr=False)

    def model(self, key: str, *, stack: str = "the stack") -> ModelOutput:
        """The model of that key.

        Raises:
            ContractError: the stack serves no such model; the message names those that it serves.
        """
        if key not in self.models:
            raise ContractError(_no_model(stack, key, self.models))
        if not self.models[key].served:
            raise ContractError(
                f"{stack} has no cluster, and only the image of model {key!r}: take it from the stack that serves it, "
                "or write oci-model-serving:cluster there and `pulumi up`"
            )
        return self.models[key]


def parse(outputs: Mapping[str, Any], *, stack: str = "the stack") -> StackOutputs:
    """Check a mapping of outputs, as `pulumi stack output --json` prints it.

    Raises:
        ContractError: a key is missing or wrong, or the contract is of another version.
    """
    _check_version(outputs.get("contract_version"), stack)
    return _parsed(StackOutputs, outputs, stack)


def _parsed(kind: type[_O], values: object, stack: str, *within: str) -> _O:
    """Values by a model of the contract, whoever wrote them; `within` are the keys above them."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        told = [
            (".".join(map(str, (*within, *one["loc"]))), one["msg"].removeprefix(_VALUE))
            for one in found[:_LISTED_NAMES]
        ]
        problems = "; ".join(f"{in_line(key, 200)}: {in_line(message, 400)}" for key, message in told)
        more = f" and {len(found) - _LISTED_NAMES} more" if len(found) > _LISTED_NAMES else ""
        raise ContractError(
            f"outputs of {stack} are not of contract {CONTRACT_VERSION}: {problems}{more}; "
            "run `pulumi up` on it with this version of the program"
        ) from None


def _map(values: object, stack: str, key: str) -> Mapping[str, Any]:
    """A map of outputs, which the engine leaves out where it is empty."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ContractError(
            f"outputs of {stack} are not of contract {CONTRACT_VERSION}: {key}: is no map; run `pulumi up` on it with "
            "this version of the program"
        )
    return values


def read(stack: pulumi.StackReference) -> pulumi.Output[StackOutputs]:
    """Read another stack's outputs; a ContractError fails the consumer's run with the remedy.

    `kubeconfig` is left out: with it the whole value would be a secret. `stack.get_output("kubeconfig")` has it.
    """
    keys = [key for key in StackOutputs.model_fields if key != "kubeconfig"]
    values = pulumi.Output.all(**{key: stack.get_output(key) for key in keys})

    def parsed(known: Mapping[str, Any], name: str) -> StackOutputs:
        return parse({key: value for key, value in known.items() if value is not None}, stack=name)

    return pulumi.Output.all(values, stack.name).apply(lambda read: parsed(read[0], str(read[1])))


def read_image(
    stack: pulumi.StackReference, key: str, adapter: str | None = None
) -> pulumi.Output[tuple[ImageReference, int]]:
    """The image and the size in bytes of one model or adapter of it, for promotion: depends on nothing else there.

    Only two outputs are looked at, so that neither the producer's secrets nor its unknowns (an image that a preview has
    not built) reach the digest.
    """

    def image(version: object, said: object, name: str) -> tuple[ImageReference, int]:
        _check_version(version, name)
        models = _map(said, name, "models")
        if key not in models:
            raise ContractError(_no_model(name, key, models))
        found, within = models[key], ["models", key]
        if adapter is not None:
            model = _map(found, name, f"models.{key}")
            adapters = _map(model.get("adapters"), name, f"models.{key}.adapters")
            if adapter not in adapters:
                raise ContractError(_none_of(f"{name} serves no adapter {adapter!r} of {key!r}", adapter, adapters))
            found, within = adapters[adapter], [*within, "adapters", adapter]
        taken = _parsed(_Promoted, found, name, *within)
        return taken.reference, taken.size_bytes

    return pulumi.Output.all(stack.get_output("contract_version"), stack.get_output("models"), stack.name).apply(
        lambda read: image(read[0], read[1], str(read[2]))
    )


def describe(
    reference: pulumi.Output[ImageReference],
    delivery: Delivery,
    *,
    size_bytes: pulumi.Input[int],
    traits: pulumi.Input[Mapping[str, Any]],
    storage_uri: pulumi.Output[str],
    name: str,
    namespace: str,
    served_name: str,
    url: str,
    paused: bool,
    node_pool: str | None,
    revision: pulumi.Input[str],
    replicas: int,
    task: pulumi.Input[str],
    adapters: Mapping[str, Mapping[str, Any]],
    cold_start: pulumi.Input[Mapping[str, Any] | None],
    cache: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a `ModelOutput`, some values of which only a build may tell.

    Its `adapters` are of `describe_image`, its `cache` of `describe_cache`.
    """
    return {
        **describe_image(reference, size_bytes, traits),
        "delivery": delivery.value,
        "platform": delivery.platform.name,
        "name": name,
        "namespace": namespace,
        "storage_uri": storage_uri,
        "served_name": served_name,
        "url": url,
        "paused": paused,
        "node_pool": node_pool,
        "revision": revision,
        "replicas": replicas,
        "task": task,
        "adapters": dict(adapters),
        "cold_start": cold_start,
        **({"compile_cache": dict(cache)} if cache else {}),
    }


def describe_unserved(
    image: Mapping[str, Any],
    delivery: Delivery,
    *,
    name: str,
    served_name: str,
    storage_uri: pulumi.Output[str],
    task: pulumi.Input[str],
    adapters: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Write the `ModelOutput` of an image (of `describe_image`) that no cluster serves."""
    return {
        **image,
        "delivery": delivery.value,
        "platform": delivery.platform.name,
        "name": name,
        "namespace": "",
        "storage_uri": storage_uri,
        "served_name": served_name,
        "url": "",
        "paused": False,
        "node_pool": None,
        "revision": "",
        "replicas": 0,
        "task": task,
        "adapters": dict(adapters),
        "cold_start": None,
    }


def describe_image(
    reference: pulumi.Output[ImageReference], size_bytes: pulumi.Input[int], traits: pulumi.Input[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write what the outputs of models and of adapters have in common; an `AdapterOutput` is nothing else."""
    return {
        "image": reference.apply(str),
        "digest": reference.apply(lambda known: known.digest),
        "size_bytes": size_bytes,
        "traits": traits,
    }


def describe_cache(
    reference: pulumi.Output[ImageReference], size_bytes: pulumi.Input[int], used: pulumi.Input[bool]
) -> dict[str, Any]:
    """Write a `CompileCacheOutput`."""
    named = {"image": reference.apply(str), "digest": reference.apply(lambda known: known.digest)}
    return {**named, "size_bytes": size_bytes, "used": used}


def export(outputs: Mapping[str, pulumi.Input[Any]]) -> None:
    """Export the outputs of the running stack, stamped with the contract's version.

    Raises:
        TypeError: the keys are not those of `StackOutputs`.
    """
    expected = set(StackOutputs.model_fields) - {"contract_version"}
    if set(outputs) != expected:
        raise TypeError(f"stack outputs differ from the contract: {sorted(set(outputs) ^ expected)}")
    pulumi.export("contract_version", CONTRACT_VERSION)
    for key, value in outputs.items():
        pulumi.export(key, value)


def _check_version(version: object, stack: str) -> None:
    if version is None:
        raise ContractError(
            f"{stack} has no output contract_version: it is not a stack of this program, or it was never deployed; "
            "run `pulumi up` on it, or correct the stack's name (organization/project/stack)"
        )
    if not isinstance(version, int | float) or isinstance(version, bool):
        raise ContractError(
            f"{stack} has an output contract_version that is no number, {in_line(repr(version), 40)}: it is not a "
            "stack of this program, or its outputs were changed; write them anew with `pulumi stack output --json`"
        )
    if version != CONTRACT_VERSION:
        # The engine has no integers: what was written as 0 comes as 0.0.
        told = f"{version:g}" if isinstance(version, float) else in_line(str(version), 40)
        remedy = "run `pulumi up` on it with this version" if version < CONTRACT_VERSION else "update this program"
        raise ContractError(f"{stack} has outputs of contract {told}, this program reads {CONTRACT_VERSION}: {remedy}")


def _no_model(stack: str, key: str, models: Mapping[str, Any]) -> str:
    return _none_of(f"{stack} serves no model {key!r}", key, models)


def _none_of(said: str, key: str, there: Mapping[str, Any]) -> str:
    names = sorted(map(str, there))
    close = difflib.get_close_matches(key, names[:_COMPARED_NAMES], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    return f"{said}: it serves {', '.join(in_line(name, 80) for name in names[:_LISTED_NAMES]) or 'none'}{more}{hint}"
