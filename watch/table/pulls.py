"""Pulls of images, and their mounts: the node and a registry.

A registry's refusal has many spellings: containerd 1.6 to 2.3 names the request and its status, Docker (old nodes, and
registries that pass its words on) and CRI-O have their own. The more special cause hides the more general one of the
same image, so that a 403 of VPC Service Controls is not told as a missing role.
"""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

_MOUNT = Topic.PULL | Topic.START
_WEIGHTS = Whose.MODEL | Whose.ADAPTER

_GOOGLES = r"(?=[\s\S]*(?:\bpkg\.dev|\bgcr\.io|-docker\.pkg\.dev))"
_HUBS = r"(?=[\s\S]*\bdocker\.(?:io|com)\b)"
_TOO_MANY = (
    r"(?:\b429 \(?[Tt]oo|(?:[Ss]tatus|code|Error)\W{0,3}429\b|: 429\b|[Tt]oo ?[Mm]any ?[Rr]equests|TOOMANYREQUESTS"
    r"|[Rr]ate (?:limit )?exceeded)"
)
_ANONYMOUS = r"failed to fetch anonymous token\S* [^\"]*\b40[13]\b|[Uu]nauthenticated requests? do"

_NOT_THERE = (
    r"(?<![\w./-])[\w.-]+(?::\d+)?/[\w./-]+(?:@sha256:[0-9a-f]+|:[\w.-]{1,128}): not found|manifest unknown"
    r"|MANIFEST_UNKNOWN|\b404 \(?Not Found|(?:status|code)\S{0,2} 404\b|manifest for \S+ not found"
    r"|image \S+:\S+ not found|[Tt]ag \S+ not found in repository|artifact \S+ not found"
)

_REFUSED = ("pull-forbidden", "pull-unauthorized", "pull-credentials-wrong", "node-credentials-missing")
_MISSING = ("digest-not-found", "server-image-not-found", "adapter-not-found", "image-not-found")
_SLOW = ("registry-unreachable", "pull-timeout", "registry-down")
_OF_TLS = ("registry-tls", *_SLOW)

_GOOGLE = (
    Row(
        "vpc-service-controls",
        r"(?:[Pp]rohibited by (?:the )?organi[sz]ation\W{0,3}s policy|vpcServiceControls|VPC Service Controls"
        r"|VPC_SERVICE_CONTROLS|SECURITY_POLICY_VIOLATED)"
        r"(?:[\s\S]*?UniqueI\w+\W{1,6}(?P<violation>[\w-]{3,}))?",
        "VPC Service Controls keep the node from the registry, and no role changes that: have both projects put into "
        "one perimeter, or the cluster's perimeter given an egress rule (the registry's an ingress rule) for "
        "artifactregistry.googleapis.com; `gcloud logging read "
        "'protoPayload.metadata.vpcServiceControlsUniqueId=\"{violation}\"' --project PROJECT` shows which rule it was",
        "https://cloud.google.com/vpc-service-controls/docs/troubleshooting",
        Topic.PULL,
        lasting=True,
        hides=(*_REFUSED, "organization-policy"),
    ),
    Row(
        "registry-api-off",
        r"(?:API has not been used in project (?P<project>[\w.:-]+)|SERVICE_DISABLED|accessNotConfigured"
        r"|API is not enabled|API \[[\w.]+\] not enabled)(?:[\s\S]*?apis/api/(?P<api>[a-z]+\.googleapis\.com))?",
        "an API of Google's is off in the project of the registry, which is no matter of roles: `gcloud services "
        "enable {api} --project {project}`, then wait a few minutes; with `registry.create.enableApis: true` `pulumi "
        "up` does it",
        "https://github.com/validator/validator/issues/1753",
        Topic.PULL,
        lasting=True,
        hides=_REFUSED,
    ),
    Row(
        "billing-off",
        r"billing account for the owning project|BILLING_DISABLED|requires billing to be enabled",
        "the registry's project has no billing account that pays: `gcloud billing projects link PROJECT "
        "--billing-account ACCOUNT`",
        "https://cloud.google.com/billing/docs/how-to/modify-project",
        Topic.PULL,
        lasting=True,
        hides=_REFUSED,
    ),
    Row(
        "node-scopes",
        r"insufficient (?:authentication|OAuth|access)[\w ]* scopes?|ACCESS_TOKEN_SCOPE_INSUFFICIENT"
        r"|access token has insufficient scopes",
        "the access scopes of the node leave out the registry, whatever roles its account has, and cannot be changed: "
        "the pools that this stack makes have cloud-platform, so make {setting} one of them (without "
        "`nodePools.NAME.existing`), or make the pool anew with `gcloud container node-pools create … --scopes "
        "cloud-platform`",
        "https://cloud.google.com/kubernetes-engine/docs/how-to/access-scopes",
        Topic.PULL,
        lasting=True,
        hides=_REFUSED,
    ),
    Row(
        "organization-policy",
        r"(?:disallowed by [\w' ]{0,40})?constraints/(?P<constraint>[\w.]+)|disallowed by (?:the "
        r"|your )?organi[sz]ation",
        "an organization policy ({constraint}) keeps Artifact Registry from being used there: have the registry's "
        "project exempted, or copy the image to a project that may (`oms image copy`)",
        "https://cloud.google.com/resource-manager/docs/organization-policy/restricting-resources",
        Topic.PULL,
        lasting=True,
        hides=_REFUSED,
    ),
    Row(
        "node-credentials-missing",
        rf"^{_GOOGLES}[\s\S]*?(?:{_ANONYMOUS}|401 Unauthorized|status: 401|you may have invalid credentials"
        r"|no basic auth credentials|authorization failed|authentication required|no pull access|pull access denied)",
        "Google got no valid credentials with the node's request. Nodes ask as their account: see that it is there "
        "and on (`gcloud iam service-accounts describe EMAIL`), and that no entry of `pullSecrets` for {host} holds a "
        "token that has expired, which goes before it. {grant}",
        "https://github.com/docker/login-action/issues/606",
        Topic.PULL,
        lasting=True,
        hides=("pull-forbidden", "pull-unauthorized", "pull-credentials-wrong"),
    ),
)

