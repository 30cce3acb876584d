"""Helm releases of the platforms, from an OCI or HTTP repository or from a folder."""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

_TIMEOUT_SECONDS = 900
KEEP_CRDS = "components/serving/keep_crds.py"
"""The post-renderer, from the project's folder, where the engine starts providers: the same text on every machine."""


def release(
    chart: str,
    *,
    repository: str,
    version: str | None,
    namespace: str,
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    keep_crds: bool = False,
) -> k8s.helm.v3.Release:
    """Install a chart under its own name and wait until its workloads are ready.

    Args:
        chart: name of the chart, also of the release.
        repository: `oci://host/path` that holds the chart, `https://…` of a classic repository, or a folder that
            holds the chart as a folder or archive (mirrors of air-gapped teams).
        version: version of the chart; unused for a folder.
        namespace: namespace of the release, made if it is not there.
        values: the chart's values.
        opts: resource options.
        keep_crds: the chart has CRDs among its templates, which an uninstall would delete with all their objects.
    """
    classic = repository.startswith(("http://", "https://"))
    return k8s.helm.v3.Release(
        chart,
        name=chart,
        chart=chart if classic else f"{repository.rstrip('/')}/{chart}",
        repository_opts=k8s.helm.v3.RepositoryOptsArgs(repo=repository) if classic else None,
        version=version if "://" in repository else None,
        namespace=namespace,
        create_namespace=True,
        values=dict(values),
        # A failed first install is undone, so that the next run starts from nothing instead of "name still in use".
        atomic=True,
        postrender=KEEP_CRDS if keep_crds else None,
        timeout=_TIMEOUT_SECONDS,
        opts=opts,
    )
