"""Whether a cluster can be told what its namespaces accept. Pure."""

from components.google import image_volume

_VERSION = (1, 30)
"""ValidatingAdmissionPolicy is v1, and on, since this Kubernetes (documentation, "Validating Admission Policy")."""


def problem(version: str) -> str | None:
    """Why policies cannot hold there, with the remedy, or None; `version` is the control plane's."""
    if image_volume.numbers(version)[:2] >= _VERSION:
        return None
    return (
        f"Kubernetes {version} has no ValidatingAdmissionPolicy, which keeps other images out of the models' "
        "namespaces: take 1.30 or later, or write cluster.allowList: {enforce: false}"
    )
