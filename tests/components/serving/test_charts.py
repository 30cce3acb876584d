import pulumi
import pytest

from components.serving.charts import release
from tests.mocks import record

RELEASE = "kubernetes:helm.sh/v3:Release"


@pytest.mark.parametrize(
    ("repository", "chart", "repositories", "version"),
    [
        ("oci://ghcr.io/kserve/charts", "oci://ghcr.io/kserve/charts/kserve-crd", None, "v0.20.0"),
        ("oci://mirror.example/charts/", "oci://mirror.example/charts/kserve-crd", None, "v0.20.0"),
        ("https://www.kubeai.org", "kserve-crd", {"repo": "https://www.kubeai.org"}, "v0.20.0"),
        ("/srv/charts", "/srv/charts/kserve-crd", None, None),
        ("charts", "charts/kserve-crd", None, None),
    ],
)
def test_a_chart_comes_from_an_oci_or_http_repository_or_a_folder(
    repository: str, chart: str, repositories: dict[str, str] | None, version: str | None
) -> None:
    made = record(
        lambda: release(
            "kserve-crd",
            repository=repository,
            version="v0.20.0",
            namespace="kserve",
            values={"a": {"b": 1}},
            opts=pulumi.ResourceOptions(),
        )
    ).only(RELEASE)

    assert made.inputs["chart"] == chart
    assert made.inputs.get("repositoryOpts") == repositories
    assert made.inputs.get("version") == version
    assert made.inputs["name"] == "kserve-crd"
    assert made.inputs["values"] == {"a": {"b": 1}}


def test_a_release_waits_for_its_workloads_and_leaves_no_failed_first_install() -> None:
    made = record(
        lambda: release(
            "kubeai",
            repository="https://www.kubeai.org",
            version="0.24.0",
            namespace="kubeai",
            values={},
            opts=pulumi.ResourceOptions(),
        )
    ).only(RELEASE)

    assert made.inputs["atomic"] is True
    assert made.inputs["timeout"] == 900
    assert "skipAwait" not in made.inputs
