"""A stack's manifests for Argo CD and Flux: how each is told the order, waits for health, and installs Helm charts.

Sources: Argo CD, "Sync Phases and Waves", "Sync Options", "Resource Health" and "Helm" (v3.5); Flux, "Manage Helm
Releases" and "CEL cheatsheet", kustomize-controller's and helm-controller's API (v2.8).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oci_model_serving.delivery import KSERVE, KUBEAI
from oci_model_serving.errors import InputError
from offline.manifests import (
    ARGO_CD,
    FLUX,
    HEADER,
    KubernetesObject,
    document,
    helm_releases,
    kubernetes_objects,
    render,
)
from offline.phases import MODELS, NODES, phase_of
from offline.plan import Plan
from offline.values import plain

_PLATFORMS = f"{FLUX}/platforms"
_NAMESPACES = {ARGO_CD: "argocd", FLUX: "flux-system"}
_INTERVAL = "10m"
_HEALTH: Mapping[str, Mapping[str, str]] = {
    KSERVE.kind: {
        # One that is paused is as it should be.
        "current": "has(status.observedGeneration) && status.observedGeneration == metadata.generation && "
        "has(status.conditions) && status.conditions.exists(e, "
        "(e.type == 'Ready' || e.type == 'Stopped') && e.status == 'True')",
        "failed": "has(status.modelStatus) && has(status.modelStatus.transitionStatus) && "
        "status.modelStatus.transitionStatus == 'InvalidSpec'",
    },
    KUBEAI.kind: {
        "current": "has(status.replicas) && status.replicas.ready >= (has(spec.minReplicas) ? spec.minReplicas : 0)",
    },
}
"""When a model is served, to Flux, which knows conditions only. Argo CD brings its own check of InferenceServices; of
KubeAI's Models it has none and takes them for healthy."""

_KEPT_CRDS = {
    "target": {"kind": "CustomResourceDefinition"},
    # Of a patch that has a target the name counts for nothing.
    "patch": document(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "any", "annotations": {"helm.sh/resource-policy": "keep"}},
        }
    ),
}
"""What `components/serving/keep_crds.py` does for the engine: an uninstall leaves the CRDs and all their objects."""


@dataclass(frozen=True)
class GitFolder:
    """Where the rendered folder will be, for the objects that make the tool read it.

    Attributes:
        url: the git repository's address.
        path: the folder in it; "" is its root.
        revision: branch, tag or commit.
    """

    url: str
    path: str
    revision: str


def rendered(plan: Plan, tool: str, repository: GitFolder) -> dict[str, str]:
    """File to content, with the own objects of the tool (`argocd` or `flux`) in a folder of its name.

    Raises:
        InputError: a chart is in a folder of this machine, which no cluster can read.
    """
    charts = [_Chart.of(release.name, plain(release.inputs)) for release in helm_releases(plan)]
    if tool == ARGO_CD:
        return {**render(plan, _waves), **_argo_cd(plan, charts, repository)}
    return {**render(plan, _kept), **_flux(plan, charts, repository)}


@dataclass(frozen=True)
class _Chart:
    name: str
    address: str
    """Of the repository: `oci://HOST/PATH` or https://…"""
    version: str
    namespace: str
    values: Mapping[str, Any]
    keeps_crds: bool

    @classmethod
    def of(cls, name: str, inputs: Mapping[str, Any]) -> "_Chart":
        chart, repository = str(inputs["chart"]), (inputs.get("repositoryOpts") or {}).get("repo")
        address = repository or chart.rpartition("/")[0]
        if "://" not in address:
            raise InputError(
                f"the chart {chart} is a folder of this machine, which the cluster cannot read: push it to a registry "
                "and write oci://HOST/PATH (platforms.kserve.chartRepository, certManager.repository, "
                "envoyGateway.repository, platforms.kubeai.chartRepository), or write install: false and install it "
                "yourself"
            )
        return cls(
            name=str(inputs.get("name", name)),
            address=address,
            version=str(inputs["version"]),
            namespace=str(inputs["namespace"]),
            values=inputs.get("values") or {},
            keeps_crds=bool(inputs.get("postrender")),
        )

    @property
    def is_oci(self) -> bool:
        return self.address.startswith("oci://")


def _waves(item: KubernetesObject) -> Mapping[str, str]:
    """Argo CD's annotations: a wave for what models need, and no removal of a namespace with all that is in it.

    What serves stays in the last wave, which is 0 and needs no annotation: KServe copies those of an InferenceService
    onto its pods, which one more would replace; and Argo CD waits for the health of each wave but the last, while a
    model that is paused is never healthy.
    """
    phase = phase_of(item.kind)
    found = {"argocd.argoproj.io/sync-wave": str((phase - NODES) // 10)} if phase < NODES else {}
    return {**found, **({"argocd.argoproj.io/sync-options": "Prune=false,Delete=false"} if _is_namespace(item) else {})}


def _kept(item: KubernetesObject) -> Mapping[str, str]:
    return {"kustomize.toolkit.fluxcd.io/prune": "disabled"} if _is_namespace(item) else {}


def _is_namespace(item: KubernetesObject) -> bool:
    return item.kind == "Namespace"


def _argo_cd(plan: Plan, charts: Sequence[_Chart], repository: GitFolder) -> dict[str, str]:
    """An Application for each chart, in waves, and one for the objects.

    A change of a chart never removes what it no longer has: that could be a CRD, with every object of its kind.
    """
    bodies: list[tuple[str, dict[str, Any]]] = []
    for chart in charts:
        # Argo CD writes OCI repositories without the scheme.
        source = {
            "repoURL": chart.address.removeprefix("oci://"),
            "chart": chart.name,
            "targetRevision": chart.version,
            "helm": {"releaseName": chart.name, "valuesObject": chart.values},
        }
        bodies.append((chart.name, _application(f"{plan.stack}-{chart.name}", source, chart.namespace, prunes=False)))
    source = {"repoURL": repository.url, "path": repository.path or ".", "targetRevision": repository.revision}
    bodies.append(("objects", _application(plan.stack, source, "default", prunes=True)))
    files = {}
    for number, (name, body) in enumerate(bodies, start=1):
        body["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": str(number)}
        files[f"{ARGO_CD}/{number}-{name}.yaml"] = HEADER + document(body)
    return files


def _application(name: str, source: Mapping[str, Any], namespace: str, *, prunes: bool) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "namespace": _NAMESPACES[ARGO_CD]},
        "spec": {
            "project": "default",
            "source": dict(source),
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {
                "automated": {"prune": prunes, "selfHeal": True},
                # KServe's CRDs are larger than the annotation of a client's apply may be.
                "syncOptions": ["CreateNamespace=true", "ServerSideApply=true", "SkipDryRunOnMissingResource=true"],
                # Until the platforms' webhooks answer, which no wave of another Application tells.
                "retry": {"limit": 10, "backoff": {"duration": "30s", "factor": 2, "maxDuration": "10m"}},
            },
        },
    }


