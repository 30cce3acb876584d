"""Stacks that Google would refuse, and their variants that it takes: what each changes of a good stack.

`edit` sets keys by dotted path in the settings of `base` (`gcp:region` is the stack's region; None removes a key).
"""

from typing import Any

from tests.mocks import DIGEST

HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
ELSEWHERE = f"registry.example/models/qwen@{DIGEST}"
KEY = "projects/p/locations/{}/keyRings/r/cryptoKeys/k"
CREATE = "cluster.create"
NEW = f"{CREATE}.newNetwork"
WINDOW = f"{CREATE}.maintenance"
POOL = "nodePools.l4"


def base() -> dict[str, Any]:
    """A stack on GKE that is taken."""
    return {
        "target": "gke",
        "registry": {"create": {"repository": "models"}},
        "cluster": {"create": {"name": "demo"}},
        "nodePools": {"l4": {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], "maxNodes": 2}},
        "platforms": {"kserve": {"version": "v0.20.0"}, "kubeai": {"version": "0.24.0"}},
        "models": {"qwen": {"source": HUB, "sizeGb": 1.1, "nodePool": "l4"}},
    }


def window(start: str, end: str, recurrence: str) -> dict[str, Any]:
    return {WINDOW: {"startTime": f"2026-01-0{start}:00Z", "endTime": f"2026-01-0{end}:00Z", "recurrence": recurrence}}


def _bad(key: str, words: str, **edit: Any) -> dict[str, Any]:
    return {"edit": edit["edit"], "key": key, "words": words.split("|")}


