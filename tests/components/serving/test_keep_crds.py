"""CRDs of a chart are marked to be kept, whatever the form of its manifests; or the chart is refused."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.serving import charts
from components.serving.keep_crds import kept
from tests.crds import CRDS

ROOT = Path(__file__).parents[3]
POLICY = "helm.sh/resource-policy"
CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: models.kubeai.org
spec:
  group: kubeai.org
"""
OTHER = """\
# Source: kubeai/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
data:
  crd.yaml: |
    kind: CustomResourceDefinition
    ---
    metadata: {}
"""


def documents(text: str) -> list[Any]:
    return [one for one in yaml.safe_load_all(text) if one]


def marked(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document["metadata"]
    return {
        **document,
        "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), POLICY: "keep"}},
    }


@pytest.mark.parametrize(
    "metadata",
    [
        "metadata:\n  name: m\n",
        "metadata: # of the CRD\n\n    # four\n    name: m\n    labels: {a: b}\n",
        "metadata:\n  annotations:\n    a: b\n  name: m\n",
        "metadata:\n  name: m\n  annotations: # why\n      a: |\n        kind: x\n      c: d\n",
        "metadata:\n  name: m\n  annotations:\n  labels:\n    annotations: x\n",
        'metadata:\n  annotations:\n    "helm.sh/resource-policy": "keep"\n  name: m\n',
    ],
)
def test_a_crd_gets_the_annotation_beside_its_own(metadata: str) -> None:
    crd = CRD.replace("metadata:\n  name: models.kubeai.org\n", metadata)

    assert documents(kept(f"---\n{OTHER}---\n{crd}")) == [*documents(OTHER), marked(documents(crd)[0])]


@pytest.mark.skipif(not CRDS.is_dir(), reason="needs the real CRDs beside the checkout")
def test_the_crds_of_both_platforms_are_kept_and_nothing_else_of_them_changes() -> None:
    for file in sorted(CRDS.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        made = kept(f"---\n# Source: chart/{file.name}\n{text}\n---\n{OTHER}")

        assert documents(made) == [*(marked(one) for one in documents(text)), *documents(OTHER)], file


@pytest.mark.parametrize(
    "manifest",
    [
        CRD.replace("metadata:\n  name: models.kubeai.org\n", "metadata: {name: m}\n"),
        CRD.replace("  name:", "  annotations: {a: b}\n  name:"),
        CRD.replace("  name:", "  annotations:\n    helm.sh/resource-policy: delete\n  name:"),
        '{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "m"}}',
        "kind: List\nitems:\n- apiVersion: apiextensions.k8s.io/v1\n  kind: CustomResourceDefinition\n",
    ],
)
def test_a_form_that_is_not_read_is_refused_and_never_installed_unkept(manifest: str) -> None:
    run = subprocess.run(
        [ROOT / charts.KEEP_CRDS], input=manifest, capture_output=True, text=True, check=False, cwd="/"
    )

    assert run.returncode == 1
    assert run.stdout == ""
    assert re.fullmatch(r"error: .*: its chart cannot be installed, .*\n", run.stderr)


@given(st.lists(st.sampled_from([CRD, OTHER, "# nothing\n", "", kept(CRD)])), st.booleans())
def test_each_crd_of_a_chart_is_kept_and_twice_is_as_once(parts: list[str], ends: bool) -> None:
    text = "---\n" + "---\n".join(parts)
    made = kept(text if ends else text.rstrip("\n"))

    crds = [one for one in documents(made) if one["kind"] == "CustomResourceDefinition"]
    assert len(crds) == sum("models.kubeai.org" in part for part in parts)
    assert all(one["metadata"]["annotations"][POLICY] == "keep" for one in crds)
    assert kept(made) == made


def test_it_runs_by_itself_from_the_projects_folder_with_no_library_of_ours() -> None:
    run = subprocess.run(
        [charts.KEEP_CRDS], input=CRD, capture_output=True, text=True, check=True, cwd=ROOT, env={"PATH": "/usr/bin"}
    )

    assert documents(run.stdout) == [marked(documents(CRD)[0])]
