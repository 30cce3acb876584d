"""What a real Helm does on a real API server with a chart whose CRDs the post-renderer has marked."""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from components.serving.charts import KEEP_CRDS
from tests.crds import CRDS
from tests.integration import cluster

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]

HELM = Path.home() / ".cache" / "test-tools" / "helm"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Chart:
    """KubeAI's CRD in a group of the test's own, as a chart."""

    folder: Path
    group: str

    @property
    def crd(self) -> str:
        return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/models.{self.group}"


@pytest.fixture
def chart(api: httpx.Client, tmp_path: Path) -> Iterator[Chart]:
    if not HELM.exists():
        pytest.skip(f"no {HELM}: .ci/run builds it")
    made = Chart(tmp_path / "kubeai", f"kept-{secrets.token_hex(4)}.example")
    templates = made.folder / "templates"
    templates.mkdir(parents=True)
    (made.folder / "Chart.yaml").write_text("apiVersion: v2\nname: kubeai\nversion: 0.24.0\n", encoding="utf-8")
    crd = (CRDS / "kubeai" / "kubeai.org_models.yaml").read_text(encoding="utf-8")
    (templates / "crd.yaml").write_text(crd.replace("kubeai.org", made.group), encoding="utf-8")
    (templates / "config.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}}), encoding="utf-8"
    )
    yield made
    api.delete(made.crd)


@pytest.fixture
def helm(kubeconfig: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        line = [str(HELM), *map(str, words), "--kubeconfig", str(kubeconfig)]
        return subprocess.run(line, capture_output=True, text=True, check=check, cwd=ROOT, timeout=120)

    return run


def test_an_uninstall_leaves_every_model_and_another_install_takes_the_crd_on_again(
    api: httpx.Client, kubeconfig: Path, chart: Chart, helm: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with cluster.namespace(kubeconfig, "kept") as own, cluster.namespace(kubeconfig, "others") as other:
        # As the version before has installed it, then upgraded.
        helm("install", "kubeai", chart.folder, "-n", own)
        helm("upgrade", "kubeai", chart.folder, "-n", own, "--post-renderer", KEEP_CRDS)
        models = f"/apis/{chart.group}/v1/namespaces/{other}/models"
        cluster.wait_for(lambda: api.get(models).is_success)
        spec = {"features": ["TextGeneration"], "engine": "VLLM", "url": "hf://a/b", "resourceProfile": "cpu:1"}
        model = {"apiVersion": f"{chart.group}/v1", "kind": "Model", "metadata": {"name": "theirs"}, "spec": spec}
        api.post(models, json=model).raise_for_status()

        helm("uninstall", "kubeai", "-n", own)

        assert api.get(f"/api/v1/namespaces/{own}/configmaps/config").status_code == 404
        kept = api.get(chart.crd).raise_for_status().json()
        assert "deletionTimestamp" not in kept["metadata"]
        assert api.get(f"{models}/theirs").is_success

        helm("install", "kubeai", chart.folder, "-n", own, "--post-renderer", KEEP_CRDS)
        # A second stack's is refused, in words that `refusals` knows.
        again = helm("install", "kubeai", chart.folder, "-n", own, check=False)
        assert "cannot re-use a name that is still in use" in again.stderr
        elsewhere = helm("install", "kubeai", chart.folder, "-n", other, "--post-renderer", KEEP_CRDS, check=False)
        assert "invalid ownership metadata" in elsewhere.stderr