_CREDENTIALS = (
    Row(
        "credential-provider-failed",
        r"credential provider plugin|execing credential provider|[Ff]ailed to get credentials (?:for|from)"
        r"|failed to get service account token",
        "the kubelet's credential provider fails on this node, so that it asks without credentials: take the node "
        "away, `kubectl drain {node} --ignore-daemonsets --delete-emptydir-data` and `kubectl delete node {node}`, or "
        "give credentials for {host} in `pullSecrets`",
        "kubelet 1.35, pkg/credentialprovider/plugin/plugin.go",
        _MOUNT,
        hides=("pull-forbidden", "pull-unauthorized", "node-credentials-missing"),
    ),
    Row(
        "pull-token-expired",
        r"(?i:token (?:has |is |was )?(?:already )?expired|expired (?:access |bearer |jwt )?token|ExpiredToken"
        r"|token expired|security token (?:included in the request )?is invalid"
        r"|credentials? (?:have|has) expired)",
        "the token of the entry of `pullSecrets` for {host} has expired: write a new one with `pulumi config set "
        "--secret --path 'pullSecrets.NAME.password'` and `pulumi up`, best one that lasts (those of Amazon ECR last "
        "12 hours, Google's access tokens one)",
        "https://github.com/fluxcd/image-reflector-controller/issues/71",
        Topic.PULL,
        lasting=True,
        hides=_REFUSED,
    ),
    Row(
        "pull-credentials-wrong",
        r"failed to fetch oauth token\S* (?!\S*pkg\.dev)[^\"]*\b401\b|(?i:incorrect username or password"
        r"|invalid username(?:/| or )password|denied: denied|bad credentials|login failed|unable to parse json key"
        r"|too many failed login attempts|illegal base64 data|unable to (?:parse|decode) docker ?config"
        r"|invalid (?:json key|access token|registry token))",
        "{host} does not take the credentials of its entry in `pullSecrets`: correct username and password (`pulumi "
        "config set --secret --path 'pullSecrets.NAME.password'`; a key of Google's has the username _json_key) and "
        "`pulumi up`; with KubeAI then delete the failed pods",
        "https://gitlab.com/gitlab-org/charts/gitlab-runner/-/issues/509",
        Topic.PULL,
        lasting=True,
        hides=("pull-forbidden", "pull-unauthorized", "docker-hub-limit", "registry-busy"),
    ),
    Row(
        "pull-forbidden",
        r"403 Forbidden|\b403\b \(Forbidden\)|status(?: code|Code)?\S{0,2} 403\b|PERMISSION_DENIED|denied: Permission"
        r"|Permission \S+ denied on resource|is not authorized to perform: ecr:"
        r"|requested access to the resource is denied"
        r"|: Forbidden\b|HTTP 403 response|\bStatus 403\b|[Ss]erver error: 403\b|(?<!ermission )\b(?:denied"
        r"|DENIED): (?!unknown)",
        "{grant}",
        "tests/watch/statuses/forbidden-artifact-registry.json",
        Topic.PULL,
        lasting=True,
        hides=("no-registry-there",),
    ),
    Row(
        "pull-unauthorized",
        rf"{_ANONYMOUS}|401 Unauthorized|(?:status|code)\S* 401\b|: 401\b|authorization failed"
        rf"|no basic auth credentials"
        r"|pull access denied|authentication required|not authorized\b(?! to perform)|(?i:unauthorized)(?=[:\s\"]|$)"
        r"|permission_denied: read_package|does not exist or no pull access|\b401 Authorization Required"
        r"|(?m:: denied[\"\s]*$)",
        "{host} wants credentials that the node does not have, and says the same of what does not exist: compare the "
        "name in {named}, and add an entry for {host} to `pullSecrets` (`pulumi config set --secret --path "
        "'pullSecrets.NAME.password'`) and `pulumi up`; with KubeAI then delete the failed pods",
        "tests/watch/statuses/no-credentials.json",
        Topic.PULL,
        lasting=True,
        hides=("pull-forbidden",),
    ),
    Row(
        "pull-secret-missing",
        r"Unable to retrieve some image pull secrets \((?P<pull_secrets>[^)]{1,500})\)",
        "the Secret {pull_secrets} is not in the namespace {namespace}: `pulumi up --refresh` makes those of "
        "`pullSecrets` again",
        "https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/",
        beside=(*_REFUSED, "pull-token-expired"),
    ),
)

