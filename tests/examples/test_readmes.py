"""The examples' pages: each is followed in a fresh copy of the checkout, as far as a machine without a cloud can."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.stack_file import find_project
from oms.main import main
from tests.deployed import ROOT
from tests.mocks import DIGEST
from tests.test_commands_named import wrong

PAGES = sorted((ROOT / "examples").glob("*/README.md"))
OURS = [page for page in PAGES if not page.parent.name.startswith("consumer")]
_OTHERS = {
    ("pip", "install"),
    ("pulumi", "config", "set"),
    ("pulumi", "preview"),
    ("pulumi", "stack", "init"),
    ("pulumi", "stack", "output"),
    ("pulumi", "up"),
    ("oms", "check"),
    ("oms", "preview"),
    ("oms", "up"),
}
"""What needs a state, a cloud or a cluster."""


def lines(page: Path) -> list[list[str]]:
    """The commands of a page's blocks, in words."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    said = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [part for words in said if words for part in _parts(words)]


def _parts(words: list[str]) -> Iterator[list[str]]:
    while "&&" in words:
        at = words.index("&&")
        yield words[:at]
        words = words[at + 1 :]
    yield words


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nobody has written a stack yet, with the examples; the hub is out of reach."""
    for name in ("__main__.py", "Pulumi.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.parent.name)
def test_an_examples_page_can_be_followed_and_its_plans_warn_of_nothing_but_the_servers_tag(
    page: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = 0
    for words in lines(page):
        if words[0] == "oms" and words[1] == "plan":
            into = words.index(">") if ">" in words else len(words)
            assert main([*words[1:into], "--policy"]) == 0, capsys.readouterr().err
            said = capsys.readouterr()
            warned = [line for line in said.err.splitlines() if line.startswith(("warning:", "advisory:"))]
            # The default server is known by its tag alone: `oms pin` asks its registry for the digest.
            assert [line for line in warned if "a tag can move" not in line] == []
            assert said.out
            if words[into:]:
                Path(words[into + 1]).write_text(said.out)
            planned += 1
        elif words[0] == "cp":
            *sources, target = words[1:]
            for source in sources:
                shutil.copy(source, target)
        else:
            assert any(tuple(words[: len(other)]) == other for other in _OTHERS), words
        if words[0] == "oms":
            assert list(wrong(f"`{' '.join(words)}`")) == []
    assert planned
    # What was copied is what the commands after it name.
    copied = set(find_project(checkout).stacks())
    named = {
        words[words.index("--stack") + 1] for words in lines(page) if words[1:2] in (["up"], ["check"], ["preview"])
    }
    assert named
    assert named <= copied


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_what_an_examples_page_leads_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def plan_of(name: str, capsys: pytest.CaptureFixture[str], *further: str, stack: str = "") -> dict[str, Any]:
    file = ROOT / "examples" / name / f"Pulumi.{stack or name}.yaml"
    assert main(["plan", "--stack", stack or name, "--config-file", str(file), "--json", *further]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def of_type(plan: dict[str, Any], ending: str) -> list[dict[str, Any]]:
    return [one["inputs"] for one in plan["resources"] if one["type"].endswith(ending)]


@pytest.mark.usefixtures("checkout")
def test_the_ten_models_start_from_nothing_and_are_all_on_the_one_pool(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("ten-models", capsys)
    models = of_type(plan, "kubeai.org/v1:Model")
    assert len(models) == 10
    assert {(one["spec"]["minReplicas"], one["spec"]["maxReplicas"]) for one in models} == {(0, 1)}
    assert {one["spec"]["resourceProfile"] for one in models} == {"l4:1"}
    assert len(of_type(plan, "index:GpuNodePool")) == 1
    assert {one["node_pool"] for one in plan["outputs"]["models"].values()} == {"l4"}
    assert plan["predictions"]["cost"]["at_min"] < plan["predictions"]["cost"]["at_max"]
    # The page says how long a first request waits "by model": of all of them.
    assert all(one["cold_start"] for one in plan["predictions"]["models"].values())


@pytest.mark.usefixtures("checkout")
def test_prod_serves_the_digest_that_dev_has_deployed_and_builds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    name = "qwen2.5-0.5b-instruct"
    image = f"us-central1-docker.pkg.dev/demo-dev/models/qwen@{DIGEST}"
    outputs = {"contract_version": 1, "models": {name: {"image": image, "digest": DIGEST, "size_bytes": 10**9}}}
    Path("dev.json").write_text(json.dumps(outputs))
    plan = plan_of("dev-to-prod", capsys, "--outputs", "acme/oci-model-serving/dev=dev.json", stack="prod")
    (served,) = of_type(plan, "serving.kserve.io/v1beta1:InferenceService")
    uri = served["spec"]["predictor"]["model"]["storageUri"]
    assert uri.startswith("oci+native://us-central1-docker.pkg.dev/demo-prod/models/")
    assert uri.endswith(f"@{DIGEST}")
    assert served["spec"]["predictor"]["minReplicas"] == 2
    commands = [
        one["create"] for one in of_type(plan, "command:local:Command") if "modelimage" in one.get("create", "")
    ]
    assert [line.split()[3] for line in commands] == ["copy"]


@pytest.mark.usefixtures("checkout")
def test_in_an_existing_cluster_nothing_of_googles_is_made_but_the_reader(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of("existing-cluster", capsys)
    made = [one["type"] for one in plan["resources"] if one["type"].startswith("gcp:")]
    assert made == ["gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"]
    (reader,) = [one for one in plan["resources"] if one["type"] in made]
    assert reader["options"]["retainOnDelete"] is True


@pytest.mark.usefixtures("checkout")
def test_the_model_on_processors_asks_for_no_gpu_and_gets_the_image_for_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = plan_of("cpu-only", capsys)
    assert "nvidia.com/gpu" not in json.dumps(plan["resources"])
    (runtime,) = of_type(plan, "v1alpha1:ServingRuntime")
    (served,) = of_type(plan, "v1beta1:InferenceService")
    settings = yaml.safe_load((ROOT / "examples" / "cpu-only" / "Pulumi.cpu-only.yaml").read_text())
    (model,) = settings["config"]["oci-model-serving:models"].values()
    image = served["spec"]["predictor"]["model"].get("image") or runtime["spec"]["containers"][0]["image"]
    assert "vllm-cpu" in image
    assert served["spec"]["predictor"]["model"]["resources"]["limits"] == {
        key: model["resources"][key] for key in ("cpu", "memory")
    }