BAD: dict[str, dict[str, Any]] = {
    # Locations.
    "the region is a zone": _bad(
        "gcp:region",
        "is a zone (us-central1-a)|pulumi config set gcp:region us-central1`",
        edit={"gcp:region": "us-central1-a"},
    ),
    "the region is an AI zone": _bad(
        "gcp:region", "is a zone|gcp:region us-south1`", edit={"gcp:region": "us-south1-ai1b", f"{POOL}.zones": None}
    ),
    "the region is a multi-region": _bad(
        "gcp:region", "is 'europe', which is no region", edit={"gcp:region": "europe", f"{POOL}.zones": None}
    ),
    "the region is in capitals": _bad("gcp:region", "no region", edit={"gcp:region": "US-CENTRAL1"}),
    "the cluster's location has no number": _bad(
        f"{CREATE}.location", "write a region", edit={f"{CREATE}.location": "us-central", f"{POOL}.zones": None}
    ),
    "the cluster's zones are elsewhere": _bad(
        f"{CREATE}.zones", "has europe-west4-a|write zones of that region", edit={f"{CREATE}.zones": ["europe-west4-a"]}
    ),
    "a cluster's zone twice": _bad(
        f"{CREATE}.zones", "twice|the same zone", edit={f"{CREATE}.zones": ["us-central1-b", "us-central1-b"]}
    ),
    "a zonal cluster's own zone among the others": _bad(
        f"{CREATE}.zones",
        "leave it out",
        edit={f"{CREATE}.location": "us-central1-a", f"{CREATE}.zones": ["us-central1-a", "us-central1-b"]},
    ),
    "a pool's zone twice": _bad(
        f"{POOL}.zones", "twice|the same zone", edit={f"{POOL}.zones": ["us-central1-a", "us-central1-a"]}
    ),
    "a pool's zone in another region": _bad(
        f"{POOL}.zones", "has us-east1-b|write zones of that region", edit={f"{POOL}.zones": ["us-east1-b"]}
    ),
    "a pool's zone in a region whose name begins alike": _bad(
        f"{POOL}.zones",
        "europe-west12-a",
        edit={"gcp:region": "europe-west1", f"{POOL}.zones": ["europe-west12-a"]},
    ),
    "a subnetwork in another region": _bad(
        f"{CREATE}.subnetwork",
        "is in us-east1",
        edit={f"{CREATE}.network": "shared", f"{CREATE}.subnetwork": "projects/n/regions/us-east1/subnetworks/gke"},
    ),
    "an image from a registry that is not allowed": _bad(
        "models.qwen.digest",
        "is in none of the registries that registry.allow names|to registry.allow",
        edit={"registry.allow": ["other.example/models"], "models.qwen": {"digest": ELSEWHERE, "nodePool": "l4"}},
    ),
    "a tag among the allowed registries": _bad(
        "registry.allow.0", "names an image", edit={"registry.allow": ["other.example/models:v1"]}
    ),
    "a repository in a zone": _bad(
        "registry.create.location", "is a zone|write us-central1", edit={"registry.create.location": "us-central1-a"}
    ),
    "a repository everywhere": _bad(
        "registry.create.location", "is 'global'|multi-region", edit={"registry.create.location": "global"}
    ),
    "a key of another region": _bad(
        "registry.create.kmsKey",
        "another region than the repository",
        edit={"registry.create.kmsKey": KEY.format("europe-west1")},
    ),
    "a global key": _bad(
        "registry.create.kmsKey",
        "is in global|locations/us-central1/",
        edit={"registry.create.kmsKey": KEY.format("global")},
    ),
    "a region's key for a multi-region": _bad(
        "registry.create.kmsKey",
        "locations/us/",
        edit={"registry.create.location": "us", "registry.create.kmsKey": KEY.format("us-central1")},
    ),
    "a key without a location": _bad(
        "registry.create.kmsKey",
        "write projects/PROJECT/locations/us-central1/keyRings",
        edit={"registry.create.kmsKey": "projects/p/keyRings/r/cryptoKeys/k"},
    ),
    # Ranges.
    "nodes within the pods": _bad(
        f"{NEW}.podsCidr",
        "overlaps nodesCidr (10.4.0.0/20)|ranges may not overlap",
        edit={f"{NEW}.nodesCidr": "10.4.0.0/20"},
    ),
    "services within the nodes": _bad(
        f"{NEW}.servicesCidr", "overlaps nodesCidr|write another", edit={f"{NEW}.servicesCidr": "10.0.8.0/24"}
    ),
    "proxies within the pods": _bad(
        f"{NEW}.proxyOnlyCidr", "overlaps podsCidr", edit={f"{NEW}.proxyOnlyCidr": "10.5.0.0/23"}
    ),
    "the API server within the nodes": _bad(
        f"{CREATE}.masterCidr", "overlaps nodesCidr", edit={f"{CREATE}.masterCidr": "10.0.0.16/28"}
    ),
    "the API server's range too large": _bad(
        f"{CREATE}.masterCidr", "write a /28, as 172.16.0.0/28", edit={f"{CREATE}.masterCidr": "172.16.0.0/24"}
    ),
    "the API server's range too small": _bad(
        f"{CREATE}.masterCidr", "write a /28", edit={f"{CREATE}.masterCidr": "172.16.0.0/29"}
    ),
    "the API server at the Docker bridge": _bad(
        f"{CREATE}.masterCidr", "reserved for the Docker bridge", edit={f"{CREATE}.masterCidr": "172.17.4.0/28"}
    ),
    "the API server's range without its length": _bad(
        f"{CREATE}.masterCidr", "write a /28, as 172.16.0.0/28", edit={f"{CREATE}.masterCidr": "172.16.0.0"}
    ),
    "the API server's range is none": _bad(
        f"{CREATE}.masterCidr", "no range", edit={f"{CREATE}.masterCidr": "172.16/28"}
    ),
    "the API server's range begins elsewhere": _bad(
        f"{CREATE}.masterCidr", "write 172.16.0.0/28", edit={f"{CREATE}.masterCidr": "172.16.0.5/28"}
    ),
    "services too many": _bad(f"{NEW}.servicesCidr", "write /16 to /28", edit={f"{NEW}.servicesCidr": "10.64.0.0/12"}),
    "services too few": _bad(f"{NEW}.servicesCidr", "write /16 to /28", edit={f"{NEW}.servicesCidr": "10.8.0.0/29"}),
    "proxies too few": _bad(f"{NEW}.proxyOnlyCidr", "to /26", edit={f"{NEW}.proxyOnlyCidr": "10.9.0.0/27"}),
    "nodes too few for any": _bad(f"{NEW}.nodesCidr", "to /29", edit={f"{NEW}.nodesCidr": "10.0.0.0/30"}),
    "nodes of IPv6": _bad(f"{NEW}.nodesCidr", "IPv4", edit={f"{NEW}.nodesCidr": "fd20::/64"}),
    "pods that are link-local": _bad(f"{NEW}.podsCidr", "169.254.0.0/16", edit={f"{NEW}.podsCidr": "169.254.0.0/18"}),
    "services of multicast": _bad(f"{NEW}.servicesCidr", "224.0.0.0/4", edit={f"{NEW}.servicesCidr": "224.0.0.0/20"}),
    "pods of all nodes at most": _bad(
        f"{NEW}.podsCidr",
        "too small|l4 100, the system pool 4|write a /18 or larger|maxPodsPerNode",
        # 100 x 64 of 32 pods, and 4 x 256 of 110
        edit={f"{NEW}.podsCidr": "10.4.0.0/20", f"{POOL}.maxNodes": 100} | {f"{POOL}.maxPodsPerNode": 64},
    ),
    "pods of nodes in each of two zones": _bad(
        f"{NEW}.podsCidr",
        "l4 40",
        edit={
            f"{NEW}.podsCidr": "10.4.0.0/21",
            f"{POOL}.maxNodes": 20,
            f"{POOL}.perZone": True,
            f"{POOL}.zones": ["us-central1-a", "us-central1-b"],
        },
    ),
    "more nodes than addresses": _bad(
        f"{NEW}.nodesCidr",
        "too small|write a /25 or larger",
        edit={f"{NEW}.nodesCidr": "10.0.0.0/26", f"{POOL}.maxNodes": 100},
    ),
    "one range for two purposes": _bad(
        f"{CREATE}.servicesRange",
        "two different ranges",
        edit={
            f"{CREATE}.network": "n",
            f"{CREATE}.subnetwork": "s",
            f"{CREATE}.podsRange": "a",
            f"{CREATE}.servicesRange": "a",
        },
    ),
    "a range's name without a network": _bad(
        f"{CREATE}.podsRange", "of an existing network", edit={f"{CREATE}.podsRange": "pods"}
    ),
    "a new network beside an existing one": _bad(
        NEW,
        "remove one of them",
        edit={f"{CREATE}.network": "n", f"{CREATE}.subnetwork": "s", f"{NEW}.nat": False},
    ),
    # Who reaches the API server.
    "the API server open to everybody": _bad(
        f"{CREATE}.authorizedNetworks", "open to the whole internet", edit={f"{CREATE}.dnsEndpoint": False}
    ),
    "everybody is authorized": _bad(
        f"{CREATE}.authorizedNetworks.all",
        "the whole internet|remove it",
        edit={f"{CREATE}.authorizedNetworks": {"all": "0.0.0.0/0"}},
    ),
    "everybody is authorized, without the DNS endpoint": _bad(
        f"{CREATE}.authorizedNetworks.all",
        "write dnsEndpoint: true",
        edit={f"{CREATE}.dnsEndpoint": False, f"{CREATE}.authorizedNetworks": {"all": "0.0.0.0/0"}},
    ),
    "everybody by IPv6": _bad(
        f"{CREATE}.authorizedNetworks.all", "the whole internet", edit={f"{CREATE}.authorizedNetworks": {"all": "::/0"}}
    ),
    "everybody in two halves": _bad(
        f"{CREATE}.authorizedNetworks.a",
        "1/2 of the internet",
        edit={f"{CREATE}.authorizedNetworks": {"a": "0.0.0.0/1", "b": "128.0.0.0/1"}},
    ),
    "a public network for a private endpoint": _bad(
        f"{CREATE}.authorizedNetworks.office",
        "a public range",
        edit={f"{CREATE}.privateEndpoint": True, f"{CREATE}.authorizedNetworks": {"office": "8.8.8.0/24"}},
    ),
    "more networks than GKE takes": _bad(
        f"{CREATE}.authorizedNetworks",
        "GKE takes 100",
        edit={f"{CREATE}.authorizedNetworks": {f"n{number}": f"203.0.113.{number}/32" for number in range(101)}},
    ),
    # Maintenance.
    "an hour a week": _bad(
        WINDOW, "at least 4 hours|48 hours in any 32 days", edit=window("3T02:00", "3T03:00", "FREQ=WEEKLY;BYDAY=SU")
    ),
    "four hours a week": _bad(
        WINDOW, "no more than 16 hours", edit=window("3T02:00", "3T06:00", "FREQ=WEEKLY;BYDAY=SU")
    ),
    "three hours a day": _bad(WINDOW, "open for 3 hours|below 4", edit=window("3T02:00", "3T05:00", "FREQ=DAILY")),
    "a day a month": _bad(
        WINDOW,
        "no more than",
        edit=window("3T00:00", "4T00:00", "FREQ=MONTHLY;BYDAY=1SA") | {f"{CREATE}.channel": "STABLE"},
    ),
    "every third weekend": _bad(
        WINDOW, "no more than 16", edit=window("3T02:00", "3T10:00", "FREQ=WEEKLY;INTERVAL=3;BYDAY=SA,SU")
    ),
    "once a year": _bad(WINDOW, "no more than 0 hours", edit=window("3T00:00", "6T00:00", "FREQ=YEARLY")),
    "a day that never comes": _bad(
        f"{WINDOW}.recurrence", "never comes", edit=window("3T00:00", "3T08:00", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")
    ),
    "a window that ends before it begins": _bad(
        f"{WINDOW}.endTime", "not after startTime", edit=window("3T10:00", "3T02:00", "FREQ=DAILY")
    ),
    "a window without length": _bad(
        f"{WINDOW}.endTime", "not after startTime", edit=window("3T10:00", "3T10:00", "FREQ=DAILY")
    ),
    "a day that there is not": _bad(
        f"{WINDOW}.startTime", "a time that there is not", edit={f"{WINDOW}.startTime": "2026-02-30T02:00:00Z"}
    ),
    "every hour": _bad(f"{WINDOW}.recurrence", "FREQ=HOURLY|write DAILY", edit={f"{WINDOW}.recurrence": "FREQ=HOURLY"}),
    "every fortnight, misspelt": _bad(
        f"{WINDOW}.recurrence", "FREQ=FORTNIGHTLY", edit={f"{WINDOW}.recurrence": "FREQ=FORTNIGHTLY"}
    ),
    "ten times and never again": _bad(
        f"{WINDOW}.recurrence", "has COUNT|remove it", edit={f"{WINDOW}.recurrence": "FREQ=DAILY;COUNT=10"}
    ),
    "until a day": _bad(
        f"{WINDOW}.recurrence",
        "has UNTIL|remove it",
        edit={f"{WINDOW}.recurrence": "FREQ=DAILY;UNTIL=20270101T000000Z"},
    ),
    "a day in words": _bad(
        f"{WINDOW}.recurrence", "'SATURDAY' in BYDAY", edit={f"{WINDOW}.recurrence": "FREQ=WEEKLY;BYDAY=SATURDAY"}
    ),
    "commas for semicolons": _bad(
        f"{WINDOW}.recurrence", "FREQ=WEEKLY,BYDAY=SA", edit={f"{WINDOW}.recurrence": "FREQ=WEEKLY,BYDAY=SA,SU"}
    ),
    # Hosts.
    "a registry on localhost": _bad(
        "registry.url",
        "localhost is not the cluster|pkg.dev",
        edit={"registry": {"url": "localhost:5000/models"}},
    ),
    "a registry at 127.0.0.1": _bad("registry.url", "127.0.0.1", edit={"registry": {"url": "127.0.0.1:5000/models"}}),
    "kind's registry": _bad("registry.url", "kind-registry", edit={"registry": {"url": "kind-registry:5000/models"}}),
    "a registry on the laptop's name": _bad(
        "registry.url", "laptop.local", edit={"registry": {"url": "laptop.local:5000/models"}}
    ),
    "a registry inside of the cluster": _bad(
        "registry.url",
        "inside of the cluster",
        edit={"registry": {"url": "registry.default.svc.cluster.local:5000/models"}},
    ),
    "an image on localhost": _bad(
        "models.qwen.digest",
        "localhost",
        edit={"models": {"qwen": {"digest": f"localhost:5000/models/qwen@{DIGEST}", "nodePool": "l4"}}},
    ),
    "a server's image on localhost": _bad(
        "platforms.kserve.server.image",
        "localhost",
        edit={"platforms.kserve.server.image": f"localhost:5000/vllm@{DIGEST}"},
    ),
    "a project's registry without a repository": _bad(
        "registry.url",
        "without a repository|write us-central1-docker.pkg.dev/PROJECT/REPOSITORY",
        edit={"registry": {"url": "us-central1-docker.pkg.dev/acme"}},
    ),
    "a zone's registry": _bad(
        "registry.url",
        "write us-central1-docker.pkg.dev",
        edit={"registry": {"url": "us-central1-a-docker.pkg.dev/acme/models"}},
    ),
    # Pools.
    "Local SSDs that the machine cannot have": _bad(f"{POOL}.localSsd", "write 1", edit={f"{POOL}.localSsd": 2}),
    "a model larger than its Local SSD": _bad(
        f"{POOL}.localSsd", "spread the models", edit={f"{POOL}.localSsd": 1, "models.qwen.sizeGb": 140}
    ),
    "Kubernetes' own label": _bad(
        f"{POOL}.labels",
        "node-role.kubernetes.io/gpu, which GKE reserves",
        edit={f"{POOL}.labels": {"node-role.kubernetes.io/gpu": "true"}},
    ),
    "GKE's own label": _bad(
        f"{POOL}.labels",
        "GKE reserves",
        edit={f"{POOL}.labels": {"cloud.google.com/gke-accelerator": "nvidia-l4"}},
    ),
    "the pool's own label": _bad(
        f"{POOL}.labels", "remove it", edit={f"{POOL}.labels": {"oci-model-serving/pool": "x"}}
    ),
    "a taint twice": _bad(
        f"{POOL}.taints",
        "twice",
        edit={f"{POOL}.taints": [{"key": "team", "value": "a"}, {"key": "team", "value": "b"}]},
    ),
    "a container's image for a disk's": _bad(
        f"{POOL}.secondaryBootDisks",
        "no disk image",
        edit={f"{POOL}.secondaryBootDisks": ["us-docker.pkg.dev/p/models/qwen:v1"]},
    ),
    "one service account for two pools": _bad(
        "nodePools.more.serviceAccountId",
        "as that of nodePools.l4",
        edit={
            f"{POOL}.serviceAccountId": "gpu-nodes",
            "nodePools.more": {"accelerator": "nvidia-l4", "serviceAccountId": "gpu-nodes"},
        },
    ),
    "more labels than Google takes": _bad(
        f"{CREATE}.labels", "Google takes 64", edit={f"{CREATE}.labels": {f"l{number}": "x" for number in range(65)}}
    ),
    "labels in capitals": _bad(f"{CREATE}.labels", "lower case", edit={f"{CREATE}.labels": {"Team": "a"}}),
}

_OPEN = {f"{CREATE}.dnsEndpoint": False, f"{CREATE}.authorizedNetworks": {"office": "198.51.100.0/24"}}
_GIVEN = {f"{CREATE}.network": "n", f"{CREATE}.subnetwork": "s"}

LEGIT: dict[str, dict[str, Any]] = {
    "nothing changed": {},
    "a zonal cluster": {f"{CREATE}.location": "us-central1-a"},
    "a zonal cluster with further zones": {
        f"{CREATE}.location": "us-central1-a",
        f"{CREATE}.zones": ["us-central1-b", "us-central1-c"],
    },
    "a cluster in another region than gcp:region": {
        f"{CREATE}.location": "europe-west4",
        f"{POOL}.zones": ["europe-west4-a", "europe-west4-b"],
    },
    "a region of two digits": {"gcp:region": "europe-west12", f"{POOL}.zones": ["europe-west12-a"]},
    "a region of long names": {
        "gcp:region": "northamerica-northeast1",
        f"{POOL}.zones": ["northamerica-northeast1-c"],
    },
    "an AI zone": {"gcp:region": "us-south1", f"{POOL}.zones": ["us-south1-ai1b"]},
    "a repository of a multi-region": {"registry.create.location": "europe"},
    "a repository in another region": {"registry.create.location": "europe-west4"},
    "a key of the repository's region": {"registry.create.kmsKey": KEY.format("us-central1")},
    "a key of the repository's multi-region": {
        "registry.create.location": "us",
        "registry.create.kmsKey": KEY.format("us"),
    },
    "ranges side by side": {
        f"{NEW}.nodesCidr": "192.168.0.0/24",
        f"{NEW}.podsCidr": "10.0.0.0/16",
        f"{NEW}.servicesCidr": "192.168.1.0/26",
        f"{NEW}.proxyOnlyCidr": "192.168.2.0/26",
        f"{CREATE}.masterCidr": "192.168.3.0/28",
    },
    "ranges beyond RFC 1918": {f"{NEW}.podsCidr": "100.64.0.0/14", f"{NEW}.servicesCidr": "240.10.0.0/20"},
    "proxies that nobody needs overlap": {
        f"{NEW}.proxyOnlyCidr": "10.5.0.0/23",
        "platforms.kserve.gateway": "none",
    },
    "pods that just fit": {f"{NEW}.podsCidr": "10.4.0.0/19", f"{POOL}.maxNodes": 100},
    "nodes that just fit": {f"{NEW}.nodesCidr": "10.0.0.0/25", f"{POOL}.maxNodes": 100},
    "a given network, its ranges GKE's": _GIVEN,
    "a given network and its ranges": {**_GIVEN, f"{CREATE}.podsRange": "pods", f"{CREATE}.servicesRange": "services"},
    "a shared network": {
        f"{CREATE}.network": "projects/n/global/networks/shared",
        f"{CREATE}.subnetwork": "projects/n/regions/us-central1/subnetworks/gke",
    },
    "an office's networks": _OPEN,
    "an office's networks beside the DNS endpoint": {f"{CREATE}.authorizedNetworks": {"office": "203.0.113.7/32"}},
    "a provider's large network": {f"{CREATE}.authorizedNetworks": {"isp": "84.0.0.0/8"}},
    "private networks of a private endpoint": {
        f"{CREATE}.privateEndpoint": True,
        f"{CREATE}.authorizedNetworks": {"all": "10.0.0.0/8", "carrier": "100.64.0.0/10"},
    },
    "a private endpoint by address alone": {
        f"{CREATE}.privateEndpoint": True,
        f"{CREATE}.dnsEndpoint": False,
        f"{CREATE}.authorizedNetworks": {"vpn": "10.20.0.0/16"},
    },
    "four hours a day": window("3T02:00", "3T06:00", "FREQ=DAILY"),
    "four hours on workdays": window("5T02:00", "5T06:00", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"),
    "twelve hours on Sundays": window("4T00:00", "4T12:00", "FREQ=WEEKLY;BYDAY=SU"),
    "six hours on weekends": window("3T20:00", "4T02:00", "FREQ=WEEKLY;BYDAY=SA,SU"),
    "every other day": window("3T02:00", "3T06:00", "FREQ=DAILY;INTERVAL=2"),
    "a weekend every fortnight": window("3T00:00", "4T00:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU"),
    "three days a month": window("3T00:00", "6T00:00", "FREQ=MONTHLY;BYMONTHDAY=3,17"),
    "always": window("1T00:00", "2T00:00", "FREQ=DAILY"),
    "a repository of another project": {"registry": {"url": "europe-docker.pkg.dev/acme/models"}},
    "a repository of a domain's project": {"registry": {"url": "us-docker.pkg.dev/example.com/acme/models/llm"}},
    "a registry of the former kind": {"registry": {"url": "eu.gcr.io/acme"}},
    "a private registry by name": {"registry": {"url": "harbor.corp.local/models"}},
    "a private registry by address": {"registry": {"url": "10.0.0.5:5000/models"}},
    "a registry that is called like it": {"registry": {"url": "localhost.example.com/models"}},
    "a copy from a registry here": {
        "models": {"qwen": {"digest": f"localhost:5000/models/qwen@{DIGEST}", "copy": True, "nodePool": "l4"}}
    },
    "Local SSDs of a machine that has them": {
        f"{POOL}.accelerator": "nvidia-h100-80gb",
        f"{POOL}.count": 8,
        "models.qwen.sizeGb": 140,
    },
    "Local SSDs of a chosen number": {f"{POOL}.count": 8, f"{POOL}.localSsd": 8, "models.qwen.sizeGb": 140},
    "no Local SSDs": {f"{POOL}.localSsd": "none"},
    "labels and taints of one's own": {
        f"{POOL}.labels": {"team": "a", "example.com/tier": "gpu", "node.kubernetes.io/exclude-from": "x"},
        f"{POOL}.taints": [{"key": "team", "value": "a"}, {"key": "team", "value": "a", "effect": "NO_EXECUTE"}],
    },
    "disk images by every path": {
        f"{POOL}.secondaryBootDisks": [
            "global/images/weights",
            "projects/p/global/images/vllm-1",
            "https://www.googleapis.com/compute/v1/projects/p/global/images/weights",
        ]
    },
    "two pools of their own accounts": {"nodePools.more": {"accelerator": "nvidia-l4"}},
}
