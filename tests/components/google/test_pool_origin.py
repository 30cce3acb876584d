import pytest

from components.google import pool_origin
from components.google.pool_origin import NodeOrigin
from components.settings.google import NodePoolSettings

GOOGLE = "cloud.google.com"


def pool(**fields: object) -> NodePoolSettings:
    return NodePoolSettings.model_validate({"accelerator": "nvidia-l4", **fields})


@pytest.mark.parametrize(
    ("fields", "autopilot", "expected"),
    [
        ({}, False, NodeOrigin.MADE),
        ({"existing": False}, False, NodeOrigin.MADE),
        ({"existing": True}, False, NodeOrigin.EXISTING),
        ({"existing": "gpu"}, False, NodeOrigin.EXISTING),
        ({"compute_class": "l4"}, False, NodeOrigin.ON_DEMAND),
        ({}, True, NodeOrigin.ON_DEMAND),
    ],
)
def test_where_nodes_come_from(fields: dict[str, object], autopilot: bool, expected: NodeOrigin) -> None:
    assert pool_origin.of(pool(**fields), autopilot=autopilot) is expected


@pytest.mark.parametrize(
    ("fields", "origin", "expected"),
    [
        ({}, NodeOrigin.MADE, {"oci-model-serving/pool": "l4"}),
        ({"existing": True}, NodeOrigin.EXISTING, {f"{GOOGLE}/gke-nodepool": "l4"}),
        ({"existing": "gpu"}, NodeOrigin.EXISTING, {f"{GOOGLE}/gke-nodepool": "gpu"}),
        (
            {"spot": True, "zones": ["us-central1-a"]},
            NodeOrigin.ON_DEMAND,
            {
                f"{GOOGLE}/gke-accelerator": "nvidia-l4",
                f"{GOOGLE}/gke-accelerator-count": "1",
                f"{GOOGLE}/gke-spot": "true",
                "topology.kubernetes.io/zone": "us-central1-a",
            },
        ),
        (
            {"compute_class": "Accelerator", "count": 2, "flex_start": True},
            NodeOrigin.ON_DEMAND,
            {
                f"{GOOGLE}/compute-class": "Accelerator",
                f"{GOOGLE}/gke-accelerator": "nvidia-l4",
                f"{GOOGLE}/gke-accelerator-count": "2",
                f"{GOOGLE}/gke-flex-start": "true",
            },
        ),
        (
            {"reservation": "h100"},
            NodeOrigin.ON_DEMAND,
            {
                f"{GOOGLE}/gke-accelerator": "nvidia-l4",
                f"{GOOGLE}/gke-accelerator-count": "1",
                f"{GOOGLE}/reservation-name": "h100",
                f"{GOOGLE}/reservation-affinity": "specific",
            },
        ),
        ({"compute_class": "l4", "spot": True}, NodeOrigin.ON_DEMAND, {f"{GOOGLE}/compute-class": "l4"}),
        (
            {"compute_class": "l4", "sharing": {"max_clients": 2}},
            NodeOrigin.ON_DEMAND,
            {
                f"{GOOGLE}/compute-class": "l4",
                f"{GOOGLE}/gke-gpu-sharing-strategy": "time-sharing",
                f"{GOOGLE}/gke-max-shared-clients-per-gpu": "2",
            },
        ),
    ],
)
def test_pods_ask_for_nodes_as_gke_wants_it(
    fields: dict[str, object], origin: NodeOrigin, expected: dict[str, str]
) -> None:
    assert pool_origin.selector("l4", pool(**fields), origin) == expected
