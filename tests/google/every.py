"""Stacks that say every setting of Google's side: between them no key of registry, cluster or pool is left out."""

from __future__ import annotations

from typing import Any

from tests.engine.ground import PROJECT

_KEY = "projects/demo-keys/locations/us-central1/keyRings/nodes/cryptoKeys/disks"
_REGISTRY = {
    "repository": "weights",
    "location": "us",
    "project": "demo-images",
    "immutableTags": False,
    "cleanup": {"keepNewest": 3, "deleteUntaggedAfterDays": 7, "dryRun": True},
    "scanning": True,
    "labels": {"team": "serving"},
    "kmsKey": "projects/demo-keys/locations/us/keyRings/models/cryptoKeys/weights",
    "extraReaders": ["group:serving@example.com", "serviceAccount:ci@demo-ci.iam.gserviceaccount.com"],
    "writers": ["serviceAccount:ci@demo-ci.iam.gserviceaccount.com"],
    "protect": False,
    "enableApis": True,
}
_CLUSTER = {
    "name": "every",
    "location": "us-central1",
    "channel": "RAPID",
    "version": "1.35",
    "zones": ["us-central1-a", "us-central1-b"],
    "masterCidr": "172.16.0.0/28",
    "maintenance": {
        "startTime": "2026-02-02T22:00:00Z",
        "endTime": "2026-02-03T06:00:00Z",
        "recurrence": "FREQ=WEEKLY;BYDAY=MO,TU,WE",
        "exclusions": [
            {"name": "launch", "startTime": "2026-12-01T00:00:00Z", "endTime": "2026-12-20T00:00:00Z"},
            {
                "name": "turn of the year",
                "startTime": "2026-12-24T00:00:00Z",
                "endTime": "2027-01-02T00:00:00Z",
                "scope": "NO_UPGRADES",
            },
        ],
    },
    "deletionProtection": False,
    "systemPool": {
        "machineType": "n2d-standard-4",
        "minNodes": 2,
        "maxNodes": 4,
        "diskSizeGb": 80,
        "kmsKey": _KEY,
        "confidential": "SEV",
    },
    "hardening": {
        "intranodeVisibility": False,
        "securityPosture": "DISABLED",
        "anonymousAccess": True,
        "rbacGroupsDomain": "example.com",
        "binaryAuthorization": True,
        "controlPlaneLogs": True,
    },
    "labels": {"team": "serving"},
    "databaseEncryptionKey": _KEY,
    "gatewayApi": True,
    "enableApis": True,
}
NEW_NETWORK = {
    **_CLUSTER,
    "newNetwork": {
        "nodesCidr": "10.128.0.0/20",
        "podsCidr": "10.132.0.0/14",
        "servicesCidr": "10.136.0.0/20",
        "proxyOnlyCidr": "10.137.0.0/23",
        "nat": True,
        "flowLogs": 0.5,
    },
    "dnsEndpoint": False,
    "privateEndpoint": False,
    "authorizedNetworks": {"office": "198.51.100.0/24", "home": "203.0.113.0/28"},
}
"""A cluster on a network of its own, whose API server answers at its address."""
GIVEN_NETWORK = {
    **_CLUSTER,
    "network": "projects/demo-network/global/networks/shared",
    "subnetwork": "projects/demo-network/regions/us-central1/subnetworks/gke",
    "podsRange": "gke-pods",
    "servicesRange": "gke-services",
    "dnsEndpoint": True,
    "privateEndpoint": True,
    "authorizedNetworks": {"office": "10.0.0.0/8"},
    "alpha": True,
}
"""An alpha cluster on a network that others keep, without a public address."""
_POOLS: dict[str, dict[str, Any]] = {
    "spot": {
        "accelerator": "nvidia-l4",
        "count": 2,
        "zones": ["us-central1-a", "us-central1-b"],
        "bootDisk": {"sizeGb": 400, "type": "pd-ssd", "kmsKey": _KEY},
        "localSsd": 2,
        "minNodes": 1,
        "maxNodes": 4,
        "perZone": True,
        "spot": True,
        "sharing": {"strategy": "TIME_SHARING", "maxClients": 4},
        "taints": [{"key": "team", "value": "a", "effect": "NO_EXECUTE"}, {"key": "gpu"}],
        "labels": {"team": "a"},
        "resourceLabels": {"cost-center": "42"},
        "driverVersion": "LATEST",
        "maxParallelImagePulls": 5,
        "registryMirrors": {
            "docker.io": [
                {"host": "https://mirror.example/v2/hub", "tags": True},
                {"host": "https://other.example", "tags": False},
            ]
        },
        "imageGcHighThresholdPercent": 84,
        "imageGcLowThresholdPercent": 70,
        "serviceAccountId": "spot-nodes",
        "maxPodsPerNode": 64,
    },
    "flex": {"accelerator": "nvidia-h100-80gb", "count": 8, "flexStart": True, "maxRunDuration": 3600},
    "confidential": {
        "accelerator": "nvidia-h100-80gb",
        "machineType": "a3-highgpu-1g",
        "spot": True,
        "confidential": "TDX",
    },
    "queued": {"accelerator": "nvidia-l4", "queuedProvisioning": True},
    "reserved": {
        "accelerator": "nvidia-h200-141gb",
        "count": 8,
        "machineType": "a3-ultragpu-8g",
        "reservation": "h200",
        "bootDisk": {"sizeGb": 400, "provisionedIops": 4000, "provisionedThroughput": 400},
    },
    "cached": {"accelerator": "nvidia-l4", "secondaryBootDisks": ["projects/p/global/images/vllm"]},
    "streaming": {"accelerator": "nvidia-tesla-t4", "imageStreaming": True, "warmNodes": 0},
    "partitioned": {"accelerator": "nvidia-tesla-a100", "gpuPartitionSize": "3g.20gb", "sharing": {"maxClients": 2}},
    "measured": {"accelerator": "nvidia-tesla-t4", "machineType": "custom-8-49152"},
    "classed": {
        "accelerator": "nvidia-l4",
        "computeClass": "l4-spot",
        "serviceAccount": "nodes@demo-shared.iam.gserviceaccount.com",
    },
    "sandboxed": {"accelerator": "nvidia-l4", "sandbox": "gvisor", "driverVersion": "INSTALLATION_DISABLED"},
}
CLUSTERS = {"new network": NEW_NETWORK, "given network": GIVEN_NETWORK}


def settings(cluster: dict[str, Any]) -> dict[str, Any]:
    """What is in the file of a stack with such a cluster, and pools of all kinds."""
    own = {
        "target": "gke",
        "registry": {"create": _REGISTRY},
        "cluster": {"create": cluster},
        "nodePools": _POOLS,
        "platforms": {"kserve": {"version": "v0.20.0", "gateway": "gke"}},
    }
    config = {f"{PROJECT}:{key}": value for key, value in own.items()}
    return {"config": {"gcp:project": "demo", "gcp:region": "us-central1", **config}}
