"""Rules on Google's side: who may do what, and what the CIS Google Kubernetes Engine Benchmark 1.6 asks for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policy.allowed import ROLES
from policy.declared import Declared
from policy.images import Props, is_unknown, mapping
from policy.pods import is_wide, items, texts

CLUSTER = "gcp:container/cluster:Cluster"
NODE_POOL = "gcp:container/nodePool:NodePool"
_PULL, _RESOLVE = "HOST_CAPABILITY_PULL", "HOST_CAPABILITY_RESOLVE"
_MEMBER = re.compile(
    r"(?:serviceAccount|group|user):[^\s:@]+@[^\s:@]+\.[^\s:@]+"
    r"|serviceAccount:[a-z0-9.:-]+\.svc\.id\.goog\[[a-z0-9-]+/[a-z0-9-]+\]"
    r"|principal://iam\.googleapis\.com/\S+/subject/[^\s*]+"
    r"|principalSet://iam\.googleapis\.com/\S+/(?:attribute\.[\w.]+|group|namespace)/[^\s*]+"
)


def only_allowed_roles(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A stack binds the roles that serving needs, each where it is needed, and no other."""
    role = props.get("role")
    allowed = ROLES.get(type_, frozenset())
    names_somebody = "member" in props or "members" in props
    is_binding = type_ in ROLES or (type_.startswith("gcp:") and "role" in props and names_somebody)
    if is_binding and str(role) not in allowed and not is_unknown(role):
        yield (
            f"{role} for {props.get('member', 'its members')} is no role that a stack binds there: "
            + (f"use {' or '.join(sorted(allowed))}" if allowed else "use an …IAMMember of a role in policy/allowed.py")
        )


def only_named_members(type_: str, _name: str, props: Props) -> Iterator[str]:
    """What is granted is granted to somebody: an account, a group, one workload."""
    if not type_.startswith("gcp:"):
        return
    for member in [*([props["member"]] if "member" in props else []), *texts(props.get("members"))]:
        if is_unknown(member) or not isinstance(member, str):
            continue
        if re.search(r"@(?:gmail|googlemail)\.com$", member):
            yield f"{member} is nobody's colleague: name an account of your organisation"
        elif re.search(r"/default\]$|/attribute\.repository_owner(?:_id)?/", member):
            yield f"{member} is whatever runs there: name one service account, or one repository"
        elif not _MEMBER.fullmatch(member):
            yield f"{member} is many, or nobody known: name the accounts or groups that need {props.get('role')}"
        elif member.endswith("-compute@developer.gserviceaccount.com"):
            yield f"{member} is what many other things run as: name an account of its own"


