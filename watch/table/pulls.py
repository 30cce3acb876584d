"""Pulls of images, and their mounts: the node and a registry."""

from watch.complaints import Topic
from watch.table.row import Row

_MOUNT = Topic.PULL | Topic.START

ROWS = (
    Row(
        "pull-forbidden",
        r"403 Forbidden|PERMISSION_DENIED|denied: Permission",
        "{grant}",
        "tests/watch/statuses/forbidden-artifact-registry.json",
        Topic.PULL,
        lasting=True,
    ),
    Row(
        "pull-unauthorized",
        r"401 Unauthorized|authorization failed|no basic auth credentials|pull access denied",
        "the registry wants credentials that the node does not have: add the host to `pullSecrets` "
        "(`pulumi config set --secret`) and `pulumi up`; with KubeAI then delete the failed pods",
        "tests/watch/statuses/no-credentials.json",
        Topic.PULL,
        lasting=True,
    ),
    Row(
        "wrong-platform",
        r"no match for platform in manifest|exec format error",
        "the image was built for another architecture than the node's: build it for that of the node "
        "(`models.NAME.platform`: linux/amd64 if nothing is said, linux/arm64 for Arm)",
        "tests/watch/statuses/wrong-platform.json",
        lasting=True,
        hides=("digest-not-found",),
    ),
    Row(
        "digest-not-found",
        r": not found|manifest unknown|404 Not Found",
        "the digest is not in {repository}: see `oms image inspect REF`; build it again with `pulumi up`, and see "
        "whether a cleanup policy without a keep rule for tags digest-… deleted it",
        "tests/watch/statuses/digest-not-found.json",
        Topic.PULL,
        lasting=True,
    ),
    Row(
        "registry-unreachable",
        r"dial tcp|no such host|i/o timeout|TLS handshake timeout|connection refused|x509:",
        "the node cannot reach the registry: private nodes need Private Google Access (for pkg.dev) or Cloud NAT; "
        "check the host's name in the image's reference",
        "tests/watch/statuses/registry-unreachable.json",
        Topic.PULL,
    ),
    Row(
        "no-shell",
        r'exec: "(?:sh|/bin/sh)": (?:executable file not found|stat /bin/sh: no such file)',
        "the image has no shell, which the modelcar sidecar needs: build it on a base with one "
        "(`models.NAME.base: docker.io/library/busybox@sha256:…`, the default), or set `models.NAME.delivery: native`",
        "tests/watch/statuses/no-shell.json",
    ),
    Row(
        "no-models-folder",
        r"modelcar is invalid|failed to ensure image subpath \"models\"",
        "the image holds no /models folder: it was not packed by this project; build it with "
        "`oms image pack` or from `models.NAME.source`",
        "tests/watch/statuses/no-models-folder-native.json",
        hides=("image-volume-refused",),
    ),
    Row(
        "image-volume-refused",
        r"ImageVolumeMountFailed|failed to mount image volume|image volumes? (?:is|are) not supported",
        "the node's runtime cannot mount the image as a volume: containerd 2.1 or newer, and no GKE Sandbox (gVisor); "
        "upgrade the node pool, or set `models.NAME.delivery: modelcar`",
        "tests/watch/statuses/runtime-without-image-volumes.json",
        _MOUNT,
    ),
)