def _flux(plan: Plan, charts: Sequence[_Chart], repository: GitFolder) -> dict[str, str]:
    """The charts as HelmReleases, each after the one before, and what applies them and then the objects."""
    files = {}
    for number, chart in enumerate(charts, start=1):
        before = charts[number - 2].name if number > 1 else None
        files[f"{_PLATFORMS}/{number}-{chart.name}.yaml"] = HEADER + "---\n".join(
            document(body) for body in _release(chart, after=before)
        )
    within = repository.path.strip("/")
    root = f"./{within}" if within else "./"
    source = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        **_metadata(plan.stack),
        "spec": {"interval": _INTERVAL, "url": repository.url, "ref": _reference(repository.revision)},
    }
    platforms = _kustomization(f"{plan.stack}-platforms", plan.stack, f"{root.rstrip('/')}/{_PLATFORMS}", "30m")
    platforms["spec"]["wait"] = True
    platforms["spec"]["prune"] = False
    objects = _kustomization(plan.stack, plan.stack, root, "2h")
    objects["spec"].update(_checked(plan))
    if charts:
        objects["spec"]["dependsOn"] = [{"name": f"{plan.stack}-platforms"}]
    made = [source, *([platforms] if charts else []), objects]
    return {**files, f"{FLUX}/kustomizations.yaml": HEADER + "---\n".join(map(document, made))}


def _reference(revision: str) -> dict[str, str]:
    """Flux asks what a revision is: a commit has 40 digits, and a branch is what it is in most cases."""
    is_commit = len(revision) == 40 and set(revision) <= set("0123456789abcdef")
    if is_commit:
        return {"commit": revision}
    return {"name": revision} if revision.startswith("refs/") else {"branch": revision}


def _release(chart: _Chart, *, after: str | None) -> Iterator[dict[str, Any]]:
    source: dict[str, Any] = {"apiVersion": "source.toolkit.fluxcd.io/v1", **_metadata(chart.name)}
    spec: dict[str, Any] = {
        "interval": _INTERVAL,
        "releaseName": chart.name,
        "targetNamespace": chart.namespace,
        "timeout": "15m",
        "install": {"createNamespace": True, "remediation": {"retries": 3}},
        "upgrade": {"remediation": {"retries": 3}},
        "values": chart.values,
    }
    if chart.is_oci:
        # A tag cannot hold a plus, for which Helm writes an underscore.
        layer = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"}
        tag = chart.version.replace("+", "_")
        url = f"{chart.address}/{chart.name}"
        yield {
            **source,
            "kind": "OCIRepository",
            "spec": {"interval": _INTERVAL, "url": url, "ref": {"tag": tag}, "layerSelector": layer},
        }
        spec["chartRef"] = {"kind": "OCIRepository", "name": chart.name}
    else:
        yield {**source, "kind": "HelmRepository", "spec": {"interval": _INTERVAL, "url": chart.address}}
        named = {"kind": "HelmRepository", "name": chart.name}
        spec["chart"] = {"spec": {"chart": chart.name, "version": chart.version, "sourceRef": named}}
    if after:
        spec["dependsOn"] = [{"name": after}]
    if chart.keeps_crds:
        spec["postRenderers"] = [{"kustomize": {"patches": [_KEPT_CRDS]}}]
    yield {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", **_metadata(chart.name), "spec": spec}


def _kustomization(name: str, source: str, path: str, timeout: str) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        **_metadata(name),
        "spec": {
            "interval": _INTERVAL,
            "path": path,
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": source},
            "timeout": timeout,
        },
    }


def _checked(plan: Plan) -> dict[str, Any]:
    """What Flux waits for: that each model is served."""
    served = [item for item in kubernetes_objects(plan) if phase_of(item.kind) == MODELS]
    kinds = {item.kind: item.api_version for item in served}
    if not served:
        return {}
    return {
        "healthChecks": [
            {"apiVersion": item.api_version, "kind": item.kind, "name": item.name, "namespace": item.namespace}
            for item in sorted(served, key=str)
        ],
        "healthCheckExprs": [{"apiVersion": kinds[kind], "kind": kind, **_HEALTH[kind]} for kind in sorted(kinds)],
    }


def _metadata(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": _NAMESPACES[FLUX]}}
