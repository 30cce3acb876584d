import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from oms.main import main
from policy.rules import check
from tests.deployed import ROOT

DEV = "acme/oci-model-serving/dev"
NODE_POOL = "gcp:container/nodePool:NodePool"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def minimum(tmp_path: Path) -> Path:
    """The documented minimum of an environment, as a file."""
    text = (ROOT / "docs" / "environments.md").read_text()
    (block,) = re.findall(r"^```yaml\n(# Pulumi\.staging\.yaml\n.*?)^```", text, re.DOTALL | re.MULTILINE)
    file = tmp_path / "Pulumi.staging.yaml"
    file.write_text(block)
    return file


def plan(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code = main(["plan", "--stack", "staging", "--config-file", str(file), "--format", "json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return dict(json.loads(captured.out))


def test_the_documented_minimum_is_a_whole_environment(minimum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = plan(minimum, capsys)
    types = {item["type"] for item in made["resources"]}
    assert {
        "gcp:container/cluster:Cluster",
        "gcp:artifactregistry/repository:Repository",
        NODE_POOL,
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:serving.kserve.io/v1beta1:InferenceService",
    } <= types
    assert [found for found in check(made, "staging") if found.mandatory] == []


def test_the_defaults_are_those_that_the_page_names(minimum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = plan(minimum, capsys)
    (pool,) = made["outputs"]["node_pools"].values()
    assert (pool["count"], pool["disk_size_gb"], pool["min_nodes"]) == (1, 200, 0)
    (model,) = made["outputs"]["models"].values()
    assert (model["delivery"], model["platform"]) == ("modelcar", "kserve")
    assert made["outputs"]["platforms"]["kserve"]["gateway"] == "gke"
    (cluster,) = [item["inputs"] for item in made["resources"] if item["type"] == "gcp:container/cluster:Cluster"]
    assert cluster["releaseChannel"] == {"channel": "REGULAR"}
    assert cluster["privateClusterConfig"]["enablePrivateNodes"] is True


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("gcp:project", "gcp:project"),
        ("gcp:region", "gcp:region"),
        ("oci-model-serving:target", "oci-model-serving:registry"),
        ("oci-model-serving:registry", "oci-model-serving:registry"),
        ("oci-model-serving:cluster", "oci-model-serving:cluster"),
        ("oci-model-serving:nodePools", "nodePool: is 'l4', which does not exist"),
    ],
)
def test_nothing_of_the_minimum_can_be_left_out(
    minimum: Path, capsys: pytest.CaptureFixture[str], key: str, said: str
) -> None:
    settings = yaml.safe_load(minimum.read_text())
    del settings["config"][key]
    minimum.write_text(yaml.safe_dump(settings))
    assert main(["plan", "--stack", "staging", "--config-file", str(minimum)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_an_environment_is_added_by_copying_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "Pulumi.staging.yaml"
    copy.write_text((ROOT / "Pulumi.prod.yaml").read_text().replace("demo-prod", "demo-staging"))
    made = plan(copy, capsys)
    main(["plan", "--stack", "prod", "--format", "json"])
    prod = json.loads(capsys.readouterr().out.replace("demo-prod", "demo-staging"))
    assert made == {**prod, "stack": "staging"}
