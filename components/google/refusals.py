"""What Google's answers mean when an update fails: each kind of refusal, and the setting or command that helps. Pure.

The patterns follow the texts of the APIs as the provider and gcloud pass them on (googleapi errors, operations of GKE
and Compute Engine, violations of organization policies); tests/components/google/test_refusals.py has some of each.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

NODE_POOL = "gcp:container/nodePool:NodePool"


def _policy(service: str, names: str) -> str:
    """A constraint of an organization, in its old and in its managed form."""
    return rf"constraints/{service}\.(?:managed\.)?{names}"


STOCKOUT = (
    r"GCE out of resources|ZONE_RESOURCE_POOL_EXHAUSTED|does not have enough resources available|GCE_STOCKOUT"
    r"|is currently unavailable in the \S+ zone|state:STOCKOUT",
    "Google has no such machine in that zone now: add zones to {setting}.zones, or use {setting}.flexStart or "
    ".reservation instead of .spot",
)
QUOTA = (
    r"GCE quota exceeded|QUOTA_EXCEEDED|Quota '[A-Z0-9_]+' exceeded|[Ii]nsufficient (?:regional|project|global) quota",
    "the project's quota is used up: raise it for that resource and region in the console (of GPUs GPUS_ALL_REGIONS "
    "too), or free what uses it, as other nodes",
)

RULES: dict[str, tuple[str, str]] = {
    "stockout": STOCKOUT,
    "disk-quota": (
        r"(?:[Qq]uota '|resource \\?\")(?P<quota>SSD_TOTAL_GB|DISKS_TOTAL_GB|LOCAL_SSD_TOTAL_GB\w*|HDB_\w+)",
        "the region's quota {quota} is used up: lower {setting}.bootDisk.sizeGb, .localSsd or .maxNodes, or raise "
        "the quota in the console",
    ),
    "quota": QUOTA,
    "rate": (
        r"Quota exceeded for quota metric|RATE_LIMIT_EXCEEDED|rateLimitExceeded",
        "Google takes no more requests a minute from this project: run the same command again in some minutes",
    ),
    "api-off": (
        r"(?:apis/api/|services/)?(?P<api>[a-z]+\.googleapis\.com)/overview\?project=(?P<project>[\w.:-]+)"
        r"|SERVICE_DISABLED|accessNotConfigured",
        "an API is off: `gcloud services enable {api} --project {project}`, wait a few minutes and run again; where "
        "`enableApis` is true the stack enables those it needs itself, for which cloudresourcemanager and serviceusage "
        "must be on",
    ),
    "act-as": (
        r"iam\.serviceAccounts\.actAs|iam\.serviceAccountUser|does not have access to service account",
        "whoever runs the update may not act as the nodes' service account: grant it roles/iam.serviceAccountUser "
        "(docs/ci.md has all roles)",
    ),
    "permission": (
        r"Permission '(?P<permission>[\w.]+)' denied|Required ['\"\\]+(?P<permission2>[\w.]+)['\"\\]+ permission"
        r"|does not have (?P<permission3>[a-z]\w*(?:\.\w+)+) access|caller does not have permission"
        r"|Policy update access denied|IAM_PERMISSION_DENIED",
        "whoever runs the update lacks the permission {permission}: grant a role that has it (docs/ci.md has all "
        "roles), or see with `gcloud auth list` who runs it",
    ),
    "no-credentials": (
        r"could not find default credentials|invalid_grant|invalid_rapt|[Rr]eauthentication (?:is needed|failed)",
        "there are no valid Google credentials here: `gcloud auth application-default login`",
    ),
    "org-external-ip": (
        _policy("compute", "vmExternalIpAccess"),
        "the organization forbids public addresses: nodes of `cluster.create` have none, so adopt only a cluster with "
        "private nodes (`cluster.name`); `builder: cloudbuild` needs a private pool of your own",
    ),
    "org-shielded-vm": (
        _policy("compute", "requireShieldedVm"),
        "the organization wants Shielded VMs with secure boot: leave {setting}.driverVersion at DEFAULT or LATEST, "
        "since INSTALLATION_DISABLED turns secure boot off",
    ),
    "org-keys": (
        _policy("iam", "disableServiceAccountKey(?:Creation|Upload)")
        + "|Key creation is not allowed on this service account",
        "the organization forbids keys of service accounts, and nothing here needs one: use Workload Identity "
        "Federation (docs/ci.md)",
    ),
    "org-accounts": (
        _policy("iam", "disableServiceAccountCreation") + "|Service account creation is not allowed",
        "the organization forbids new service accounts, and each pool has its own: have the project exempted from "
        "iam.disableServiceAccountCreation",
    ),
    "org-cmek": (
        _policy("gcp", "restrict(?:NonCmekServices|CmekCryptoKeyProjects)"),
        "the organization wants keys of its own: set `registry.create.kmsKey`, "
        "`cluster.create.databaseEncryptionKey`, `cluster.create.systemPool.kmsKey` and {setting}.bootDisk.kmsKey",
    ),
    "org-location": (
        _policy("gcp", "resourceLocations"),
        "the organization forbids this location: change `gcp:region`, `registry.create.location`, "
        "`cluster.create.location` and {setting}.zones",
    ),
    "org-members": (
        _policy("iam", "allowedPolicyMemberDomains") + "|do not belong to a permitted customer",
        "the organization gives roles to its own members only: take others out of `registry.create.extraReaders` and "
        "`.writers`",
    ),
    "org-nat": (
        _policy("compute", "restrictCloudNATUsage"),
        "the organization forbids Cloud NAT: set `cluster.create.newNetwork.nat: false`, and mirror the images that "
        "lie outside of Google's registries",
    ),
    "no-accelerator-there": (
        r"[Aa]ccelerator type \S+ does not exist in zone|[Mm]achine type \S+ does not exist in zone"
        r"|not supported in zone|acceleratorTypes/\S+' was not found",
        "that zone has no such accelerator or machine: take others for {setting}.zones "
        "(`gcloud compute accelerator-types list`)",
    ),
    "pool-in-error": (
        # The provider keeps GKE's own reason to itself (resource_container_node_pool.go, google-beta 8.0).
        r"(?:NodePool (?P<node_pool>\S+) )?was created in the error state|RUNNING_WITH_ERROR",
        "GKE has made the pool and its nodes do not come, mostly for want of such machines or of quota: `gcloud "
        "container node-pools describe {node_pool} --cluster CLUSTER --location LOCATION` says which (statusMessage); "
        "add zones to {setting}.zones, or make the pool anew with `pulumi up --replace URN`",
    ),
    "account-late": (
        r"Service account \S+ does not exist|Unknown service account",
        "Google does not know a new service account everywhere at once: run the same command again in a minute; if it "
        "was deleted by others, `pulumi up --refresh` makes it anew",
    ),
    "policy-race": (
        r"concurrent policy changes",
        "somebody else changed the same IAM policy at that moment: run the same command again",
    ),
    "unavailable": (
        r"service is currently unavailable|An internal error has occurred|Error 50[0234]\b",
        "a service of Google's failed for the moment: run the same command again in some minutes",
    ),
    "exists": (
        r"alreadyExists|Error 409.*[Aa]lready exists|ALREADY_EXISTS",
        "something of that name is there already, and not of this stack: give it another name in the settings, adopt "
        "it (`cluster.name`, `registry.url`), or take it into the state with `pulumi import` (docs/gke.md has the "
        "ids); of a repository, `kmsKey` cannot change under the same name",
    ),
    "owned-twice": (
        r"The resource already exists in the cluster|cannot re-use a name that is still in use"
        r"|invalid ownership metadata",
        "another stack or a person owns an object of that name in the cluster: set `platforms.kserve.modelNamespace` "
        "to a namespace of this stack's own, and say what is there already with `platforms.kserve.install: false`, "
        "`platforms.kserve.gatewayInstall: false` or `platforms.kubeai.install: false` (docs/serving.md)",
    ),
    "protected": (
        r"deletion_?[pP]rotection|unable to replace (?:protected )?resource|currently marked for protection",
        "it is protected against deletion: if it shall really go, set `cluster.create.deletionProtection: false` (or "
        "`registry.create.protect: false`) and update first",
    ),
    "cluster-unreachable": (
        r"unreachable cluster|configured Kubernetes cluster is unreachable",
        "the cluster does not answer, and there is none behind a stack of rendered manifests, for which `--refresh` "
        "is nothing: never set PULUMI_K8S_DELETE_UNREACHABLE, which forgets all that is in it; else see that "
        "gke-gcloud-auth-plugin is on PATH and who may connect (container.clusters.connect)",
    ),
}
_SAID_BY = {"quota": "disk-quota", "permission": "act-as", "unavailable": "stockout"}
"""General kind -> the one that is told in its words and says more."""
_OTHER_POLICY = (
    r"[Cc]onstraint `?(?P<constraint>constraints/[\w.]+)`? violated"
    r"|violates constraint (?P<constraint2>constraints/[\w.]+)",
    "an organization policy ({constraint}) forbids it: have the project exempted, or the policy changed",
)
UNKNOWN = {
    "api": "API",
    "project": "PROJECT",
    "node_pool": "POOL",
    "permission": "it names",
    "quota": "it names",
    "constraint": "it names",
}
"""What stands in a remedy for what the message does not tell."""


@dataclass(frozen=True)
class Refused:
    """An error of the engine, of the resource with that URN (empty: of none)."""

    message: str
    urn: str = ""

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.urn.rpartition("::")[2]

    @property
    def setting(self) -> str:
        """The setting of the node pool that it is about."""
        pool = self.urn.rpartition("::")[0].endswith(NODE_POOL) and not self.name.endswith("-system")
        return f"nodePools.{self.name if pool else 'NAME'}"


def remedies(refused: Iterable[Refused]) -> list[str]:
    """What to do about each kind of refusal among these, with the resources that it befell."""
    befell: dict[str, list[str]] = {}
    for one in refused:
        for remedy in _remedies(one):
            names = befell.setdefault(remedy, [])
            names += [one.name] if one.name and one.name not in names else []
    return [f"{', '.join(names)}: {remedy}" if names else remedy for remedy, names in befell.items()]


def shown(code: str) -> str:
    """The remedy of a kind as the documentation has it."""
    return _filled(RULES[code][1], Refused(""), {})


def _remedies(one: Refused) -> Iterator[str]:
    found = {code: re.search(pattern, one.message, re.DOTALL) for code, (pattern, _) in RULES.items()}
    matches = {code: match for code, match in found.items() if match and not found.get(_SAID_BY.get(code, ""))}
    for code, match in matches.items():
        yield _filled(RULES[code][1], one, match.groupdict())
    other = re.search(_OTHER_POLICY[0], one.message)
    if other and not matches:
        yield _filled(_OTHER_POLICY[1], one, other.groupdict())


def _filled(remedy: str, one: Refused, said: Mapping[str, str | None]) -> str:
    words = {**UNKNOWN, **{name.rstrip("23"): value for name, value in said.items() if value}}
    for name, value in {**words, "setting": one.setting}.items():
        remedy = remedy.replace(f"{{{name}}}", value)
    return remedy
