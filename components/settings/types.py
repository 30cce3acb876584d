"""What the settings are made of: the base of their classes, and texts that are checked by their form. No Pulumi."""

import ipaddress
import re
from enum import Enum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from oci_model_serving.reference import ImageReference, is_repository

NAMESPACE = "oci-model-serving"
"""The project's namespace in a stack's file."""
GB = 1_000_000_000
GIB = 1 << 30
_MOST_LABELS = 64
"""Resource Manager, "Labels": of one resource."""


class Target(str, Enum):
    """Where a stack lives."""

    GKE = "gke"
    LOCAL = "local"


def _dns_label(value: str) -> str:
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError(
            f"{value!r} is not a DNS label: write at most 63 lower case letters, digits and '-', beginning with a "
            "letter and not ending with '-'"
        )
    return value


def _labels(value: dict[str, str]) -> dict[str, str]:
    if len(value) > _MOST_LABELS:
        raise ValueError(f"has {len(value)} labels, and Google takes {_MOST_LABELS}: remove some")
    for key, text in value.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", text):
            raise ValueError(
                f"label {key}={text} is refused by Google: at most 63 lower case letters, digits, '_' and '-', "
                "keys beginning with a letter"
            )
    return value


def _kubernetes_labels(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        name = key.rpartition("/")[2]
        pattern = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
        if not re.fullmatch(pattern, name) or not re.fullmatch(pattern + "?", text):
            raise ValueError(
                f"label {key}={text} is refused by Kubernetes: at most 63 letters, digits, '-', '_' and '.', "
                "beginning and ending with a letter or digit"
            )
    return value


def _image_by_digest(value: str) -> str:
    ImageReference.parse(value)
    return value


def _base(value: str) -> str:
    if value != "scratch" and not value.startswith("oci:"):
        ImageReference.parse(value)
    return value


def _cidr(value: str) -> str:
    try:
        found = ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an address range: write CIDR, for example 10.0.0.0/20") from None
    if "/" not in value:  # neither Google nor Kubernetes take one for a range
        raise ValueError(f"is {value}, an address without a mask: write {found}")
    return value


_Values = TypeVar("_Values")


def variable_names(value: dict[str, _Values]) -> dict[str, _Values]:
    """Check the names of environment variables."""
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no environment variable: write letters, digits and '_', no digit first")
    return value


def _kubernetes_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", value):
        raise ValueError(
            f"{value!r} is no name of an object: write lower case letters, digits, '-' and '.', beginning and ending "
            "with a letter or digit"
        )
    return value


def _host(value: str) -> str:
    if len(value) > 253 or not re.fullmatch(
        r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]*[a-z0-9])?", value
    ):
        raise ValueError(f"{value!r} is no host name: write it in lower case and whole, as chat.example.com")
    return value


def _quantity(value: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", value):
        raise ValueError(f"{value!r} is not a Kubernetes quantity: write for example 500m, 4, 512Mi or 16Gi")
    return value


_UNITS = {"": 1.0, "m": 1e-3, **{unit: 1000.0**power for power, unit in enumerate("kMGT", 1)}}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGT", 1)}


def amount(quantity: str) -> float:
    """A Kubernetes quantity in its base unit: cores, or bytes."""
    number = quantity.rstrip("mkKMGTi")
    return float(number) * _UNITS[quantity[len(number) :]]


def _version(value: str) -> str:
    if not re.fullmatch(r"1\.[0-9]{1,2}(\.[0-9]+(-gke\.[0-9]+)?)?", value):
        raise ValueError(f"{value!r} is not a Kubernetes version: write for example '1.35' or '1.35.8-gke.1000000'")
    return value


def _member(value: str) -> str:
    if value in {"allUsers", "allAuthenticatedUsers"}:
        raise ValueError(f"{value} would make the weights public: name a serviceAccount:, group: or user:")
    if not re.fullmatch(r"(serviceAccount|group|user|domain|principal|principalSet):\S+", value):
        raise ValueError(
            f"{value!r} is not an IAM member: write for example serviceAccount:name@project.iam.gserviceaccount.com"
        )
    return value


def _registry_url(value: str) -> str:
    if "://" in value:
        raise ValueError(f"{value!r} has a scheme: write {value.partition('://')[2]!r}")
    if "@" in value or ":" in value.rpartition("/")[2]:
        raise ValueError(f"{value!r} names an image: write only host[:port]/path, the images' names are appended")
    if not is_repository(f"{value}/name"):
        raise ValueError(f"{value!r} is not host[:port]/path in lower case, as us-docker.pkg.dev/project/repository")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
GoogleLabels = Annotated[dict[str, str], AfterValidator(_labels)]
KubernetesLabels = Annotated[dict[str, str], AfterValidator(_kubernetes_labels)]
DigestReference = Annotated[str, AfterValidator(_image_by_digest)]
BaseImage = Annotated[str, AfterValidator(_base)]
Cidr = Annotated[str, AfterValidator(_cidr)]
Variables = Annotated[dict[str, str], AfterValidator(variable_names)]
KubernetesName = Annotated[str, AfterValidator(_kubernetes_name)]
HostName = Annotated[str, AfterValidator(_host)]
Quantity = Annotated[str, AfterValidator(_quantity)]
KubernetesVersion = Annotated[str, AfterValidator(_version)]
Member = Annotated[str, AfterValidator(_member)]
RegistryUrl = Annotated[str, AfterValidator(_registry_url)]
Zone = Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-([a-z]|ai[0-9]+[a-z])$")]
"""The second form is that of AI zones, as us-south1-ai1b (Compute Engine, "AI zones")."""
Instant = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
KmsKey = Annotated[str, Field(pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$")]
AccountId = Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
Days = Annotated[int, Field(ge=1, le=3650)]


class Section(BaseModel):
    """A map of keys, spelled in camelCase in YAML."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        strict=True,
    )


def kubernetes_name(key: str) -> str:
    """The Kubernetes name of a model's key: lower case, with '-' for every other character."""
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
