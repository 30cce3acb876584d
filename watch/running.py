"""Which image a pod really runs: by what the node and its runtime say, never by the spec that we wrote.

- What the pod pulled by itself (`fetch`) nobody but the pod knows: its files are compared, as below.
- What a sidecar streams (`stream`) it tells itself, asked through the API server: it has read the manifest by that
  digest, and hands on no byte that is not the one which that says.
- A modelcar is a container: the `imageID` of its status.
- An image volume: the pod's status, where the server has it (Kubernetes 1.36, gate ImageVolumeWithDigest, KEP-5365:
  `containerStatuses[].volumeMounts[].volumeStatus.image.imageRef`); else the node's `status.images`, where the entry
  that has the volume's reference names the digest that it was resolved to (a node lists its 50 largest images); else
  the first MiB of every file in the pod, compared with the image's own in the registry: weights that were trained on
  differ there.

KServe in `ociModelMode: native` delivers `oci://` as an image volume: what a pod has decides, not the delivery.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from oci_model_serving.delivery import ADAPTERS_MOUNT, STREAM_CONTAINER, STREAM_HEALTH_PORT
from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import DIGEST, ImageReference, digest_of, split
from watch.causes import NotHeldError, short
from watch.containers import MODELCAR, adapter_volumes, container_statuses, containers_of, image_volumes
from watch.image import checksums_of, is_same_content
from watch.kube import JSON, ApiError, KubeApi, namespaced
from watch.pods import nodes_of

_COMPARED_BYTES = 1 << 20
_CHECKSUMS = 'for file; do [ -r "$file" ] || exit 1; head -c "$0" "$file" | sha256sum; done'


@dataclass(frozen=True)
class Running:
    """The digests of the model's image that a pod runs, none where it runs none, and what shows that."""

    digests: frozenset[str]
    evidence: str


def running_digest(api: KubeApi, pod: JSON, model: ModelOutput) -> Running:
    """What a pod runs of the model's image.

    Raises:
        NotHeldError: nothing shows it, or the file in the pod is not the image's.
    """
    if model.serving.streamed:
        return _of_sidecar(api, pod, model)
    if model.serving.pulled_by_pod:
        return _by_checksum(api, pod, model)
    repository = model.reference.repository
    volumes = [volume["reference"] for volume in image_volumes(pod)]
    references = [reference for reference in volumes if split(reference)[0] == repository]
    if not references:
        return _of_modelcar(pod)
    return _of_volume(api, pod, references, model.reference) or _by_checksum(api, pod, model)


def running_adapter(api: KubeApi, pod: JSON, model: ModelOutput, name: str) -> Running:
    """What a pod runs of an adapter's image, which is a volume whatever the model's is.

    Raises:
        NotHeldError: nothing shows it, or the files in the pod are not the image's.
    """
    wanted, volume = model.adapters[name].reference, adapter_volumes(pod).get(name)
    if volume is None:
        return Running(frozenset(), "the volumes in its spec")
    found = _of_volume(api, pod, [volume["reference"]], wanted)
    return found or _by_checksum(api, pod, model, wanted, f"{ADAPTERS_MOUNT}/{name}")


def _of_volume(api: KubeApi, pod: JSON, references: Sequence[str], image: ImageReference) -> Running | None:
    """What shows the digest of a volume: the pod's status, or its node's; None where neither does."""
    # A reference that spells another digest is enough to say no; one that spells ours shows nothing.
    asked = frozenset(digest or digest_of(tag) or tag for _, tag, digest in map(split, references))
    if image.digest not in asked:
        return Running(asked, "the reference of its volume")
    statuses = map(split, _volume_statuses(pod, set(references)))
    told = frozenset(digest for name, _, digest in statuses if name == image.repository and digest)
    if told:
        return Running(told, "the pod's status of its image volume")
    listed = frozenset(_listed(api, pod, references[0]))
    if listed:
        # Images with the same layers are one to a node, which then has the names of all.
        wanted = frozenset({image.digest}) if image.digest in listed else listed
        return Running(wanted, f"the images of node {pod['spec'].get('nodeName')}")
    return None


def reads_root(pod: JSON, model: ModelOutput) -> bool:
    """Whether the server's mount shows the whole image, not its folder of models alone."""
    platform = model.serving.platform
    servers = (one for one in pod["spec"]["containers"] if one["name"] == platform.container)
    mounts = [mount for server in servers for mount in server.get("volumeMounts") or ()]
    volumes = {volume["name"] for volume in pod["spec"].get("volumes") or () if "image" in volume}
    own = [mount for mount in mounts if mount["name"] in volumes and mount["mountPath"] == platform.mount]
    return any(not mount.get("subPath") for mount in own)


