"""Making a compile cache in the cluster: the Job is made, waited for while its server is listened to, and deleted."""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from components.commands import KUBECONFIG
from components.settings.building import LONGEST_SECONDS, SHORTEST_SECONDS
from modelimage.cache_key import CacheKey
from modelimage.errors import collecting
from modelimage.images import parse_destination
from modelimage.progress import Reporter
from modelimage.variables import PASSWORD_VARIABLE, USERNAME_VARIABLE
from oci_model_serving.errors import InputError
from oci_model_serving.reference import RegistryReference, is_loopback
from watch.cache_job import CacheJob, Making, arguments
from watch.causes import NotHeldError
from watch.job_run import JobRun
from watch.kube import KubeApi
from watch.pack_job import PodPlace


@dataclass(frozen=True)
class MadeCache:
    """A cache that was made: its image, and what it is for."""

    digest: str
    reference: str
    size_bytes: int
    key: CacheKey


def make_cache(
    making: Making,
    destination: str,
    place: PodPlace,
    *,
    kubeconfig: str | Path | None = None,
    context: str | None = None,
    reporter: Reporter | None = None,
) -> MadeCache:
    """Have a pod of the model's pool start its server, and pack what that compiles to `destination`.

    Of the `place` the namespace, the step's image, the accounts and the time count. A registry's login of this
    environment (MODELIMAGE_USERNAME, MODELIMAGE_PASSWORD) reaches the pod by a Secret that goes with the Job, unless
    the place names one. The cluster is the one of `kubeconfig`, of the text in OMS_KUBECONFIG, or of KUBECONFIG.

    Raises:
        InputError: an argument cannot work.
        NotHeldError: the pod could not be made, or failed; with what it said.
        ApiError: the API server refused something.
    """
    reporter = reporter or Reporter()
    repository = _repository(destination, place)
    if is_loopback(repository.host):
        reporter.note(f"note: in a pod, {repository.host} is the pod itself: name the registry as pods reach it")
    job = CacheJob(repository, arguments(making, destination), place, _secrets(place), making=making)
    with closing(KubeApi(kubeconfig or os.environ.get(KUBECONFIG) or None, context=context)) as api:
        outputs = JobRun(api, job, reporter).run()
    image = next((one.image for one in outputs.values() if one.image), None)
    if image is None:
        raise NotHeldError(
            f"Job {job.name}: the cache is packed, but no pod is left that tells its digest", "run again"
        )
    return MadeCache(image.digest, str(repository.at(image.digest)), image.size_bytes, making.key)


def _repository(destination: str, place: PodPlace) -> RegistryReference:
    problems: list[str] = []
    if not SHORTEST_SECONDS <= place.timeout_seconds <= LONGEST_SECONDS:
        problems.append(f"--timeout {place.timeout_seconds}: give {SHORTEST_SECONDS} to {LONGEST_SECONDS} seconds")
    parsed = None
    with collecting(problems):
        parsed = parse_destination(destination)
    if parsed is not None and not isinstance(parsed, RegistryReference):
        problems.append(f"{destination!r}: a pod's disk is gone after it: give HOST/REPO or HOST/REPO:TAG")
    if problems or not isinstance(parsed, RegistryReference):
        raise InputError(*problems)
    return parsed


def _secrets(place: PodPlace) -> Mapping[str, str]:
    wanted = () if place.registry_secret else (USERNAME_VARIABLE, PASSWORD_VARIABLE)
    return {name: os.environ[name] for name in wanted if os.environ.get(name)}