_LIMITS = (
    Row(
        "docker-hub-limit-of-account",
        r"pull rate limit as '?(?P<user>[^':\s]+)",
        "Docker Hub's limit of pulls for the account {user} of the entry in `pullSecrets` is used up: wait up to six "
        "hours, give an account with a higher one, or take the image from elsewhere: {elsewhere}",
        "https://docs.docker.com/docker-hub/usage/pulls/",
        Topic.PULL,
        hides=("docker-hub-limit", "registry-busy"),
    ),
    Row(
        "docker-hub-limit",
        rf"^{_HUBS}[\s\S]*?{_TOO_MANY}|reached your (?:unauthenticated )?pull rate limit",
        "Docker Hub's limit of pulls without an account is used up, for all nodes behind the same address: "
        "{elsewhere}; or add an entry of `pullSecrets` with `server: docker.io`; by itself it passes within six hours",
        "https://github.com/namespacelabs/foundation/issues/846",
        Topic.PULL,
        hides=("registry-busy", "no-registry-there", "digest-not-found"),
    ),
    Row(
        "registry-quota",
        rf"Quota exceeded for quota metric|RESOURCE_EXHAUSTED|^{_GOOGLES}[\s\S]*?{_TOO_MANY}",
        "the quota of requests to artifactregistry.googleapis.com is used up, which is counted by the minute, project "
        "and region: the node tries again by itself; where many nodes start at once raise that quota in the console, "
        "or use `models.NAME.warm: disk`",
        "https://github.com/kubernetes-sigs/kueue/issues/11414",
        Topic.PULL,
        hides=("registry-busy", "docker-hub-limit", "no-registry-there"),
    ),
    Row(
        "registry-busy",
        _TOO_MANY,
        "{host} takes no more requests of these nodes for now: the node tries again by itself; where it lasts, give "
        "credentials in `pullSecrets`, for which most registries allow more, or {elsewhere}",
        "https://github.com/kubernetes/kubernetes/issues/9534",
        Topic.PULL,
        hides=("no-registry-there",),
    ),
    Row(
        "kubelet-pull-limit",
        r"pull QPS exceeded",
        "the kubelet asks for no more than five images a second, and tries again by itself: wait",
        "https://github.com/Azure/AKS/issues/3138",
        Topic.PULL,
    ),
)

