"""Packing in a cluster: pods of an Indexed Job pack a share each, and this waits for them and tells what they say.

The Job, its ConfigMap (the packer's own code) and its Secret (tokens that were given here) are made, watched and
deleted here. A build that is under way already, since whoever waited for it went away, is waited for; what its pods
have packed is in the registry, so that the same build, run again, packs what is missing.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from components.commands import KUBECONFIG
from components.nodes import toleration
from components.settings.building import LONGEST_SECONDS, OWN_VARIABLES, SHORTEST_SECONDS
from modelimage import bundle
from modelimage.errors import collecting
from modelimage.images import SCRATCH
from modelimage.origins import Origin, origin_of
from modelimage.progress import Reporter
from modelimage.shares import MOST_SHARES
from modelimage.traits import Traits
from modelimage.variables import HUB_TOKEN, PASSWORD_VARIABLE, SECRET_VARIABLES, USERNAME_VARIABLE
from oci_model_serving.reference import RegistryReference, is_loopback
from watch.causes import NotHeldError
from watch.job_run import JobRun, PodOutput
from watch.kube import KubeApi
from watch.pack_job import PackJob, PodPlace

_ENDPOINT = "HF_ENDPOINT"


@dataclass(frozen=True)
class ClusterBuild:
    """What a build in a cluster has made: the image, and how many shares and bytes were packed this time."""

    digest: str
    reference: str
    size_bytes: int
    shares: int
    uploaded_bytes: int
    traits: Traits = field(default_factory=Traits)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints: the traits among the rest."""
        known = asdict(self)
        traits: dict[str, Any] = known.pop("traits")
        return {**known, **traits}


def pack_in_cluster(
    source: str,
    destination: str,
    place: PodPlace,
    *,
    base: str = SCRATCH,
    files: Mapping[str, Any] | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    reporter: Reporter | None = None,
) -> ClusterBuild:
    """Pack `source` (hf:// or gs://) to `destination` by pods of a cluster, and return the image as they made it.

    `files` are further arguments of `pack`. The cluster is the one of `kubeconfig`, of the text in OMS_KUBECONFIG, or
    of KUBECONFIG and ~/.kube/config. A token of the hub (HF_TOKEN) and a registry's login (MODELIMAGE_USERNAME,
    MODELIMAGE_PASSWORD) of this environment reach the pods by a Secret that goes with the Job, unless the place names
    Secrets that are there.

    Raises:
        InputError: an argument cannot work.
        NotHeldError: the pods could not be made, or failed; with what they said.
        ApiError: the API server refused something.
    """
    reporter = reporter or Reporter()
    problems = list(_problems(place, files or {}))
    with collecting(problems):
        if origin_of(source) is Origin.IMAGE:
            problems.append(
                f"{source!r}: each pod would read the whole image: `oms image pack` or `cloudbuild` takes it"
            )
    repository = bundle.check(source, destination, base, problems, who="a pod", disk="a pod's disk")
    if is_loopback(repository.host):
        reporter.note(f"note: in a pod, {repository.host} is the pod itself: name the registry as pods reach it")
    arguments = {"source": source, "destination": destination, "base": base, **(files or {})}
    arguments.pop("convert", None)
    job = PackJob(repository, arguments, _with_endpoint(source, place), _secrets(source, place))
    with closing(KubeApi(kubeconfig or os.environ.get(KUBECONFIG) or None, context=context)) as api:
        outputs = JobRun(api, job, reporter).run()
    return _made(repository, outputs, job)


def _problems(place: PodPlace, files: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    if not 1 <= place.pods <= place.completions <= MOST_SHARES:
        found.append(
            f"--pods {place.pods} and --shares {place.completions}: give 1 or more pods, and at least as many shares, "
            f"at most {MOST_SHARES}"
        )
    if not SHORTEST_SECONDS <= place.timeout_seconds <= LONGEST_SECONDS:
        found.append(
            f"--timeout {place.timeout_seconds}: give {SHORTEST_SECONDS} to {LONGEST_SECONDS} seconds (a week)"
        )
    for text in place.tolerations:
        with collecting(found):
            toleration(text)
    if secret := sorted(SECRET_VARIABLES & place.env.keys()):
        found.append(
            f"--env {secret[0]}: is a secret, and --env is written into the Job: set it in this command's environment, "
            "or name a Secret by --hub-token-secret or --registry-secret"
        )
    if own := sorted(OWN_VARIABLES & place.env.keys()):
        found.append(f"--env {own[0]}: is set by the build itself: leave it out")
    if files.get("convert"):
        found.append("--convert is for whole models: convert with `oms image pack` or `oms image cloudbuild`")
    return found


def _with_endpoint(source: str, place: PodPlace) -> PodPlace:
    """The place with this environment's hub, if that is another than the public one."""
    endpoint = os.environ.get(_ENDPOINT)
    if not endpoint or origin_of(source) is not Origin.HUB:
        return place
    return replace(place, env={_ENDPOINT: endpoint, **place.env})


def _secrets(source: str, place: PodPlace) -> dict[str, str]:
    wanted = [] if place.hub_token_secret or origin_of(source) is not Origin.HUB else [HUB_TOKEN]
    if not place.registry_secret:
        wanted += [USERNAME_VARIABLE, PASSWORD_VARIABLE]
    return {name: os.environ[name] for name in wanted if os.environ.get(name)}


def _made(repository: RegistryReference, outputs: Mapping[int, PodOutput], job: PackJob) -> ClusterBuild:
    images = {one.image.digest: one.image for one in outputs.values() if one.image}
    if len(images) != 1:
        what = f"pods made different images: {', '.join(images)}" if images else "no pod is left that tells the digest"
        raise NotHeldError(
            f"Job {job.name}: all shares are packed, but {what}",
            "run the same again: what is packed is found in the registry and not sent again",
        )
    ((digest, image),) = images.items()
    uploaded = sum(one.uploaded_bytes for one in outputs.values())
    shares = job.place.completions
    return ClusterBuild(digest, str(repository.at(digest)), image.size_bytes, shares, uploaded, image.traits)