def hardened_cluster(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A cluster has what the CIS benchmark asks for and costs nothing."""
    if type_ != CLUSTER:
        return
    for wrong, said in _of_cluster(props):
        if wrong:
            yield said
    if props.get("nodePools") or props.get("nodePool"):
        yield "nodePools within a cluster are seen by no rule on pools: write each as a NodePool of its own"
    if props.get("removeDefaultNodePool") is not True and props.get("enableAutopilot") is not True:
        yield "its first pool is seen by no rule on pools: set removeDefaultNodePool to true"
    automatic = mapping(props.get("clusterAutoscaling"))
    if automatic.get("enabled") is True and not mapping(automatic.get("autoProvisioningDefaults")).get(
        "serviceAccount"
    ):
        yield "clusterAutoscaling makes nodes of the default account: set enabled to false"
    yield from _reachable(props)


def _of_cluster(props: Props) -> Iterator[tuple[bool, str]]:
    def at(path: str) -> Any:
        value: Any = props
        for key in path.split("."):
            value = value if isinstance(value, str) and is_unknown(value) else mapping(value).get(key)
        return value

    def lacks(path: str, wanted: object) -> bool:
        return at(path) != wanted and not is_unknown(at(path))

    autopilot = props.get("enableAutopilot") is True
    yield (
        props.get("enableLegacyAbac") is True,
        "enableLegacyAbac gives rights outside of RBAC: set it to false (5.8.4)",
    )
    yield props.get("enableShieldedNodes") is False, "enableShieldedNodes is false: set it to true (5.5.5)"
    yield (
        at("masterAuth.clientCertificateConfig.issueClientCertificate") is True,
        "masterAuth issues a certificate that nobody can take back: set issueClientCertificate to false (5.8.2)",
    )
    yield (
        bool(at("masterAuth.username") or at("masterAuth.password")),
        "masterAuth has a password: leave it out (5.8.1)",
    )
    yield (
        lacks("privateClusterConfig.enablePrivateNodes", wanted=True),
        "nodes have public addresses: set privateClusterConfig.enablePrivateNodes to true (5.6.5)",
    )
    yield (
        not autopilot and not at("workloadIdentityConfig.workloadPool"),
        "pods would act as their nodes: set workloadIdentityConfig.workloadPool (5.2.2)",
    )
    yield (
        not autopilot and lacks("datapathProvider", "ADVANCED_DATAPATH") and at("networkPolicy.enabled") is not True,
        "NetworkPolicies have no effect: set datapathProvider to ADVANCED_DATAPATH (5.6.7)",
    )
    alpha = props.get("enableKubernetesAlpha") is True
    yield (
        not autopilot and not alpha and str(at("releaseChannel.channel")) in {"None", "UNSPECIFIED"},
        "no release channel upgrades it: set releaseChannel.channel (5.5.4)",
    )
    for kind in ("logging", "monitoring"):
        nothing = f"{kind}Config" in props and not at(f"{kind}Config.enableComponents")
        yield (
            at(f"{kind}Service") == "none" or nothing,
            f"it tells nothing of itself: set {kind}Config.enableComponents (5.7.1)",
        )
    yield at("networkingMode") == "ROUTES", "networkingMode is ROUTES: set it to VPC_NATIVE (5.6.2)"
    yield at("network") == "default", "network is default, which all share: name a network of its own"
    yield at("podSecurityPolicyConfig.enabled") is True, "podSecurityPolicyConfig no longer exists: leave it out"
    yield (
        at("addonsConfig.kubernetesDashboard.disabled") is False,
        "the dashboard is an open door: leave it out (5.10.1)",
    )
    yield props.get("allowNetAdmin") is True, "allowNetAdmin lets pods rule the node's network: leave it out"
    yield (
        at("networkConfig.serviceExternalIpsConfig.enabled") is True or at("serviceExternalIpsConfig.enabled") is True,
        "serviceExternalIpsConfig lets services take traffic of others (CVE-2020-8554): set enabled to false",
    )
    for key in ("Authenticated", "Unauthenticated"):
        yield (
            at(f"rbacBindingConfig.enableInsecureBindingSystem{key}") is True,
            f"rbacBindingConfig binds roles to everybody: set enableInsecureBindingSystem{key} to false (4.1.8)",
        )
    yield (
        at("anonymousAuthenticationConfig.mode") == "ENABLED",
        "anonymousAuthenticationConfig lets anybody ask the API server: set mode to LIMITED",
    )
    yield (
        at("databaseEncryption.state") == "DECRYPTED",
        "databaseEncryption is off: leave it out, or name a key (5.3.1)",
    )


def _reachable(props: Props) -> Iterator[str]:
    """Who reaches the API server's public address (5.6.3, 5.6.4)."""
    private = mapping(props.get("privateClusterConfig")).get("enablePrivateEndpoint") is True
    networks = props.get("masterAuthorizedNetworksConfig")
    endpoints = mapping(mapping(props.get("controlPlaneEndpointsConfig")).get("ipEndpointsConfig"))
    if networks is None and not private and endpoints.get("enabled") is not False:
        yield "its API server answers everybody: set masterAuthorizedNetworksConfig, an empty one for nobody (5.6.3)"
    if mapping(networks).get("gcpPublicCidrsAccessEnabled") is True:
        yield "gcpPublicCidrsAccessEnabled lets in whoever rents a machine of Google's: set it to false"
    for block in items(mapping(networks).get("cidrBlocks")):
        cidr = block.get("cidrBlock")
        if isinstance(cidr, str) and is_wide(cidr):
            yield f"masterAuthorizedNetworksConfig has {cidr}: name your own networks (5.6.3)"


def hardened_nodes(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Nodes run what Google signed, keep their metadata to themselves and are repaired."""
    if type_ != NODE_POOL:
        return
    nodes = mapping(props.get("nodeConfig"))
    shielded = mapping(nodes.get("shieldedInstanceConfig"))
    if shielded.get("enableIntegrityMonitoring") is False:
        yield "nodeConfig.shieldedInstanceConfig.enableIntegrityMonitoring is false: set it to true (5.5.6)"
    boot = shielded.get("enableSecureBoot")
    if boot is not True and not (_own_drivers(nodes) or is_unknown(boot)):
        yield "nodeConfig.shieldedInstanceConfig.enableSecureBoot is not true: set it to true (5.5.7)"
    mode = mapping(nodes.get("workloadMetadataConfig")).get("mode")
    if mode is not None and mode != "GKE_METADATA" and not is_unknown(mode):
        yield f"nodeConfig.workloadMetadataConfig.mode is {mode}: set it to GKE_METADATA (5.4.2)"
    if str(mapping(nodes.get("metadata")).get("disable-legacy-endpoints", True)).lower() != "true":
        yield "nodeConfig.metadata opens the legacy metadata endpoints: set disable-legacy-endpoints to true (5.4.1)"
    if str(mapping(nodes.get("kubeletConfig")).get("insecureKubeletReadonlyPortEnabled")).upper() == "TRUE":
        yield "nodeConfig.kubeletConfig opens a port: set insecureKubeletReadonlyPortEnabled to FALSE (3.2.4)"
    image = nodes.get("imageType")
    if isinstance(image, str) and not is_unknown(image) and image.upper() != "COS_CONTAINERD":
        yield f"nodeConfig.imageType is {image}: set it to COS_CONTAINERD (5.5.1)"
    if mapping(props.get("networkConfig")).get("enablePrivateNodes") is False:
        yield "networkConfig gives nodes public addresses: leave it out (5.6.5)"
    yield from _ways_in(nodes)


def _ways_in(nodes: Props) -> Iterator[str]:
    for key in ("startup-script", "user-data", "ssh-keys", "serial-port-enable"):
        if key in mapping(nodes.get("metadata")):
            yield f"nodeConfig.metadata has {key}, a way into the node: leave it out"
    if "linuxNodeConfig" in nodes:
        yield "nodeConfig.linuxNodeConfig changes the node under its pods: leave it out"
    containerd = nodes.get("containerdConfig")
    for key in mapping(containerd):
        if key != "registryHosts":
            yield f"nodeConfig.containerdConfig.{key} changes the node under its pods: leave it out"
    for registry in items(mapping(containerd).get("registryHosts")):
        for mirror in items(registry.get("hosts")):
            yield from _of_mirror(f"nodeConfig.containerdConfig.registryHosts {registry.get('server')}", mirror)


def _of_mirror(where: str, mirror: Props) -> Iterator[str]:
    """A mirror serves what has a digest; what it says of a tag is believed where nobody on the way can change it."""
    for key in mirror:
        if key not in {"host", "capabilities", "overridePath"}:
            yield f"{where} has {key}, by which the node trusts others: leave it out"
    able = mirror.get("capabilities")
    if is_unknown(able):
        return
    if not isinstance(able, list) or not able:
        yield f"{where}: a mirror without capabilities has all of them: name HOST_CAPABILITY_PULL"
        return
    for one in able:
        if one not in {_PULL, _RESOLVE} and not is_unknown(one):
            yield f"{where} has {one}: name {_PULL} alone, or with {_RESOLVE}"
    if _RESOLVE in able and not str(mirror.get("host")).startswith("https://") and not is_unknown(mirror.get("host")):
        yield f"{where}: {mirror.get('host')} says what tags mean, unencrypted: write https://"


def _own_drivers(nodes: Mapping[str, Any]) -> bool:
    """Whether others install the GPUs' drivers, which then are not signed."""
    found = [
        mapping(one.get("gpuDriverInstallationConfig")).get("gpuDriverVersion")
        for one in items(nodes.get("guestAccelerators"))
    ]
    return "INSTALLATION_DISABLED" in found


def upgraded_nodes(resources: Sequence[Declared], _stack: str) -> Iterator[tuple[Declared, str]]:
    """Nodes are upgraded and repaired, but for alpha clusters and those that come on request."""
    alpha = any(one.type == CLUSTER and one.props.get("enableKubernetesAlpha") is True for one in resources)
    for one in resources:
        if one.type != NODE_POOL or alpha:
            continue
        management = mapping(one.props.get("management"))
        if management.get("autoUpgrade") is False:
            yield one, "management.autoUpgrade is false: set it to true (5.5.3)"
        on_request = mapping(one.props.get("nodeConfig")).get("flexStart") or one.props.get("queuedProvisioning")
        if management.get("autoRepair") is False and not on_request:
            yield one, "management.autoRepair is false: set it to true (5.5.2)"


def closed_network(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Networks have the ranges that they are given, and let in nobody from the internet."""
    if type_ == "gcp:compute/network:Network" and props.get("autoCreateSubnetworks") is not False:
        yield "it makes a subnetwork in each region: set autoCreateSubnetworks to false"
    elif type_ == "gcp:compute/subnetwork:Subnetwork":
        if str(props.get("purpose", "PRIVATE")) == "PRIVATE" and props.get("privateIpGoogleAccess") is not True:
            yield "its nodes reach Google by the internet: set privateIpGoogleAccess to true (5.6.1)"
    elif type_ == "gcp:compute/firewall:Firewall":
        yield from _firewall(props)
    elif type_ == "gcp:compute/address:Address" and props.get("addressType") != "INTERNAL":
        yield "it is an address on the internet: set addressType to INTERNAL, or reserve it elsewhere"


def _firewall(props: Props) -> Iterator[str]:
    if props.get("direction") == "EGRESS":
        return
    named = texts(props.get("sourceRanges"))
    if not (named or props.get("sourceTags") or props.get("sourceServiceAccounts")) or any(map(is_wide, named)):
        yield "it lets in the whole internet: name your own networks in sourceRanges"
    for rule in items(props.get("allows")):
        if str(rule.get("protocol")) in {"all", "None"} or not rule.get("ports"):
            yield "it opens every port: name protocol and ports in allows"


def kept_apart(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Accounts, APIs and keys are the stack's own and nobody's else, and a registry keeps what is served."""
    if type_ == "gcp:artifactregistry/repository:Repository":
        for rule in items(props.get("cleanupPolicies")):
            condition = mapping(rule.get("condition"))
            if rule.get("action") == "DELETE" and condition.get("tagState") != "UNTAGGED":
                yield f"cleanup policy {rule.get('id')} deletes images that are served: set its tagState to UNTAGGED"
    elif type_ == "gcp:serviceaccount/account:Account" and props.get("createIgnoreAlreadyExists") is True:
        yield "it takes an account that others made: leave it out (createIgnoreAlreadyExists)"
    elif type_ == "gcp:projects/service:Service":
        for key in ("disableOnDestroy", "disableDependentServices"):
            if props.get(key) is True:
                yield f"{key} switches an API off for all of the project: set it to false"
    elif type_ == "gcp:kms/cryptoKey:CryptoKey" and props.get("skipInitialVersionCreation") is True:
        yield "the key comes from elsewhere: leave it out (skipInitialVersionCreation)"


def private_bucket(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A bucket is read by whom its roles name, and keeps what is in it."""
    if type_ != "gcp:storage/bucket:Bucket":
        return
    if props.get("uniformBucketLevelAccess") is not True:
        yield "objects have lists of their own: set uniformBucketLevelAccess to true"
    if props.get("publicAccessPrevention") != "enforced":
        yield "it can be made public: set publicAccessPrevention to enforced"
    if props.get("forceDestroy") is True:
        yield "forceDestroy deletes what is in it: leave it out"