_ROAD = (
    Row(
        "registry-name-unknown",
        r"lookup (?P<looked_up>[\w.-]+)(?: on \S+)?: (?:no such host|server misbehaving|read udp|dial udp|i/o timeout"
        r"|[Tt]emporary failure|device or resource busy)|no such host|server misbehaving|[Tt]emporary failure in name"
        r"|Name or service not known|[Cc]ould not resolve host",
        "the node cannot find the address of {looked_up}: check the host in {named}, and the DNS of the network "
        "(private zones for pkg.dev and gcr.io as well, `gcloud dns managed-zones list`)",
        "https://github.com/hjacobs/kube-ops-view/issues/176",
        Topic.PULL,
        hides=_OF_TLS,
    ),
    Row(
        "registry-plain-http",
        r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake"
        r"|[Ww]rong version number",
        "{host} speaks plain HTTP, and nodes ask by HTTPS: put TLS before it, or take the image from a registry that "
        "has it: {elsewhere}; on nodes of your own containerd can be told so (`certs.d/HOST/hosts.toml`)",
        "https://github.com/enix/kube-image-keeper/issues/60",
        Topic.PULL,
        lasting=True,
        hides=_OF_TLS,
    ),
    Row(
        "registry-wants-https",
        r"[Cc]lient sent an HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS port",
        "the node asks {host} by plain HTTP, and it speaks HTTPS: on that node containerd is told so "
        "(`certs.d/HOST/hosts.toml`, or a mirror): take that out, or name the port of plain HTTP in {named}",
        "https://github.com/containerd/containerd/issues/3847",
        Topic.PULL,
        lasting=True,
        hides=(*_OF_TLS, "no-registry-there", "registry-refuses"),
    ),
    Row(
        "registry-certificate-expired",
        r"certificate has expired or is not yet valid|certificate (?:has |is )?expired",
        "the certificate of {host} has expired (or the node's clock is wrong): its owner renews it; until then "
        "{elsewhere}",
        "https://github.com/GoogleCloudPlatform/horizon-sdv/issues/8",
        Topic.PULL,
        lasting=True,
        hides=("registry-ca-unknown", *_OF_TLS),
    ),
    Row(
        "registry-certificate-wrong-host",
        r"certificate is valid for (?P<valid_for>[^:\"]+?), not |certificate is not valid for any names"
        r"|contain any IP SANs"
        r"|relies on legacy Common Name|cannot validate certificate for",
        "what answers for {host} shows the certificate of {valid_for}: the name in {named} must be one of the "
        "certificate's, else a proxy or an ingress answers in its place",
        "https://github.com/moby/moby/issues/39505",
        Topic.PULL,
        lasting=True,
        hides=("registry-ca-unknown", *_OF_TLS),
    ),
    Row(
        "registry-ca-unknown",
        r"signed by unknown authority|unable to get local issuer certificate|self[- ]signed certificate"
        r"|certificate is not trusted",
        "nodes do not know who signed the certificate of {host}: on GKE give the pool that authority's, `gcloud "
        "container node-pools update POOL --cluster CLUSTER --containerd-config-from-file FILE` "
        "(privateRegistryAccessConfig), or take the image from a registry with a public one: {elsewhere}",
        "https://github.com/containerd/containerd/issues/6097",
        Topic.PULL,
        lasting=True,
        hides=_OF_TLS,
    ),
    Row(
        "registry-client-certificate",
        r"tls: (?:certificate required|bad certificate)|client didn't provide a certificate",
        "{host} asks the nodes for a certificate of their own, which nodes of GKE do not have: take the image from a "
        "registry that does not: {elsewhere}",
        "https://github.com/containerd/containerd/pull/13203",
        Topic.PULL,
        lasting=True,
        hides=_OF_TLS,
    ),
    Row(
        "registry-tls",
        r"x509:|remote error: tls|tls: (?:failed|handshake failure|protocol version|internal error|unrecognized)",
        "the node and {host} find no common TLS: see with `openssl s_client -connect HOST:443` what answers there",
        "Go 1.24, crypto/tls",
        Topic.PULL,
        hides=_SLOW,
    ),
    Row(
        "registry-unreachable",
        r"dial tcp|no route to host|network is unreachable|connection refused|connection timed out"
        r"|TLS handshake timeout"
        r"|request canceled while waiting for connection|Client\.Timeout exceeded|proxyconnect|407 Proxy"
        r"|Network timed out while trying to connect|pinging container registry [^\"]*timeout",
        "the node cannot reach {host}: private nodes need Private Google Access (for pkg.dev and gcr.io) or Cloud NAT "
        "(`cluster.create.newNetwork.nat: true`) for all others, and no firewall in between; check the host in {named}",
        "tests/watch/statuses/registry-unreachable.json",
        Topic.PULL,
        hides=("pull-timeout", "registry-down", "pull-interrupted"),
    ),
    Row(
        "registry-down",
        r"\b5\d\d \(?(?:Internal Server Error|Bad Gateway|Service (?:Temporarily )?Unavailable|Gateway Time-?out"
        r"|Server Error|<none>)|HTTP status\S* 5\d\d\b|[Ss]erver error: 5\d\d\b|: (?:Internal Server Error|Bad Gateway"
        r"|Service Unavailable|Gateway Time-?out)\b|status(?: code)?[^\"\n]{0,250}: 5\d\d\b"
        r"|code from registry 5\d\d\b"
        r"|(?:UNAVAILABLE|unavailable): (?:service|The service|please)|RegistryUnavailable",
        "{host} is overloaded or down: the node tries again by itself, at most every five minutes, so wait and see "
        "its status page; where it lasts, {elsewhere}",
        "https://github.com/oauth2-proxy/oauth2-proxy/issues/3395",
        Topic.PULL,
        hides=("no-registry-there",),
    ),
    Row(
        "registry-refuses",
        r"(?:status(?: code)?|HTTP status)[^\"\n]{0,250}: 4(?:00|0[5-9]|1\d|2[0-8]|31|51)\b|\b400 Bad Request"
        r"|StatusCode: 4\d\d",
        "{host} finds the node's request wrong, which is mostly a proxy or mirror in between that does not speak a "
        "registry's language: take it out, or name the registry itself in {named}",
        "https://github.com/ciiiii/cloudflare-docker-proxy/issues/98",
        Topic.PULL,
    ),
    Row(
        "no-registry-there",
        r"invalid character '<' looking for beginning of value|unexpected (?:media|content) ?type \"?text/html"
        r"|<!DOCTYPE html",
        "what answers at {host} is a web page and no registry: check host and port in {named}, and whether a proxy "
        "stands in between",
        "https://github.com/containers/podman.io_old/issues/135",
        Topic.PULL,
        hides=("artifact-not-image", *_MISSING),
    ),
    Row(
        "pull-interrupted",
        r"unexpected EOF|: EOF\b|connection reset by peer|broken pipe|client connection lost|stream error|GOAWAY"
        r"|bad record MAC|use of closed network connection|failed to read expected number of bytes|short read\b"
        r"|INTERNAL_ERROR",
        "the connection to {host} broke in the middle of a layer: the node tries again by itself; where it happens "
        "again and again, see the limits of Cloud NAT or of a proxy in between, or have the image in the nodes' "
        "region ({elsewhere})",
        "https://github.com/containerd/containerd/issues/10035",
        Topic.PULL,
        hides=("registry-refuses",),
    ),
    Row(
        "pull-timeout",
        r"context deadline exceeded|DeadlineExceeded|context canceled|request canceled"
        r"|timeout awaiting response headers"
        r"|read tcp [^\"]*i/o timeout|i/o timeout",
        "the pull from {host} stood still until the node gave it up, and it tries again by itself: the registry is "
        "far or the disk is slow, so have the image in the nodes' region ({elsewhere}), a faster "
        "{setting}.bootDisk.type, or `models.NAME.warm: disk`",
        "https://github.com/kubernetes/minikube/issues/15626",
        Topic.PULL,
    ),
)

