"""The keys of how weights become an image: which files, in what form, with whose leave, and where Google builds."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema

from components.nodes import toleration
from components.settings.types import DnsLabel, KubernetesLabels, Quantity, Section, Variables
from modelimage.layers import LAYER_COUNT_END
from modelimage.reshard import ShardSize
from modelimage.source import Selection

_SECRET_VERSION = re.compile(r"projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+")


def in_secret_manager(token: str) -> bool:
    """Whether a hub token's text is the name of a version in Google's Secret Manager, and no token."""
    return _SECRET_VERSION.fullmatch(token) is not None


def _hub_token(value: object) -> object:
    # What was written is never echoed: it may be the token.
    if not isinstance(value, str | SecretStr) or not value:
        raise ValueError("is not a text: write a token of the hub, or projects/P/secrets/S/versions/V")
    text = value if isinstance(value, str) else value.get_secret_value()
    if text.startswith("projects/") and not in_secret_manager(text):
        raise ValueError("is no version of a secret: write projects/PROJECT/secrets/NAME/versions/VERSION (or latest)")
    if re.search(r"\s", text):
        raise ValueError("has a space or a line break: write the token alone")
    return SecretStr(text)


def _shard_gb(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0.1 <= value <= 9.4
    if not number and value not in ("auto", "keep"):
        raise ValueError(f"is {value!r}: write auto, keep, or 0.1 to 9.4 GB (a layer holds 9.5)")
    return value


def _glob(value: str) -> str:
    if value.startswith(("/", "./", "../")) or not value.strip():
        raise ValueError(
            f"{value!r} is not relative to the model's root: write for example model.safetensors or onnx/*"
        )
    return value


def _toleration(value: str) -> str:
    toleration(value)
    return value


def _image(value: str) -> str:
    if re.search(r"\s", value) or "://" in value:
        raise ValueError(f"{value!r} is no image: write HOST/PATH@sha256:… or HOST/PATH:TAG, without a scheme")
    return value


OWN_VARIABLES = frozenset({"HOME", "PYTHONPATH", "DOCKER_CONFIG"})
"""Variables of a build's pods that the build sets itself."""
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 604_800
"""Bounds of how long a build in a cluster may take: to a week."""
HubToken = Annotated[SecretStr, BeforeValidator(_hub_token)]
"""A token of the hub, or the name of a Secret Manager version that holds one."""
_Glob = Annotated[str, AfterValidator(_glob)]
_ShardGb = Annotated[
    ShardSize,
    BeforeValidator(_shard_gb),
    WithJsonSchema({"anyOf": [{"enum": ["auto", "keep"]}, {"type": "number", "minimum": 0.1, "maximum": 9.4}]}),
]


class Files(Section):
    """Which files of a source make the image, and in what form (docs/weights.md)."""

    allow: Annotated[
        tuple[_Glob, ...], Field(strict=False, description="take only what matches; default: what a server loads")
    ] = ()
    ignore: Annotated[tuple[_Glob, ...], Field(strict=False, description="leave out what matches")] = ()
    shard_gb: Annotated[
        _ShardGb,
        Field(
            description="size in GB above which weights are split: `auto` splits what fits into no layer, and a single "
            "file above 5 GB; `keep` leaves files as published where they fit"
        ),
    ] = "auto"
    convert: Annotated[
        Literal["safetensors"] | None, Field(description="of a model that is published as pickles only")
    ] = None
    pickle: Annotated[
        Literal["refuse", "allow"], Field(description="of weights that run code when they are loaded")
    ] = "refuse"

    @property
    def selection(self) -> Selection:
        """The choice as the packer takes it."""
        return Selection(self.allow, self.ignore, pickle=self.pickle == "allow", convert=self.convert is not None)


class CloudBuildSettings(Section):
    """Where and how `builder: cloudbuild` packs."""

    region: Annotated[
        str | None, Field(pattern=r"^(global|[a-z]+-[a-z]+[0-9]+)$", description="default: gcp:region")
    ] = None
    service_account: Annotated[
        str | None,
        Field(pattern=r"^[^@\s/]+@[^@\s/]+$", description="email of the build's account; default: the project's"),
    ] = None
    machine_type: Annotated[
        Literal["E2_MEDIUM", "E2_HIGHCPU_8", "E2_HIGHCPU_32", "N1_HIGHCPU_8", "N1_HIGHCPU_32"] | None,
        Field(description="default: Cloud Build's own, of 2 CPUs"),
    ] = None
    disk_gb: Annotated[
        int | None, Field(ge=10, le=4000, description="GB of the build's disk, which only files.convert needs")
    ] = None
    timeout: Annotated[int, Field(ge=60, le=86400, description="seconds that a build may take")] = 7200
    step_image: Annotated[
        str | None, Field(pattern=r"^\S+$", description="image with Python >= 3.10 and pip; a digest is best")
    ] = None


class ClusterBuildSettings(Section):
    """Where and how `builder: cluster` packs: pods of the stack's cluster, each a share of the layers."""

    namespace: Annotated[DnsLabel, Field(description="of the pods; it is there already")] = "default"
    pods: Annotated[int, Field(ge=1, le=LAYER_COUNT_END, description="how many run at once")] = 4
    shares: Annotated[
        int | None,
        Field(ge=1, le=LAYER_COUNT_END, description="in how many shares the layers are divided; default: pods"),
    ] = None
    image: Annotated[
        str | None,
        AfterValidator(_image),
        Field(description="with Python >= 3.10, and pip or the packer's libraries; a digest is best"),
    ] = None
    service_account: Annotated[
        DnsLabel | None, Field(description="whom the pods act as; on GKE also at the registry (Workload Identity)")
    ] = None
    hub_token_secret: Annotated[
        DnsLabel | None, Field(description="Secret whose key HF_TOKEN holds the hub's token; default: made of hubToken")
    ] = None
    registry_secret: Annotated[
        DnsLabel | None, Field(description="Secret of the type kubernetes.io/dockerconfigjson, to push with")
    ] = None
    node_selector: Annotated[KubernetesLabels, Field(description="labels of the nodes")] = {}  # noqa: RUF012 - pydantic copies it
    tolerations: Annotated[
        tuple[Annotated[str, AfterValidator(_toleration)], ...],
        Field(strict=False, description="taints that the pods tolerate: KEY[=VALUE][:EFFECT]"),
    ] = ()
    cpu: Annotated[Quantity, Field(description="what each pod requests")] = "1"
    memory: Annotated[Quantity, Field(description="what each pod gets")] = "2Gi"
    timeout: Annotated[
        int,
        Field(ge=SHORTEST_SECONDS, le=LONGEST_SECONDS, description="seconds that all of it may take"),
    ] = 21600
    env: Annotated[Variables, Field(description="further environment of the pods, none of it secret")] = {}  # noqa: RUF012