def streamed_image(api: KubeApi, pod: JSON) -> JSON:
    """What the sidecar of a pod says of the image that it serves.

    Raises:
        ApiError: the API server refused to ask it, or could not.
        NotHeldError: it answers something else.
    """
    port, name = STREAM_HEALTH_PORT, pod["metadata"]["name"]
    said = api.get(f"{namespaced('v1', pod['metadata']['namespace'], 'pods', f'{name}:{port}')}/proxy/image")
    if not (_is_digest(said.get("digest")) and isinstance(said.get("layers"), dict)):
        raise NotHeldError(
            f"the container {STREAM_CONTAINER} of {name} does not say what it serves",
            "its image, `platforms.kserve.stream.image`, is of another version: run `pulumi up`, and delete the pod",
        )
    return said


def _is_digest(said: object) -> bool:
    return isinstance(said, str) and DIGEST.fullmatch(said) is not None


def _of_sidecar(api: KubeApi, pod: JSON, model: ModelOutput) -> Running:
    if STREAM_CONTAINER not in containers_of(pod):
        return Running(frozenset(), "the containers in its spec")
    try:
        said = streamed_image(api, pod)
    except ApiError as error:
        raise NotHeldError(
            f"nothing shows which image the pod streams: its sidecar could not be asked ({short(error.message)})",
            "ask for the right to get pods/proxy, and see that the NetworkPolicy lets the control plane in "
            "(`platforms.ingress`)",
        ) from None
    name = said["image"].partition("@")[0] if isinstance(said.get("image"), str) else ""
    if name != model.reference.repository:
        return Running(frozenset({f"{short(name)}@{said['digest']}"}), "its sidecar")
    left, by_list, whole = (said["layers"].get(key) for key in ("unverified", "by_list", "whole"))
    how = "each chunk by the image's own list" if by_list and not whole else "whole layers"
    waiting = f", {left} layers left" if left and isinstance(left, int) else ""
    return Running(frozenset({said["digest"]}), f"its sidecar, verified by {how}{waiting}")


def _of_modelcar(pod: JSON) -> Running:
    spec = pod["spec"]
    asked = {one["name"]: one["image"] for one in (*spec["containers"], *(spec.get("initContainers") or ()))}
    statuses = [status for status in container_statuses(pod) if status["name"].startswith(MODELCAR)]
    found = frozenset(_pulled(status["imageID"], asked[status["name"]]) for status in statuses if status.get("imageID"))
    return Running(found, "the imageID of its modelcar")


def _pulled(image_id: str, asked: str) -> str:
    """The digest of what a container runs: the one asked for, where the status names the same image otherwise.

    Manifests that share their configuration and layers (the same weights packed twice, with other annotations) are
    one image to a node, whose status then has the name that came first (seen on kubelet 1.35, containerd 2.2).
    """
    shown, wanted = split(image_id)[2], split(asked)[2]
    return wanted if shown != wanted and is_same_content(image_id, asked) else shown


def _volume_statuses(pod: JSON, references: Collection[str]) -> Iterator[str]:
    """The images that the statuses of the volumes of these references name."""
    volumes = pod["spec"].get("volumes") or ()
    names = {volume["name"] for volume in volumes if (volume.get("image") or {}).get("reference") in references}
    for status in container_statuses(pod):
        for mount in status.get("volumeMounts") or ():
            if mount.get("name") not in names:
                continue
            image = (mount.get("volumeStatus") or {}).get("image") or {}
            if image.get("imageRef"):
                yield str(image["imageRef"])


def _listed(api: KubeApi, pod: JSON, reference: str) -> Iterator[str]:
    for node in nodes_of(api, [pod]):
        for image in (node.get("status") or {}).get("images") or ():
            names = image.get("names") or ()
            if reference in names:
                yield from (digest for _, _, digest in map(split, names) if digest)


def _by_checksum(
    api: KubeApi, pod: JSON, model: ModelOutput, image: ImageReference | None = None, mount: str = ""
) -> Running:
    """Compare the files of an image (the model's own) with those that are mounted (where the server finds them)."""
    platform, image = model.serving.platform, image or model.reference
    wanted, mount = checksums_of(image, _COMPARED_BYTES), mount or platform.mount
    names = sorted(wanted)
    what = f"the first {_COMPARED_BYTES >> 20} MiB of each of its {len(names)} files"
    command = ["sh", "-c", _CHECKSUMS, str(_COMPARED_BYTES), *(f"{mount}/{name}" for name in names)]
    done = api.execute(model.namespace, pod["metadata"]["name"], platform.container, command)
    found = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    if done.code or len(found) != len(names) or not names:
        raise NotHeldError(
            f"nothing shows which image the pod mounts: neither its status nor its node, and {what} could not be read "
            f"({short(done.stderr) or f'exit code {done.code}'})",
            "the server's image needs sh, head and sha256sum for this check; Kubernetes 1.36 shows the digest itself",
        )
    other = [name for name, checksum in zip(names, found, strict=True) if checksum != wanted[name]]
    if other:
        raise NotHeldError(
            f"{short(', '.join(other))} in {pod['metadata']['name']} is not as in {image.digest}",
            "the pod mounts another image: `pulumi up --refresh`, and delete the pod",
        )
    return Running(frozenset({image.digest}), f"{what}, which are the image's")