_POLICIES = (
    Row(
        "registry-payment",
        r"402 Payment Required",
        "{host} gives this image to paying accounts only, and that of the entry in `pullSecrets` is none: get its "
        "licence there, or name another image in {named}",
        "https://github.com/NVIDIA/k8s-nim-operator/issues/491",
        Topic.PULL,
        lasting=True,
    ),
    Row(
        "registry-firewall",
        r"client with IP \S+ is not allowed access|aka\.ms/acr/firewall|IP (?:address )?\S+ is not (?:allowed"
        r"|in the allow ?list)"
        r"|IP allow ?list",
        "the firewall of {host} does not let the nodes' address in: have the addresses of Cloud NAT allowed there "
        "(`gcloud compute routers get-nat-mapping-info ROUTER`), or {elsewhere}",
        "https://github.com/Azure/acr/issues/633",
        Topic.PULL,
        lasting=True,
        hides=_REFUSED,
    ),
    Row(
        "image-not-resolved",
        r"failed to resolve image to digest",
        "Knative's controller asks the registry which digest a tag stands for, and got no answer, for reasons of its "
        "own network or credentials: name {server} by digest (`oms pin` writes it), so that it has nothing to ask",
        "https://github.com/kserve/kserve/issues/1919",
        hides=_SLOW,
    ),
    Row(
        "registry-policy",
        r"cannot be pulled due to configured policy|PROJECTPOLICYVIOLATION|PROJECT_POLICY_VIOLATION"
        r"|not signed in Notary"
        r"|[Bb]locked by (?:Xray|policy|a policy)|download request rejected|download blocking policy",
        "a policy of {host} keeps the image from being pulled, for what a scan found, or since none has run yet: its "
        "owner exempts it or fixes it, or name another version in {named}",
        "https://github.com/goharbor/harbor/issues/19983",
        Topic.PULL,
        hides=(*_REFUSED, *_MISSING),
    ),
    Row(
        "signature-refused",
        r"SignatureValidationFailed|A signature was required|Source image rejected|signature validation failed",
        "the node's own policy wants a signature that the image does not have: sign it (`oms image sign`, "
        "`registry.sign.key`), or change that policy of the nodes",
        "https://github.com/containers/image/issues/1953",
        Topic.PULL,
        lasting=True,
    ),
)

