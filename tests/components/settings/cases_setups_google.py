"""Set-ups on Google's side that people run: images alone, pools of others, Autopilot, shared GPUs, keys, exclusions."""

from __future__ import annotations

from typing import Any

from tests.components.settings.stacks import Bad, Good
from tests.serving import IMAGE

KEY = "projects/keys/locations/{}/keyRings/r/cryptoKeys/k"
CARE = "cluster.create.maintenance.exclusions"
POOL = "nodePools.l4"
ADOPTED = {"name": "prod", "location": "us-central1"}
AUTOPILOT: dict[str, Any] = {"cluster": {**ADOPTED, "autopilot": True}, POOL: {"accelerator": "nvidia-l4"}}
SHARED = {"strategy": "TIME_SHARING", "maxClients": 2}
A100 = {"accelerator": "nvidia-tesla-a100", "zones": ["us-central1-a"]}
T4 = {"accelerator": "nvidia-tesla-t4", "zones": ["us-central1-a"]}


def model(**fields: Any) -> dict[str, Any]:
    return {"digest": IMAGE, "sizeGb": 1.1, "nodePool": "l4", **fields}


def exclusion(**fields: Any) -> dict[str, Any]:
    times = {"startTime": "2026-12-01T00:00:00Z", "endTime": "2026-12-20T00:00:00Z"}
    made = {"name": "launch", **times, **fields}
    return {key: value for key, value in made.items() if value is not None}


def pool(**fields: Any) -> dict[str, Any]:
    return {POOL: {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], "maxNodes": 2, **fields}}


def adopted(**fields: Any) -> dict[str, Any]:
    return {"cluster": ADOPTED, **pool(**fields)}


def autopilot(**fields: Any) -> dict[str, Any]:
    return {**AUTOPILOT, POOL: {"accelerator": "nvidia-l4", **fields}}


