"""What Argo CD and Flux are given: the order, what is waited for, the charts, and what is never removed."""

import re
from collections.abc import Callable
from typing import Any

import pulumi_kubernetes as k8s
import pytest
import yaml

from oci_model_serving.errors import InputError
from offline import phases
from offline.gitops import GitFolder, rendered
from offline.plan import Plan
from offline.recording import record
from tests import crds, serving, tools

WAVE, OPTIONS = "argocd.argoproj.io/sync-wave", "argocd.argoproj.io/sync-options"
PLACE = GitFolder("https://git.example/platform", "clusters/prod", "main")
FOLDERS_OF_CRDS = {"argocd": "argocd-v3.5", "flux": "flux-v2.8"}
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Models of both platforms, one of them paused."""
    one = {"digest": serving.IMAGE, "nodePool": "l4"}
    models = {
        "qwen": one,
        "native": {**one, "delivery": "native", "paused": True},
        "kube": {**one, "delivery": "kubeai"},
    }
    platforms = {"kserve": {}, "kubeai": {"version": "0.24.0"}, "monitoring": {"collector": "managed"}}
    return Plan("oci-model-serving", "prod", serving.run(serving.gke(models, platforms=platforms)))


@pytest.fixture(scope="module")
def argo(plan: Plan) -> dict[str, str]:
    return rendered(plan, "argocd", PLACE)


@pytest.fixture(scope="module")
def flux(plan: Plan) -> dict[str, str]:
    return rendered(plan, "flux", PLACE)


def bodies(files: dict[str, str], folder: str) -> list[JSON]:
    return [
        body
        for name, text in sorted(files.items())
        if name.startswith(f"{folder}/")
        for body in yaml.safe_load_all(text)
    ]


def annotations(body: JSON) -> JSON:
    return body["metadata"].get("annotations") or {}


def test_every_kind_that_a_stack_has_is_in_a_phase_of_its_own_choice(plan: Plan) -> None:
    kinds = {body["kind"] for body in serving.objects(plan.recording)} - {"Secret"}
    chosen = {kind for listed in phases._KINDS.values() for kind in listed}

    assert len(kinds) >= 14
    assert kinds <= chosen


def test_what_a_model_needs_is_in_an_earlier_wave_and_what_serves_has_no_annotation_more(
    plan: Plan, argo: dict[str, str]
) -> None:
    found = bodies(argo, "objects")
    waves = {body["kind"]: int(annotations(body).get(WAVE, 0)) for body in found}

    assert (
        waves["Namespace"] < waves["ValidatingAdmissionPolicy"] < waves["ServiceAccount"] < waves["ServingRuntime"] < 0
    )
    assert waves["InferenceService"] == waves["Model"] == waves["HTTPRoute"] == waves["PodMonitoring"] == 0
    before = {
        body["metadata"]["name"]: annotations(body) for body in serving.of_kind(plan.recording, "InferenceService")
    }
    after = {body["metadata"]["name"]: annotations(body) for body in found if body["kind"] == "InferenceService"}
    assert after == before


def test_a_namespace_is_never_removed_with_what_is_in_it(argo: dict[str, str], flux: dict[str, str]) -> None:
    for body in bodies(argo, "objects"):
        assert (annotations(body).get(OPTIONS) == "Prune=false,Delete=false") is (body["kind"] == "Namespace")
    for body in bodies(flux, "objects"):
        disabled = annotations(body).get("kustomize.toolkit.fluxcd.io/prune") == "disabled"
        assert disabled is (body["kind"] == "Namespace")


def test_argo_cd_installs_each_chart_with_its_values_and_then_the_objects(plan: Plan, argo: dict[str, str]) -> None:
    applications = bodies(argo, "argocd")
    sources = [one["spec"]["source"] for one in applications]

    assert [one["metadata"]["name"] for one in applications] == [
        "prod-cert-manager",
        "prod-kserve-crd",
        "prod-kserve-resources",
        "prod-kubeai",
        "prod",
    ]
    assert [annotations(one)[WAVE] for one in applications] == ["1", "2", "3", "4", "5"]
    assert (sources[1]["repoURL"], sources[1]["chart"]) == ("ghcr.io/kserve/charts", "kserve-crd")
    assert (sources[3]["repoURL"], sources[3]["targetRevision"]) == ("https://www.kubeai.org", "0.24.0")
    assert sources[4] == {"repoURL": PLACE.url, "path": PLACE.path, "targetRevision": "main"}
    of_kserve = plan.recording.only("kubernetes:helm.sh/v3:Release", "kserve-resources").inputs["values"]
    assert sources[2]["helm"]["valuesObject"] == of_kserve
    # A chart that loses a CRD would take every object of that kind along.
    assert [one["spec"]["syncPolicy"]["automated"]["prune"] for one in applications] == [False] * 4 + [True]


def test_flux_installs_the_charts_in_order_and_the_objects_after_them(flux: dict[str, str]) -> None:
    found = bodies(flux, "flux")
    releases = [one for one in found if one["kind"] == "HelmRelease"]
    first, second = [one for one in found if one["kind"] == "Kustomization"]

    assert [one["metadata"]["name"] for one in releases] == ["cert-manager", "kserve-crd", "kserve-resources", "kubeai"]
    assert [one["spec"].get("dependsOn") for one in releases][1:] == [
        [{"name": "cert-manager"}],
        [{"name": "kserve-crd"}],
        [{"name": "kserve-resources"}],
    ]
    assert (first["spec"]["path"], first["spec"]["wait"]) == ("./clusters/prod/flux/platforms", True)
    assert (second["spec"]["path"], second["spec"]["dependsOn"]) == ("./clusters/prod", [{"name": "prod-platforms"}])


def test_flux_waits_for_each_model_by_conditions_that_its_kind_has(flux: dict[str, str]) -> None:
    objects = next(
        one for one in bodies(flux, "flux") if one["metadata"]["name"] == "prod" and one["kind"] == "Kustomization"
    )
    spec = objects["spec"]

    waited = {(one["kind"], one["name"], one["namespace"]) for one in spec["healthChecks"]}
    assert waited == {
        ("InferenceService", "qwen", "models"),
        ("InferenceService", "native", "models"),
        ("Model", "kube", "kubeai"),
    }
    assert {(one["kind"], one["apiVersion"]) for one in spec["healthCheckExprs"]} == {
        ("InferenceService", "serving.kserve.io/v1beta1"),
        ("Model", "kubeai.org/v1"),
    }


def test_the_patch_that_keeps_crds_does_so_by_kustomize_itself(flux: dict[str, str], tmp_path: Any) -> None:
    releases = [one for one in bodies(flux, "flux") if one["kind"] == "HelmRelease"]
    keeping = {one["metadata"]["name"]: one["spec"].get("postRenderers") for one in releases}
    assert {name for name, patches in keeping.items() if patches} == {"kserve-crd", "kubeai"}

    def of(kind: str, annotated: bool) -> JSON:
        metadata: JSON = {"name": f"{kind.lower()}-{annotated}".replace("customresourcedefinition", "things.example")}
        return {
            "apiVersion": "apiextensions.k8s.io/v1" if kind != "ConfigMap" else "v1",
            "kind": kind,
            "metadata": {**metadata, **({"annotations": {"a": "b"}} if annotated else {})},
        }

    resources = [of("CustomResourceDefinition", True), of("CustomResourceDefinition", False), of("ConfigMap", True)]
    (tmp_path / "resources.yaml").write_text(yaml.safe_dump_all(resources))
    patches = keeping["kserve-crd"][0]["kustomize"]["patches"]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["resources.yaml"], "patches": patches}))
    done = tools.run("kustomize", "build", str(tmp_path))

    assert done.returncode == 0, done.stderr
    kept = {
        one["metadata"]["name"]: annotations(one).get("helm.sh/resource-policy")
        for one in yaml.safe_load_all(done.stdout)
    }
    assert kept == {"things.example-True": "keep", "things.example-False": "keep", "configmap-True": None}


@pytest.mark.parametrize(
    ("revision", "reference"),
    [
        ("main", {"branch": "main"}),
        ("refs/tags/v1", {"name": "refs/tags/v1"}),
        ("7ae557604adf67be50417f59c2c2f167def9a775", {"commit": "7ae557604adf67be50417f59c2c2f167def9a775"}),
    ],
)
def test_a_revision_is_what_flux_calls_it(plan: Plan, revision: str, reference: JSON) -> None:
    files = rendered(plan, "flux", GitFolder(PLACE.url, "", revision))
    source, _, objects = bodies(files, "flux")[:3]

    assert source["spec"]["ref"] == reference
    assert objects["spec"]["path"] == "./"


def test_the_same_plan_gives_the_same_bytes(plan: Plan, argo: dict[str, str], flux: dict[str, str]) -> None:
    assert rendered(plan, "argocd", PLACE) == argo
    assert list(rendered(plan, "flux", PLACE).items()) == list(flux.items())


def test_a_version_with_a_plus_is_the_tag_that_helm_writes_for_it() -> None:
    files = rendered(_of(lambda: _chart("oci://h.example/charts/c", version="1.0.0+build.1")), "flux", PLACE)
    repository = next(one for one in bodies(files, "flux/platforms") if one["kind"] == "OCIRepository")

    assert repository["spec"]["ref"] == {"tag": "1.0.0_build.1"}
    assert repository["spec"]["url"] == "oci://h.example/charts/c"


@pytest.mark.parametrize("tool", ["argocd", "flux"])
def test_a_chart_in_a_folder_of_this_machine_is_refused_with_the_settings_that_name_it(tool: str) -> None:
    with pytest.raises(InputError, match=r"/charts/c is a folder.*chartRepository") as caught:
        rendered(_of(lambda: _chart("/charts/c")), tool, PLACE)
    assert "install: false" in str(caught.value)


@pytest.mark.parametrize("folder", ["argocd", "flux"])
def test_every_object_of_the_tools_has_only_fields_that_its_crd_knows(
    folder: str, argo: dict[str, str], flux: dict[str, str]
) -> None:
    if not (crds.CRDS / FOLDERS_OF_CRDS[folder]).is_dir():
        pytest.skip(f"no CRDs: {crds.CRDS / FOLDERS_OF_CRDS[folder]} is not here")
    found = bodies({"argocd": argo, "flux": flux}[folder], folder)

    assert len(found) >= 5
    for body in found:
        assert crds.problems(body, FOLDERS_OF_CRDS[folder]) == []
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", body["metadata"]["name"])


def _chart(chart: str, *, version: str = "1.0.0") -> None:
    k8s.helm.v3.Release("c", name="c", chart=chart, version=version, namespace="n", create_namespace=True)


def _of(program: Callable[[], object]) -> Plan:
    return Plan("p", "prod", record(program))