_CONTENT = (
    Row(
        "wrong-platform",
        r"no match for platform in manifest|no matching manifest for|exec format error"
        r"|does not match the (?:specified|detected)"
        r" platform|no image found in (?:manifest list|image index)|no manifest found for platform",
        "the image was built for another architecture than the node's: build it for that of the node "
        "(`models.NAME.platform`: linux/amd64 if nothing is said, linux/arm64 for Arm)",
        "tests/watch/statuses/wrong-platform.json",
        whose=_WEIGHTS,
        lasting=True,
        hides=("image-volume-not-mounted", *_MISSING),
    ),
    Row(
        "server-wrong-platform",
        r"no match for platform in manifest|no matching manifest for|exec format error"
        r"|does not match the (?:specified|detected)"
        r" platform|no image found in (?:manifest list|image index)|no manifest found for platform",
        "this image is not there for the architecture of the node: take one that is, in {named}, or a pool of "
        "machines that it is for (`{setting}.machineType`)",
        "https://github.com/FoundationDB/fdb-kubernetes-operator/issues/2294",
        whose=Whose.SERVER | Whose.OTHER,
        lasting=True,
        hides=_MISSING,
    ),
    Row(
        "image-schema-1",
        r"manifest\.v1\+(?:prettyjws|json)|V1 container registry|unsupported schema version 1|schema v1 unsupported"
        r"|(?i:schema ?(?:version )?1\b[^\"]{0,60}(?:support|deprecat|removed))",
        "the image is of Docker's first format (of before 2017), which containerd 2.1 no longer reads: name a newer "
        "version in {named}, or push it again with a tool of today",
        "https://github.com/moby/moby/issues/44521",
        Topic.PULL,
        lasting=True,
        hides=("layer-missing", "artifact-not-image", *_MISSING),
    ),
    Row(
        "artifact-not-image",
        r"mismatched image rootfs and manifest layers|number of layers and diffIDs don't match"
        r"|layers from manifest don't match image configuration|(?i:unsupported media ?type)"
        r"|unexpected media type \"?application/|vnd\.oci\.empty|vnd\.cncf\.model|vnd\.kitops|vnd\.docker\.ai"
        r"|encountered unknown type",
        "it is an artifact (ModelPack, KitOps, ORAS) and no image, and containerd mounts and runs images only: `oms "
        "image repack {image} HOST/REPO:TAG` makes an image of the same weights, whose digest goes into {named}",
        "https://github.com/deislabs/containerd-wasm-shims/issues/191",
        _MOUNT,
        lasting=True,
        hides=("image-volume-not-mounted", *_MISSING),
    ),
    Row(
        "layer-missing",
        r"BLOB_UNKNOWN|blob unknown|unknown blob|content at \S+ not found"
        r"|could not fetch content descriptor [^\"]*not found"
        r"|/blobs/sha256:[0-9a-f]+\S*: 404",
        "{host} has the image's name, but has lost a part of it (a cleanup, or a copy that broke off): {again}",
        "https://github.com/docker/hub-feedback/issues/2039",
        Topic.PULL,
        lasting=True,
        hides=_MISSING,
    ),
    Row(
        "layer-corrupt",
        r"failed size validation|unexpected commit (?:digest|size)|crc32 mismatch|invalid checksum(?! digest)"
        r"|wrong diff id"
        r"|does not match config's DiffID|filesystem layer verification failed|digest (?:mismatch|verification failed)"
        r"|gzip: invalid|flate: corrupt|magic number mismatch",
        "what arrived is not what the image's digest names. On one node: `kubectl delete pod {pod} -n {namespace}`, "
        "the pull starts anew. On all: a proxy or mirror changes it (its cache is to be emptied; Docker Hub's limit "
        "of pulls can look like this, too), or it lies wrong in the registry: {again}",
        "https://github.com/containerd/containerd/issues/11925",
        Topic.PULL,
        hides=("artifact-not-image", "image-volume-not-mounted"),
    ),
    Row(
        "layer-unreadable",
        r"archive/tar: |invalid tar header|unsupported compression|unknown compression",
        "the node's containerd cannot read a layer: it is no tar, or compressed in a way that is newer than it "
        "(zstd): upgrade the pool, or for weights build the image with `oms image pack` or `oms image repack`",
        "https://github.com/home-operations/containers/issues/1177",
        Topic.PULL,
        lasting=True,
    ),
    Row(
        "layer-not-unpacked",
        r"(?:failed to (?:extract|register|apply) layer|adding layer with blob|ApplyLayer|mount callback failed"
        r"|failed to unpack image)[\s\S]{0,400}?(?:operation not permitted"
        r"|[Pp]ermission denied|directory not empty|not a directory|no such file or directory|file exists"
        r"|file name too long"
        r"|invalid argument|operation not supported|not implemented|path escapes from parent|signal: killed)",
        "the node's runtime cannot lay down a file of the image, though it has all of it: `kubectl delete pod {pod} "
        "-n {namespace}` tries once more; where all nodes say the same, the image holds files that this runtime does "
        "not take (devices, rights, links in a folder's place): upgrade the pool, or for weights `oms image repack`, "
        "or name another version in {named}",
        "https://github.com/ansible/creator-ee/issues/84",
        _MOUNT,
        hides=("layer-missing", "image-volume-not-mounted"),
    ),
    Row(
        "too-many-layers",
        r"max depth exceeded|too many layers|mount options is too long|argument list too long",
        "the image has more layers than the node can lay over each other (about 125): for weights raise "
        "`models.NAME.files.shardGb`, or `oms image repack`; another one is to be built with fewer steps",
        "https://github.com/pivotal/docs-tap/pull/1531",
        _MOUNT,
        lasting=True,
    ),
    Row(
        "node-image-store-broken",
        r"^(?![\s\S]*no space left)[\s\S]*?(?:failed to prepare extraction snapshot|parent snapshot \S+ does not exist"
        r"|failed to stat parent|layer (?:\S+ )?(?:does not exist|not known)|image not known"
        r"|does not resolve to an image ID|failed to get image (?:diffIDs|information)"
        r"|failed to get reader from content store|content digest sha256:\S+: not found|expected at /var/lib/"
        r"|lease \S+ (?:not found|does not exist)"
        r"|layerdb/|(?:\bunpack|\bextract|\blayer|tmpmounts|snapshotter)[\s\S]{0,400}?(?:[Ii]nput/output error"
        r"|[Ss]tructure needs cleaning"
        r"|[Rr]ead-only file system))",
        "the store of images on the node {node} is broken, not the image: `kubectl delete pod {pod} -n {namespace}` "
        "tries once more; where it says the same again, take the node away: `kubectl drain {node} --ignore-daemonsets "
        "--delete-emptydir-data` and `kubectl delete node {node}`",
        "https://github.com/containerd/containerd/issues/12302",
        _MOUNT,
        hides=("layer-missing", "layer-not-unpacked", "image-volume-not-mounted", *_MISSING),
    ),
    Row(
        "image-streaming",
        r"\bgcfs|[Rr]iptide|[Ii]mage ?[Ss]treaming",
        "GKE's image streaming cannot serve the image: set `{setting}.imageStreaming: false`, so that the node pulls "
        "it whole, or see its requirements (containerfilesystem.googleapis.com on, Private Google Access)",
        "https://github.com/berkeley-dsep-infra/datahub/issues/2958",
        _MOUNT,
        hides=("node-image-store-broken", "registry-unreachable", "registry-down", "pull-timeout"),
    ),
)