GOOD: list[Good] = [
    Good(
        "mirrors by digest and by tag, with a port and with a path",
        pool(
            registryMirrors={
                "docker.io": [
                    {"host": "https://m.example:5000"},
                    {"host": "https://us-docker.pkg.dev/v2/demo/hub", "tags": True},
                ],
                "registry.example:5000": [{"host": "http://10.0.0.9"}],
            }
        ),
    ),
    # Without a cluster, or without models.
    Good("images without a cluster", {"cluster": None, "nodePools": None, "models.qwen.nodePool": None}),
    Good("a registry alone", {"cluster": None, "nodePools": None, "models": None, "platforms": None}),
    Good("a cluster without models", {"models": None}),
    Good("a cluster without models and without a registry", {"models": None, "registry": None, "nodePools": None}),
    Good(
        "an image for KubeAI without a cluster and without KubeAI",
        {"cluster": None, "nodePools": None, "platforms": None, "models.qwen": {"digest": IMAGE, "delivery": "kubeai"}},
    ),
    # Hardening.
    Good(
        "all that hardens",
        {
            "cluster.create.systemPool": {"machineType": "n2d-standard-4", "confidential": "SEV_SNP"},
            "cluster.create.newNetwork.flowLogs": 0.1,
            "cluster.create.hardening": {
                "rbacGroupsDomain": "team.example.com",
                "binaryAuthorization": True,
                "controlPlaneLogs": True,
            },
        },
    ),
    Good(
        "a confidential GPU",
        pool(accelerator="nvidia-h100-80gb", machineType="a3-highgpu-1g", spot=True, confidential="TDX"),
    ),
    # Nodes of others.
    Good("a pool that exists, by its name", adopted(existing="gpu-l4-pool")),
    Good("a pool that exists, by its key", adopted(existing=True)),
    Good(
        "a pool that exists, with all that is said of it",
        adopted(
            existing="gpu-l4-pool",
            machineType="g2-standard-16",
            bootDisk={"sizeGb": 500, "type": "pd-ssd"},
            spot=True,
            taints=[{"key": "team", "value": "a"}],
            labels={"team": "a"},
            sharing=SHARED,
            serviceAccount="nodes@shared.iam.gserviceaccount.com",
        ),
    ),
    Good(
        "a pool made here beside one that exists",
        {**adopted(), "nodePools.old": {"accelerator": "nvidia-tesla-t4", "existing": "t4"}},
    ),
    Good("Autopilot", AUTOPILOT),
    Good("Autopilot with its class", autopilot(computeClass="Accelerator", spot=True, zones=["us-central1-a"])),
    Good(
        "Autopilot with a class of one's own",
        autopilot(
            computeClass="gpu-fallback",
            bootDisk={"sizeGb": 800},
            machineType="g2-standard-16",
            taints=[{"key": "team"}],
        ),
    ),
    Good("Autopilot with a reservation", autopilot(accelerator="nvidia-b200", count=8, reservation="b200")),
    Good("Autopilot with a partition", autopilot(accelerator="nvidia-tesla-a100", gpuPartitionSize="3g.20gb")),
    Good(
        "a large model on Autopilot, whose disks GKE chooses",
        {**autopilot(accelerator="nvidia-h200-141gb", count=8, spot=True), "models.qwen.sizeGb": 100},
    ),
    Good(
        "a ComputeClass on a Standard cluster",
        adopted(computeClass="l4-spot") | {POOL: {"accelerator": "nvidia-l4", "computeClass": "l4-spot"}},
    ),
    Good("a ComputeClass on a new cluster", {POOL: {"accelerator": "nvidia-l4", "computeClass": "l4-spot"}}),
    Good(
        "a ComputeClass of H100 that are not to be had on demand",
        {POOL: {"accelerator": "nvidia-h100-80gb", "computeClass": "h100"}},
    ),
    # Shared GPUs.
    Good("two models on one L4 in turns", {**pool(sharing=SHARED, maxNodes=1), "models": {"a": model(), "b": model()}}),
    Good("time-sharing is the strategy that is meant", pool(sharing={"maxClients": 4})),
    Good(
        "seven partitions of an A100",
        {POOL: {**A100, "gpuPartitionSize": "1g.5gb"}, "models": {f"m{number}": model(gpus=1) for number in range(7)}},
    ),
    Good("partitions that are shared", {POOL: {**A100, "gpuPartitionSize": "3g.20gb", "sharing": SHARED}}),
    Good(
        "partitions of an H200", pool(accelerator="nvidia-h200-141gb", count=8, gpuPartitionSize="1g.35gb", spot=True)
    ),
    Good(
        "two models that share as unequally as fits",
        {
            **pool(sharing=SHARED, maxNodes=1),
            "models": {
                "a": model(args=["--gpu-memory-utilization=0.6"]),
                "b": model(args=["--gpu-memory-utilization", "0.35"]),
            },
        },
    ),
    # Keys, exclusions, labels.
    Good(
        "all disks and the database under one's own keys",
        {
            "cluster.create.databaseEncryptionKey": KEY.format("us-central1"),
            "cluster.create.systemPool": {"kmsKey": KEY.format("us-central1")},
            f"{POOL}.bootDisk": {"kmsKey": KEY.format("us-central1")},
        },
    ),
    *(
        Good(f"a disk's key in {there}", {f"{POOL}.bootDisk": {"kmsKey": KEY.format(there)}})
        for there in ("us", "nam3", "nam4", "global")
    ),
    Good(
        "ranges of one's own with a private endpoint",
        {
            "cluster.create.privateEndpoint": True,
            "cluster.create.authorizedNetworks": {
                "vpc": "10.1.0.0/16",
                "office": "172.20.0.0/14",
                "carrier": "100.64.0.0/10",
                "lab": "198.18.0.0/15",
                "v6": "fd00::/8",
            },
        },
    ),
    Good("an exclusion over a launch", {CARE[:-11]: {"exclusions": [exclusion(scope="NO_MINOR_UPGRADES")]}}),
    Good("90 days without any upgrade", {CARE[:-11]: {"exclusions": [exclusion(endTime="2027-03-01T00:00:00Z")]}}),
    Good(
        "no new minor until the end of support",
        {
            CARE[:-11]: {
                "exclusions": [
                    exclusion(scope="NO_MINOR_OR_NODE_UPGRADES", endTime=None, endTimeBehavior="UNTIL_END_OF_SUPPORT")
                ]
            }
        },
    ),
    Good("Google labels of a pool", {f"{POOL}.resourceLabels": {"cost-center": "42"}}),
    # Machines that are made to measure.
    *(
        Good(f"a T4 on {machine}", {POOL: {**T4, "machineType": machine}})
        for machine in ("custom-8-49152", "n1-custom-4-8192", "n1-custom-48-319488", "custom-4-65536-ext")
    ),
    Good("four T4 on 96 vCPUs", {POOL: {**T4, "count": 4, "machineType": "custom-96-638976"}}),
    Good("an L4 on a custom machine", {f"{POOL}.machineType": "g2-custom-16-55296"}),
]

