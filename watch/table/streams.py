"""Delivery `stream`: what the sidecar says of the image and its registry, and the server of the sidecar's door.

The sidecar's last line begins with `stream: ` (modelimage/stream/faults.py); it is the status of its container.
"""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

_IMAGE = r"stream: (?P<image>[^\s:/]+(?::\d+)?/[^\s@]+@sha256:[0-9a-f]{64})"
_OTHERWISE = "set `models.NAME.delivery: native` (or modelcar)"

ROWS = (
    Row(
        "stream-corrupt",
        rf"{_IMAGE}\S* (?:[^\n]{{0,200}} )?(?:is not what (?:its list says|its digest says|it was)"
        r"|ends (?:after|before byte) \d+ of \d+(?: bytes)?: it is not|(?<=[0-9a-f] )is cut short)",
        "the registry gives other bytes than the digest of {image} says, and no server becomes ready on them: build or "
        "copy the image anew (`pulumi up`), and see what stands between the cluster and the registry (a mirror, a "
        "proxy, its own disk)",
        "modelimage/stream/faults.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
    ),
    Row(
        "stream-image-missing",
        rf"{_IMAGE}[^\n]{{0,200}} is not there \(404\)",
        "{image} is not in the registry: see `oms image inspect {image}`, and build or copy it anew (`pulumi up`); in "
        "Artifact Registry a cleanup policy without the rule for `digest-` may have taken it",
        "modelimage/stream/faults.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
    ),
    Row(
        "stream-no-login",
        rf"{_IMAGE}[^\n]{{0,200}} (?:wants credentials \(401\)|may not be read \(403\))",
        "the pod reads the image itself, and the registry does not let it: in Artifact Registry bind "
        "roles/artifactregistry.reader on the repository to the pod's own account, `principal://iam.googleapis.com/"
        "projects/NUMBER/locations/global/workloadIdentityPools/PROJECT.svc.id.goog/subject/ns/{namespace}/sa/ACCOUNT` "
        "(`pulumi up` does for the stack's own registry); elsewhere add the host to `pullSecrets`",
        "modelimage/stream/faults.py",
        Topic.ENGINE,
        Whose.STREAM,
    ),
    Row(
        "stream-compressed",
        rf"{_IMAGE}[^\n]{{0,200}} is compressed \(",
        "its layers are compressed, and no range of them is a range of a file: `oms image repack oci://{image} DEST` "
        f"writes plain ones; or {_OTHERWISE}",
        "modelimage/stream/files.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
        hides=("stream-unreadable",),
    ),
    Row(
        "stream-unreadable",
        rf"{_IMAGE}[^\n]{{0,200}}(?: cannot be listed: |: its file is said to be |the chunk lists sha256:)",
        "{image} is as it was pushed, and what it says of its own layers is not so: `oms image inspect {image}` lists "
        "them, `oms image repack oci://{image} DEST` or `pulumi up` with the weights' source makes it anew",
        "modelimage/stream/files.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
    ),
    Row(
        "stream-no-token",
        r"stream: [^\n]{0,400}Google's metadata server gives no token for (?P<host>[^\s:]+)",
        "the pod's own account gets no token for {host}: its pool wants Workload Identity (`gcloud container "
        "node-pools update POOL --workload-metadata=GKE_METADATA`), and no other NetworkPolicy may keep the pod from "
        "169.254.169.252:988 and 169.254.169.254:80; or add {host} to `pullSecrets`",
        "modelimage/stream/rights.py",
        Topic.ENGINE,
        Whose.STREAM,
    ),
    Row(
        "stream-redirect",
        r"stream: [^\n]{0,600}(?:sends to an address that is none|sends to \S+: only loopback may do without TLS"
        r"|sends from one address to the next)",
        "the registry sends for its blobs to where nobody may follow: its own address, as it tells it (behind a proxy "
        "that ends TLS: its `host` and `relativeurls`, or the proxy's X-Forwarded-Proto), or its storage's must be "
        f"https; or {_OTHERWISE}",
        "modelimage/stream/connections.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
    ),
    Row(
        "stream-no-files",
        rf"{_IMAGE} has no files below /models",
        "the image has no model in /models: is it the one that was meant? `oms image inspect {image}` lists its files, "
        "and `oms image repack oci://{image} DEST` writes the layout that deliveries take",
        "modelimage/stream/files.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
    ),
    Row(
        "stream-no-ranges",
        r"stream: (?P<host>\S+) ignores ranges",
        "{host}, or a proxy before it, gives blobs as a whole only: take a registry that gives ranges (Artifact "
        f"Registry and the registry of the CNCF do), or {_OTHERWISE}",
        "modelimage/stream/faults.py",
        Topic.ENGINE,
        Whose.STREAM,
        lasting=True,
    ),
    Row(
        "stream-unreachable",
        rf"{_IMAGE}[^\n]{{0,600}}: gave up after \d+ attempts",
        "the pod cannot reach its registry, or that breaks off its answers: see that the NetworkPolicy's egress rule "
        "leads there (`platforms.kserve.stream.reach`, cidrs: with private and restricted the host must resolve to "
        "those addresses in the cluster), that nodes have a way out (NAT, Private Google Access), and that it answers "
        "from the cluster",
        "modelimage/transport.py",
        Topic.ENGINE,
        Whose.STREAM,
    ),
    Row(
        "stream-out-of-memory",
        r"OOMKilled|a process of the door was ended by",
        "the sidecar was killed for memory, of which it has {memory}: set `platforms.kserve.stream.memory` to twice "
        "that, or fewer `platforms.kserve.stream.processes`",
        "modelimage/stream/sidecar.py",
        Topic.ENGINE | Topic.START,
        Whose.STREAM,
        hides=("stream-stalled",),
    ),
    Row(
        "stream-image-unfit",
        r"No module named '(?:httpx|pydantic|modelimage)[\w.]*'|python3\\?\"?: (?:executable file )?not found"
        r"|SyntaxError|can't find '__main__' module",
        "the sidecar's image has no Python 3.10 with httpx and pydantic (vLLM's own have): name one in "
        "`platforms.kserve.stream.image`",
        "components/serving/streaming.py",
        Topic.ENGINE | Topic.START,
        Whose.STREAM,
        lasting=True,
        hides=("command-missing",),
    ),
    Row(
        "stream-no-streamer",
        r"stream: the image of the server has no (?P<module>\w+)"
        r"|(?:No module named|Please install) '?(?:vllm\[runai\]|runai_model_streamer\w*)",
        "the server's image has no streaming loader for buckets: take one with runai-model-streamer[s3] in `{server}` "
        f"(vLLM's own for GPUs has it from v0.12 on, that for CPUs does not), or {_OTHERWISE}",
        "https://github.com/vllm-project/vllm/pull/26464",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("module-missing",),
    ),
    Row(
        "stream-no-safetensors",
        r"Cannot find any safetensors model weights with [`']s3://",
        "the streaming loader reads safetensors at the top of the image alone, and there are none: see `oms image "
        "inspect REF`; pickles want `models.NAME.files.convert: safetensors`, a GGUF another delivery: "
        f"{_OTHERWISE}",
        "vLLM v0.23.0, model_executor/model_loader/runai_streamer_loader.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "stream-draft",
        r"Cannot find any safetensors model weights with [`']\S*/model_streamer/",
        "the server looks for its draft's weights on the disk while the model's are streamed: take the speculative "
        f"arguments out of `models.NAME.args`, take a newer `{{server}}`, or {_OTHERWISE}",
        "https://github.com/vllm-project/vllm/issues/42060",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "stream-stalled",
        r"AWS_ERROR_HTTP_CHANNEL_THROUGHPUT_FAILURE|AWS_ERROR_S3_SLOW_DOWN|AWS_ERROR_S3_MISSING_ETAG"
        r"|Could not connect to the endpoint URL: \"http://127\.0\.0\.1:9700|EndpointConnectionError",
        "the sidecar gave the server no bytes in time: see what it says, `kubectl -n {namespace} logs {pod} -c "
        "stream`; a registry or a network that stands still is told there",
        "runai-model-streamer-s3 0.17.1",
        Topic.ENGINE,
        Whose.SERVER,
    ),
)
