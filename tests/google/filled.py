"""What GKE fills in: the version that a part of one stands for, zones, and a cluster's outputs and defaults."""

from __future__ import annotations

import base64
import copy
import re

import certifi

from tests.google.errors import JSON, invalid
from tests.google.state import Call, timestamp

VERSIONS = ("1.36.2-gke.1043000", "1.35.8-gke.1029000", "1.34.9-gke.1072000", "1.33.11-gke.1008000")
_LINK = "https://container.googleapis.com"
# Some authority's: clients want one that they can read.
_CERTIFICATE = re.findall(r"-----BEGIN.*?END CERTIFICATE-----\n", certifi.contents(), re.DOTALL)[0].encode()


def zones_of(place: str, asked: JSON) -> list[str]:
    """The zones of a cluster's nodes: those asked for, or three of its region, or its own."""
    location = place.split("/")[3]
    zonal = location.count("-") == 2
    return list(asked.get("locations") or ([location] if zonal else [f"{location}-{zone}" for zone in "abc"]))


def version(asked: str) -> str:
    """The version that a part of one (`1.35`, `latest`) stands for.

    Raises:
        GoogleError: GKE offers no such version.
    """
    if asked in {"", "-", "latest"}:
        return VERSIONS[1]
    found = next((known for known in VERSIONS if f"{known}.".startswith((f"{asked}.", f"{asked}-"))), None)
    if found is None:
        raise invalid(f'No valid versions with the prefix "{asked}" found.')
    return found


def cluster(call: Call, name: str, asked: JSON) -> JSON:
    """A cluster with what GKE adds: outputs, and defaults for what was not said."""
    parts = name.split("/")
    project, location = parts[1], parts[3]
    release = version(asked.pop("initialClusterVersion", ""))
    network = asked.get("network") or "default"
    subnetwork = asked.get("subnetwork") or network
    # `networkConfig` has the full names, the older fields the short ones.
    config = asked.get("networkConfig", {}) | {
        "network": network if "/" in network else f"projects/{project}/global/networks/{network}",
        "subnetwork": subnetwork
        if "/" in subnetwork
        else f"projects/{project}/regions/{'-'.join(location.split('-')[:2])}/subnetworks/{subnetwork}",
    }
    config.setdefault("serviceExternalIpsConfig", {})
    endpoints = asked.get("controlPlaneEndpointsConfig") or {}
    addresses = {"enabled": True, "enablePublicEndpoint": True, **endpoints.get("ipEndpointsConfig", {})}
    private = asked.get("privateClusterConfig", {})
    if private.get("enablePrivateEndpoint"):
        addresses["enablePublicEndpoint"] = False
    domain = f"gke-{abs(hash(name)) % 10**12:012d}-{'123456789012'}.{location}.gke.goog"
    private |= {"privateEndpoint": "10.0.0.2", "publicEndpoint": "203.0.113.10"}
    filled = {
        "name": parts[-1],
        "location": location,
        "zone": location,
        "locations": zones_of(name, asked),
        "selfLink": f"{_LINK}/{call.method.version}/{name}",
        "id": f"{abs(hash(name)):064x}",
        "createTime": timestamp(),
        "status": "PROVISIONING",
        "endpoint": "203.0.113.10",
        "initialClusterVersion": release,
        "currentMasterVersion": release,
        "network": network.rpartition("/")[2],
        "subnetwork": subnetwork.rpartition("/")[2],
        "networkConfig": config,
        "masterAuth": {"clusterCaCertificate": base64.b64encode(_CERTIFICATE).decode()},
        "controlPlaneEndpointsConfig": {
            **endpoints,
            "ipEndpointsConfig": {**addresses, "publicEndpoint": "203.0.113.10", "privateEndpoint": "10.0.0.2"},
            "dnsEndpointConfig": {**endpoints.get("dnsEndpointConfig", {}), "endpoint": domain},
        },
        "privateClusterConfig": private,
        "ipAllocationPolicy": {
            "useIpAliases": True,
            "stackType": "IPV4",
            "clusterIpv4CidrBlock": "10.1.0.0/16",
            "servicesIpv4CidrBlock": "10.2.0.0/20",
            "podCidrOverprovisionConfig": {},
            **asked.get("ipAllocationPolicy", {}),
        },
        "clusterIpv4Cidr": "10.1.0.0/16",
        "servicesIpv4Cidr": "10.2.0.0/20",
        "labelFingerprint": "00000000",
    }
    return {**copy.deepcopy(_DEFAULTS), **asked, **filled}


_DEFAULTS: JSON = {
    "loggingService": "logging.googleapis.com/kubernetes",
    "monitoringService": "monitoring.googleapis.com/kubernetes",
    "legacyAbac": {},
    "maintenancePolicy": {"resourceVersion": "e3b0c442"},
    "defaultMaxPodsConstraint": {"maxPodsPerNode": "110"},
    "databaseEncryption": {"state": "DECRYPTED", "currentState": "CURRENT_STATE_DECRYPTED"},
    "shieldedNodes": {"enabled": True},
    "securityPostureConfig": {"mode": "BASIC", "vulnerabilityMode": "VULNERABILITY_MODE_UNSPECIFIED"},
    "notificationConfig": {"pubsub": {}},
    "releaseChannel": {"channel": "REGULAR"},
    "autopilot": {},
    "nodePoolAutoConfig": {},
    "rbacBindingConfig": {
        "enableInsecureBindingSystemUnauthenticated": True,
        "enableInsecureBindingSystemAuthenticated": True,
    },
}