BAD: list[Bad] = [
    Bad(
        "pools without a cluster",
        {"cluster": None},
        None,
        "cluster",
        ("is missing", "remove nodePools, models.qwen.nod"),
    ),
    Bad(
        "a model on a pool without a cluster",
        {"cluster": None, "nodePools": None},
        None,
        "cluster",
        ("is missing", "models.qwen.nodePool"),
    ),
    # Mirrors.
    Bad(
        "the mirrors of a pool that is others'",
        adopted(existing="x", registryMirrors={"docker.io": [{"host": "https://m.example"}]}),
        None,
        f"{POOL}.registryMirrors",
        ("remove it, the pool has its own",),
    ),
    Bad(
        "a registry as its own mirror",
        pool(registryMirrors={"docker.io": [{"host": "https://docker.io"}]}),
        None,
        f"{POOL}.registryMirrors.docker.io",
        ("names docker.io itself",),
    ),
    Bad(
        "tags by a mirror that anybody on the way may be",
        pool(registryMirrors={"docker.io": [{"host": "http://m.example:5000", "tags": True}]}),
        None,
        f"{POOL}.registryMirrors.docker.io",
        ("write https://",),
    ),
    Bad(
        "more mirrored registries than GKE takes",
        pool(registryMirrors={f"r{number}.example": [{"host": "https://m.example"}] for number in range(26)}),
        None,
        f"{POOL}.registryMirrors",
        ("26 registries, and GKE takes 25",),
    ),
    # Nodes of others.
    Bad("an existing pool of a new cluster", pool(existing="x"), None, f"{POOL}.existing", ("write cluster {name",)),
    Bad("an existing pool of Autopilot", autopilot(existing="x"), None, f"{POOL}.existing", ("Standard clusters",)),
    Bad(
        "an existing pool with a name that there cannot be",
        adopted(existing="GPU_Pool"),
        None,
        f"{POOL}.existing",
        ("'GPU_Pool'", "no name of a node pool"),
    ),
    Bad(
        "an existing pool of a class", adopted(existing="x", computeClass="y"), None, f"{POOL}.existing", ("keep one",)
    ),
    Bad(
        "an existing pool that is to be made",
        adopted(existing="x", maxPodsPerNode=64),
        None,
        f"{POOL}.maxPodsPerNode",
        ("remove it, the pool has its own",),
    ),
    Bad(
        "the key of an existing pool's disk",
        adopted(existing="x", bootDisk={"kmsKey": KEY.format("us-central1")}),
        None,
        f"{POOL}.bootDisk.kmsKey",
        ("remove it",),
    ),
    Bad(
        "another account of a pool that is made",
        pool(serviceAccount="a@b.iam.gserviceaccount.com"),
        None,
        f"{POOL}.serviceAccount",
        ("serviceAccountId",),
    ),
    Bad(
        "an account that is none",
        adopted(existing="x", serviceAccount="nodes"),
        None,
        f"{POOL}.serviceAccount",
        ("write what matches",),
    ),
    Bad(
        "a new Autopilot cluster",
        {"cluster": {"create": {"name": "x"}, "autopilot": True}},
        None,
        "cluster.autopilot",
        ("of a cluster that exists",),
    ),
    Bad("node counts on Autopilot", autopilot(maxNodes=3), None, f"{POOL}.maxNodes", ("GKE makes these nodes",)),
    Bad(
        "a boot disk on Autopilot",
        autopilot(bootDisk={"sizeGb": 500}),
        None,
        f"{POOL}.bootDisk",
        ("ComputeClass of your own",),
    ),
    Bad(
        "two zones on Autopilot",
        autopilot(zones=["us-central1-a", "us-central1-b"]),
        None,
        f"{POOL}.zones",
        ("write one, or none",),
    ),
    Bad(
        "nodes warmed on Autopilot",
        {**AUTOPILOT, "models.qwen.warm": "prepull"},
        None,
        "models.qwen.warm",
        ("none to warm",),
    ),
    Bad("a class without GPUs", autopilot(computeClass="Scale-Out"), None, f"{POOL}.computeClass", ("has no GPUs",)),
    Bad(
        "Autopilot's class on a Standard cluster",
        {"cluster": ADOPTED, POOL: {"accelerator": "nvidia-l4", "computeClass": "Accelerator"}},
        None,
        f"{POOL}.computeClass",
        ("Autopilot's",),
    ),
    Bad(
        "images too large for the disk that a class says",
        {
            POOL: {"accelerator": "nvidia-l4", "computeClass": "l4", "bootDisk": {"sizeGb": 300}},
            "models.qwen.sizeGb": 141,
        },
        None,
        f"{POOL}.bootDisk",
        ("write sizeGb: 379",),
    ),
    # Shared GPUs.
    Bad(
        "two shares of one GPU",
        {**pool(sharing=SHARED), "models.qwen.gpus": 2},
        None,
        "models.qwen.gpus",
        ("one share", "write 1"),
    ),
    Bad(
        "two partitions for one model",
        {POOL: {**A100, "gpuPartitionSize": "3g.20gb"}, "models.qwen.gpus": 2},
        None,
        "models.qwen.gpus",
        ("one partition",),
    ),
    Bad(
        "a partition of an L4",
        pool(gpuPartitionSize="1g.5gb"),
        None,
        f"{POOL}.gpuPartitionSize",
        ("cannot be partitioned",),
    ),
    Bad(
        "a partition of another GPU",
        {POOL: {**A100, "gpuPartitionSize": "1g.10gb"}},
        None,
        f"{POOL}.gpuPartitionSize",
        ("write 1g.5gb, 2g.10gb",),
    ),
    Bad(
        "a partition that is none",
        {POOL: {**A100, "gpuPartitionSize": "small"}},
        None,
        f"{POOL}.gpuPartitionSize",
        ("as 1g.10gb",),
    ),
    Bad("MPS", pool(sharing={"strategy": "MPS", "maxClients": 2}), None, f"{POOL}.sharing.strategy", ("hostIPC",)),
    Bad("too many on one GPU", pool(sharing={"maxClients": 64}), None, f"{POOL}.sharing.maxClients", ("at most 48",)),
    Bad(
        "a GPU that one model takes whole",
        {
            **pool(sharing=SHARED, maxNodes=1),
            "models": {"a": model(args=["--gpu-memory-utilization", "0.9"]), "b": model()},
        },
        None,
        "models.a.args",
        ("135%", "write 0.45"),
    ),
    Bad(
        "replicas that each take too much of one GPU",
        {
            **pool(sharing=SHARED),
            "models.qwen.replicas": {"min": 2, "max": 2},
            "models.qwen.args": ["--gpu_memory_utilization=0.8"],
        },
        None,
        "models.qwen.args",
        ("160%", "write 0.45"),
    ),
    # Hardening.
    Bad(
        "confidential nodes of a machine type that has none",
        {"cluster.create.systemPool.confidential": "TDX"},
        None,
        "cluster.create.systemPool.confidential",
        ("e2-standard-4", "c3-standard-4"),
    ),
    Bad(
        "a confidential GPU that is none",
        pool(confidential="TDX"),
        None,
        f"{POOL}.confidential",
        ("g2-standard-8", "machineType: a3-highgpu-1g"),
    ),
    Bad(
        "a confidential GPU by reservation",
        pool(accelerator="nvidia-h100-80gb", machineType="a3-highgpu-1g", reservation="h100", confidential="TDX"),
        None,
        f"{POOL}.confidential",
        ("spot: true",),
    ),
    Bad(
        "flow logs of a network that is given",
        {
            "cluster.create.network": "shared",
            "cluster.create.subnetwork": "gke",
            "cluster.create.newNetwork.flowLogs": 0.5,
        },
        None,
        "cluster.create.newNetwork.flowLogs",
        ("remove it",),
    ),
    Bad(
        "groups of an address instead of a domain",
        {"cluster.create.hardening.rbacGroupsDomain": "gke-security-groups@example.com"},
        None,
        "cluster.create.hardening.rbacGroupsDomain",
        ("gke-security-groups@example.com",),
    ),
    # Keys, exclusions, labels.
    Bad(
        "the database's key elsewhere",
        {"cluster.create.databaseEncryptionKey": KEY.format("europe-west4")},
        None,
        "cluster.create.databaseEncryptionKey",
        ("is in europe-west4",),
    ),
    Bad(
        "the database's key of the world",
        {"cluster.create.databaseEncryptionKey": KEY.format("global")},
        None,
        "cluster.create.databaseEncryptionKey",
        ("is in global",),
    ),
    Bad(
        "a disk's key elsewhere",
        {f"{POOL}.bootDisk": {"kmsKey": KEY.format("europe-west4")}},
        None,
        f"{POOL}.bootDisk.kmsKey",
        ("name a key of that region",),
    ),
    Bad(
        "the system pool's key elsewhere",
        {"cluster.create.systemPool": {"kmsKey": KEY.format("europe-west4")}},
        None,
        "cluster.create.systemPool.kmsKey",
        ("name a key of that region",),
    ),
    *(
        Bad(
            f"a disk's key in {there}, where the nodes are not",
            {place: {"kmsKey": KEY.format(there)}},
            None,
            f"{place}.kmsKey",
            (f"is in {there}", "name a key of that region"),
        )
        for place in (f"{POOL}.bootDisk", "cluster.create.systemPool")
        for there in ("europe", "asia", "eur4")
    ),
    Bad(
        "an example's public range with a private endpoint",
        {
            "cluster.create.privateEndpoint": True,
            "cluster.create.authorizedNetworks": {"office": "203.0.113.0/24"},
        },
        None,
        "cluster.create.authorizedNetworks.office",
        ("a public range", "write a private range"),
    ),
    *(
        Bad(
            f"a fallback pool of unknown machines: {given}",
            {"nodePools.other": {"zones": ["us-central1-a"], **given}, "models.qwen.fallbackPools": ["other"]},
            None,
            "nodePools.other",
            words,
        )
        for given, words in (
            ({"accelerator": "nvidia-l5"}, ("did you mean nvidia-l4",)),
            ({"accelerator": "nvidia-gb200"}, ("write nvidia-b200",)),
            ({"accelerator": "nvidia-l4", "machineType": "g2-standard-96"}, ("does not fit 1 x nvidia-l4",)),
        )
    ),
    Bad(
        "Autopilot in a zone",
        {**AUTOPILOT, "cluster": {"name": "prod", "location": "us-central1-a", "autopilot": True}},
        None,
        "cluster.location",
        ("write us-central1",),
    ),
    Bad(
        "an address without a mask",
        {"cluster.create.authorizedNetworks": {"office": "203.0.113.5"}},
        None,
        "cluster.create.authorizedNetworks.office",
        ("write 203.0.113.5/32",),
    ),
    *(
        Bad(
            f"a system pool of {machine}",
            {"cluster.create.systemPool": {"machineType": machine}},
            None,
            "cluster.create.systemPool.machineType",
            (machine, "write e2-standard-4"),
        )
        for machine in ("e2-micro", "t2a-standard-4", "c4a-standard-4")
    ),
    Bad(
        "a key that is none",
        {f"{POOL}.bootDisk": {"kmsKey": "my-key"}},
        None,
        f"{POOL}.bootDisk.kmsKey",
        ("write what matches",),
    ),
    *(
        Bad(name, {CARE[:-11]: {"exclusions": given}}, None, CARE, words)
        for name, given, words in (
            ("an exclusion that ends first", [exclusion(endTime="2026-11-01T00:00:00Z")], ("not after startTime",)),
            (
                "91 days without any upgrade",
                [exclusion(endTime="2027-03-02T00:00:01Z")],
                ("90 at most", "2027-03-01T00:00:00Z"),
            ),
            ("an exclusion without end", [exclusion(endTime=None)], ("is missing", "endTimeBehavior")),
            (
                "no upgrade at all until the end of support",
                [exclusion(endTime=None, endTimeBehavior="UNTIL_END_OF_SUPPORT")],
                ("another scope",),
            ),
            ("two exclusions of one name", [exclusion(), exclusion()], ("2 times",)),
            ("four without any upgrade", [exclusion(name=f"n{number}") for number in range(4)], ("GKE takes 3",)),
            (
                "21 exclusions",
                [exclusion(name=f"n{n}", scope="NO_MINOR_UPGRADES") for n in range(21)],
                ("GKE takes 20",),
            ),
            ("a scope that is none", [exclusion(scope="NO_PATCHES")], ("NO_MINOR_UPGRADES",)),
            ("a day that is none", [exclusion(endTime="2026-12-32T00:00:00Z")], ("no date",)),
        )
    ),
    Bad(
        "a Google label in capitals",
        {f"{POOL}.resourceLabels": {"Cost": "42"}},
        None,
        f"{POOL}.resourceLabels",
        ("refused by Google",),
    ),
    Bad(
        "a Google label of the program",
        {f"{POOL}.resourceLabels": {"node-pool": "x"}},
        None,
        f"{POOL}.resourceLabels",
        ("sets itself",),
    ),
    # Machines.
    *(
        Bad(f"a T4 on {machine}", {POOL: {**T4, "machineType": machine}}, None, POOL, words)
        for machine, words in (
            ("custom-7-8192", ("1 or an even number",)),
            ("custom-8-49000", ("no multiple of 256", "49152")),
            ("custom-8-65536", ("7424 to 53248",)),
            ("custom-64-262144", ("48 vCPUs at most",)),
            ("n2-custom-8-49152", ("n1-custom",)),
        )
    ),
    Bad("an L4 on 10 vCPUs", {f"{POOL}.machineType": "g2-custom-10-40960"}, None, POOL, ("4 or 8 or 12",)),
    Bad(
        "an H100 made to measure",
        {POOL: {"accelerator": "nvidia-h100-80gb", "count": 8, "machineType": "a3-custom-8-49152"}},
        None,
        POOL,
        ("not made to measure",),
    ),
    Bad("GB200", {POOL: {"accelerator": "nvidia-gb200", "count": 4}}, None, POOL, ("Arm", "nvidia-b200")),
    Bad("GB300", {POOL: {"accelerator": "nvidia-gb300", "count": 4}}, None, POOL, ("rack of 72",)),
    Bad("a V100", {POOL: {"accelerator": "nvidia-tesla-v100"}}, None, POOL, ("nvidia-l4",)),
]