_NAMES = (
    Row(
        "repository-not-found",
        r"NAME_UNKNOWN|name unknown|unknown: (?:project|repository) \S+ not found"
        r"|[Rr]epository \"?[\w./-]+\"? not found(?!: does not exist or no pull)"
        r"|repository name not known to registry"
        r"|repository with name \S+ does not exist|RepositoryNotFound",
        "{host} has no repository {repository}: check the name in {named}, and the project and region in it",
        "https://github.com/fabric8io/docker-maven-plugin/issues/369",
        Topic.PULL,
        lasting=True,
        hides=_MISSING,
    ),
    Row(
        "digest-tag-not-found",
        r":digest-sha256-(?P<hex>[0-9a-f]{64})[^\"]{0,4}: (?:not found|manifest unknown)|manifests/digest-sha256-"
        r"(?P<hex2>[0-9a-f]{64})\S*: 404",
        "{repository} has no tag that spells the digest, by which KubeAI pulls: `oms image tag "
        "{repository}@sha256:{hex}` writes it, or `pulumi up`; where that finds no image either, build it again",
        "docs/mirrors.md: a copy by another tool does not write it",
        Topic.PULL,
        Whose.MODEL,
        lasting=True,
        hides=("digest-not-found",),
    ),
    Row(
        "digest-not-found",
        _NOT_THERE,
        "the digest is not in {repository}: see `oms image inspect REF`; build it again with `pulumi up`, and see "
        "whether a cleanup policy without a keep rule for tags digest-… deleted it",
        "tests/watch/statuses/digest-not-found-volume.json",
        Topic.PULL,
        Whose.MODEL,
        lasting=True,
    ),
    Row(
        "server-image-not-found",
        _NOT_THERE,
        "the server's image {image} is not there, which is no matter of the model's: name a version that is, in "
        "{named}; `oms pin` writes it by digest",
        "tests/watch/statuses/digest-not-found.json",
        Topic.PULL,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "adapter-not-found",
        _NOT_THERE,
        "the image {image} of an adapter is not there, which is no matter of the model's: see `oms image inspect "
        "{image}`, and build it again with `pulumi up`, or name another in {named}",
        "docs/serving.md: adapters are image volumes of the pod",
        Topic.PULL,
        Whose.ADAPTER,
        lasting=True,
    ),
    Row(
        "image-not-found",
        _NOT_THERE,
        "the image {image} is not there: it is neither the model's nor the server's, so ask {named}",
        "https://github.com/kubernetes-sigs/kube-network-policies/issues/307",
        Topic.PULL,
        Whose.OTHER,
        lasting=True,
    ),
    Row(
        "image-name-invalid",
        r"InvalidImageName|invalid reference format|couldn't parse image (?:reference|name)"
        r"|Failed to apply default image tag|invalid checksum digest|unsupported digest algorithm"
        r"|short-name \S+ did not resolve|short[- ]name mode is enforcing|short-name resolution|returns ambiguous list"
        r"|NAME_INVALID|name invalid"
        r"|no registries configured while trying to pull an unqualified",
        "the name of the image is none that nodes can ask for: write HOST/PATH:TAG or HOST/PATH@sha256:… (at Google "
        "HOST/PROJECT/REPOSITORY/IMAGE) in lower case, without https://, and nothing empty behind the colon, in "
        "{named}",
        "https://github.com/jupyterhub/zero-to-jupyterhub-k8s/issues/472",
        Topic.PULL | Topic.START,
        lasting=True,
        hides=("node-runtime-down",),
    ),
    Row(
        "image-never-pulled",
        r"ErrImageNeverPull|not present with pull policy of Never",
        "the pod may not pull the image (pull policy Never) and its node has none that it may use: nothing here "
        "writes that policy, so `pulumi up --refresh` takes it out, or see which webhook writes it (`kubectl get "
        "mutatingwebhookconfigurations`)",
        "kubelet 1.35, pkg/kubelet/images/image_manager.go",
        Topic.PULL,
        lasting=True,
        hides=("node-runtime-down",),
    ),
    Row(
        "node-runtime-down",
        r"ImageInspectError|Failed to inspect image|dial unix \S*/(?:containerd|crio|dockershim|cri-dockerd)\.sock"
        r"|container runtime is down|unknown service runtime\.v1",
        "the container runtime of the node {node} does not answer the kubelet: it may pass; else take the node away: "
        "`kubectl drain {node} --ignore-daemonsets --delete-emptydir-data` and `kubectl delete node {node}`",
        "https://github.com/kubernetes-sigs/cluster-api-provider-kubemark/issues/22",
        hides=("pull-timeout", "registry-down", "registry-unreachable", "disk-too-small"),
    ),
)

