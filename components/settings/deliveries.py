"""What a stack may ask for as a model's delivery, since when KServe knows it, and what `auto` has become."""

from dataclasses import dataclass
from enum import Enum

from oci_model_serving.delivery import Delivery

SINCE = {Delivery.NATIVE: (0, 20), Delivery.FETCH: (0, 21)}
"""The release of KServe that brought a delivery of its own."""


class AskedDelivery(str, Enum):
    """A delivery, or `auto`: the program's choice between an image volume and `stream`."""

    MODELCAR = Delivery.MODELCAR.value
    NATIVE = Delivery.NATIVE.value
    FETCH = Delivery.FETCH.value
    STREAM = Delivery.STREAM.value
    KUBEAI = Delivery.KUBEAI.value
    AUTO = "auto"


@dataclass(frozen=True)
class DeliveryChoice:
    """What `auto` has become, why, and what it would be otherwise (None where that is not possible)."""

    delivery: Delivery
    why: str
    other: Delivery | None = None


def knows(kserve: str, delivery: Delivery) -> bool:
    """Whether a version of KServe knows a delivery."""
    return minor(kserve) >= SINCE.get(delivery, (0, 0))


def minor(version: str) -> tuple[int, int]:
    """The release that a version of KServe (`v0.20.0`) belongs to."""
    major, second, *_ = version.lstrip("v").split(".")
    return int(major), int(second)
