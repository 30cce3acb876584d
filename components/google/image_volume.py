"""Whether a GKE cluster can mount a model's image as a volume. Pure.

Sources: Kubernetes "Feature gates" (ImageVolume: alpha in 1.31, beta and off in 1.33, on from 1.35; subPath from 1.33);
GKE "Alpha clusters" (gates change there only; deleted after 30 days, no upgrades); GKE release notes and "containerd
node images" (containerd 1.7 up to 1.32, 2.0 in 1.33, 2.1.5 in 1.34.4); containerd 2.1.0 release notes (image volumes
in the CRI plugin); gVisor, which mounts no image volumes.
"""

import re

IMAGE_VOLUME_VERSION = (1, 35)
"""First Kubernetes minor whose ImageVolume gate is on by default, which is what GKE runs (Kubernetes feature gates
page; GKE cannot change gates outside alpha clusters)."""
_ALPHA = (1, 31)
_SUBPATH = (1, 33)
_CONTAINERD = (1, 34, 4)
"""First GKE version known to carry containerd 2.1."""

ALPHA_WARNING = (
    "cluster.create.alpha: Google deletes an alpha cluster after 30 days, never upgrades or repairs its nodes and "
    "gives no SLA; use it to try image volumes before Kubernetes 1.35, not to serve"
)


def is_on(version: str | None) -> bool:
    """Whether a control plane of this version takes image volumes; no where it is not known."""
    return version is not None and numbers(version)[:2] >= IMAGE_VOLUME_VERSION


def problem(version: str | None, *, alpha: bool, sandbox: bool, subpath: bool) -> str | None:
    """Why image volumes cannot work there, with the remedy, or None.

    Args:
        version: of the control plane, as `1.35` or `1.35.8-gke.1000000`; None when it is not known yet.
        alpha: the cluster is an alpha cluster, with all feature gates on.
        sandbox: the model's nodes run GKE Sandbox (gVisor).
        subpath: the volume is mounted by subPath, as KServe's native delivery does.
    """
    if sandbox:
        return "GKE Sandbox (gVisor) cannot mount image volumes: remove `sandbox` from the pool, or deliver by modelcar"
    if version is None:
        return None
    if is_on(version):
        return None
    needed = ".".join(map(str, IMAGE_VOLUME_VERSION))
    if not alpha:
        return (
            f"Kubernetes {version} on GKE has ImageVolume off, which image volumes need: take {needed} or later, or "
            f"deliver by modelcar (or, to try it for at most 30 days, alpha: true with 1.34)"
        )
    reasons = _alpha_reasons(numbers(version), subpath=subpath)
    if not reasons:
        return None
    return f"Kubernetes {version} cannot mount image volumes even on an alpha cluster ({'; '.join(reasons)}): take 1.34"


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version of Kubernetes: `1.35.8-gke.1000000` is 1, 35 and 8."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))


def _alpha_reasons(numbers: tuple[int, ...], *, subpath: bool) -> list[str]:
    reasons = []
    if numbers[:2] < _ALPHA:
        reasons.append("ImageVolume came with 1.31")
    if subpath and numbers[:2] < _SUBPATH:
        reasons.append("subPath in image volumes, which KServe's native delivery uses, came with 1.33")
    # A bare minor takes the newest patch that GKE has, so only the digits given can be too old.
    if numbers < _CONTAINERD[: len(numbers)]:
        reasons.append("its nodes run containerd before 2.1; GKE has 2.1 from 1.34.4")
    return reasons