_MOUNTS = (
    Row(
        "no-shell",
        r"exec: \"(?:sh|/bin/sh)\": (?:executable file not found|stat /bin/sh: no such file)"
        r"|executable file `(?:/bin/)?sh` not found|sh: (?:\d+: )?(?:ln|sleep): (?:not found|applet not found)",
        "the image has no shell, which the modelcar sidecar needs: build it on a base with one (`models.NAME.base: "
        "docker.io/library/busybox@sha256:…`, the default), or set `models.NAME.delivery: native`",
        "tests/watch/statuses/no-shell.json",
        whose=Whose.MODEL,
        lasting=True,
    ),
    Row(
        "no-models-folder",
        r"modelcar is invalid|failed to ensure image subpath \"models\"|only directory subpath is supported"
        r"|[Ss]ub ?[Pp]ath \"?models\"? does not exist",
        "the image holds no /models folder: it was not packed by this project; build it with `oms image pack` or from "
        "`models.NAME.source`",
        "tests/watch/statuses/no-models-folder-native.json",
        hides=("image-volume-not-mounted",),
    ),
    Row(
        "modelcar-killed",
        r"^(?!OOMKilled)\w* \(exit code 137\)",
        "the modelcar was killed from outside, mostly for memory, of which it has {memory}: set "
        "`platforms.kserve.modelcar.memory: {modelcar_memory}`, and see in `kubectl describe node {node}` whether the "
        "node itself is short of it",
        "https://github.com/kubernetes/kubernetes/issues/19825",
        Topic.ENGINE,
        Whose.MODEL,
    ),
    Row(
        "image-volume-off",
        r"volumes\[\d+\]\S*: Required value: must specify a volume type|no volume plugin matched"
        r"|not allowed (?:in|for) image volume",
        "the cluster does not know image volumes, which are on from Kubernetes 1.35 on: raise "
        "`cluster.create.version` (and upgrade the pool), or set `models.NAME.delivery: modelcar`",
        "kube-apiserver 1.35, pkg/apis/core/validation: the field of a gate that is off is dropped",
        hides=("image-volume-refused",),
    ),
    Row(
        "image-volume-refused",
        r"image volumes? (?:is|are) not supported|failed to mkdir \"\": mkdir",
        "the node's runtime cannot mount the image as a volume: containerd 2.1 or newer, and no GKE Sandbox (gVisor); "
        "upgrade the node pool, or set `models.NAME.delivery: modelcar`",
        "https://github.com/kubernetes-sigs/kind/issues/3745",
        _MOUNT,
    ),
    Row(
        "image-volume-not-mounted",
        r"^(?![\s\S]*no space left)[\s\S]*?(?:ImageVolumeMountFailed|failed to mount image volume)",
        "the node's runtime mounts images as volumes, but not this one: `kubectl delete pod {pod} -n {namespace}` "
        "tries once more; where it says the same again, take the node away (`kubectl drain {node} --ignore-daemonsets "
        "--delete-emptydir-data` and `kubectl delete node {node}`), or set `models.NAME.delivery: modelcar`",
        "https://github.com/containerd/containerd/issues/13534",
        _MOUNT,
        hides=("image-not-found", "digest-not-found", "adapter-not-found"),
    ),
)

ROWS = (*_GOOGLE, *_CREDENTIALS, *_LIMITS, *_POLICIES, *_CONTENT, *_NAMES, *_ROAD, *_MOUNTS)
