"""`oms render`: complete manifests by a stack's outputs, those of another stack, or digests; no secret in them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelimage.packer import pack
from modelimage.tiny import write_tiny_model
from offline.values import dumps
from oms import main as oms
from tests import tools
from tests.deployed import ROOT, deploy, outputs_of
from tests.registry import registry_missing, running

DIGEST = "sha256:" + "7" * 64
KEY = "qwen2.5-0.5b-instruct"
JSON = dict[str, Any]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no engine


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pulumi stack output --json` says of dev."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        outputs = outputs_of(deploy("dev", digest=DIGEST))
    file = tmp_path_factory.mktemp("outputs") / "dev.json"
    file.write_text(json.dumps({**outputs, "kubeconfig": "[secret]"}))
    return file


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := registry_missing():
        pytest.skip(why)
    for server in running(tmp_path_factory.mktemp("registry")):
        yield server.host


def render(*arguments: str) -> int:
    return oms.main(["render", *arguments])


def objects(folder: Path) -> list[JSON]:
    return [yaml.safe_load(file.read_text()) for file in sorted((folder / "objects").iterdir())]


def uris(found: list[JSON]) -> dict[str, str]:
    return {
        body["metadata"]["name"]: body["spec"]["url"]
        if body["kind"] == "Model"
        else body["spec"]["predictor"]["model"]["storageUri"]
        for body in found
        if body["kind"] in {"InferenceService", "Model"}
    }


def test_a_stack_is_rendered_whole_by_its_own_outputs_and_to_the_same_bytes_again(
    dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        assert render("--stack", "dev", "--outputs", str(dev), "--output", str(tmp_path / name), "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[0])

    assert uris(objects(tmp_path / "one")) == {
        "qwen2-5-0-5b-instruct": f"oci://us-central1-docker.pkg.dev/demo/models/qwen2-5-0-5b-instruct@{DIGEST}"
    }
    assert told["models"] == {KEY: f"us-central1-docker.pkg.dev/demo/models/qwen2-5-0-5b-instruct@{DIGEST}"}
    assert told["secrets"] == []
    files = {name: (tmp_path / "one" / name).read_bytes() for name in told["files"]}
    assert files == {name: (tmp_path / "two" / name).read_bytes() for name in told["files"]}
    assert not [name for name, content in files.items() if b"Not complete" in content or b"known after" in content]


def test_outputs_come_by_stdin_and_manifests_go_to_stdout_in_the_order_of_their_phases(dev: Path) -> None:
    command = [sys.executable, "-m", "oms", "render", "--stack", "dev", "--outputs", "-"]
    done = subprocess.run(command, cwd=ROOT, input=dev.read_text(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    kinds = [body["kind"] for body in yaml.safe_load_all(done.stdout)]
    assert kinds[0] == "Namespace"
    assert kinds.index("ServingRuntime") < kinds.index("InferenceService") < kinds.index("HTTPRoute")


def test_a_stack_that_nobody_deploys_by_the_engine_takes_the_digest_of_the_stack_it_promotes_from(
    dev: Path, tmp_path: Path
) -> None:
    given = f"acme/oci-model-serving/dev={dev}"
    assert render("--stack", "prod", "--outputs", given, "--output", str(tmp_path)) == 0

    # Copied by `copy: true`: the digest is dev's, the registry prod's.
    found = uris(objects(tmp_path))
    assert found["qwen2-5-0-5b-instruct"].endswith(f"/demo-prod/models/qwen2-5-0-5b-instruct@{DIGEST}")
    assert found["qwen2-5-0-5b-openai"].endswith(f":digest-{DIGEST.replace(':', '-')}")
    listed = [body for body in objects(tmp_path) if body["kind"] == "Namespace"]
    assert sum(DIGEST in json.dumps(body) for body in listed) == 2  # the cluster lets these in, and nothing else


def test_what_is_not_known_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    assert oms.main(["plan", "--stack", "dev", "--json"]) == 0
    plan.write_text(capsys.readouterr().out)

    assert render("--stack", "dev", "--outputs", str(plan), "--output", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "is a plan that cannot know the images of qwen2.5-0.5b-instruct before they are made: write it with" in said
    assert not (tmp_path / "out").exists()


def test_outputs_that_lack_a_model_are_refused_with_what_is_open(
    dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = json.loads(dev.read_text()) | {"models": {}}
    (tmp_path / "outputs.json").write_text(json.dumps(without))

    assert render("--stack", "dev", "--outputs", str(tmp_path / "outputs.json"), "--output", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert (
        "InferenceService models/qwen2-5-0-5b-instruct: spec.predictor.model.storageUri: is known after build" in said
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--for", "flux"], "needs --output DIR and --repo URL"),
        (["--path", "x"], "are for --for argocd and --for flux"),
        (["--json"], "--json: needs --output DIR"),
        (["--for", "flux", "--repo", "u", "--output", "o", "--path", "../x"], "write a folder in the repository"),
        (["--for", "flux", "--repo", "git", "--output", "o"], "--repo 'git': write https://HOST/PATH"),
        (["--for", "argocd", "--repo", "https://me:pw@git.example/p", "--output", "o"], "give it to the tool as a Sec"),
        (["--outputs", "acme/x/dev=a"], "stack 'dev' takes nothing of that stack: it promotes from no other stack"),
        (["--digest", "nothing"], "write MODEL=IMAGE"),
        (["--digest", "other=h/r@sha256:" + "1" * 64], "has no such model: it has qwen2.5-0.5b-instruct"),
        (["--digest", f"{KEY}=h.example/r:v1"], "sha256"),
        (["--outputs", "a", "--outputs", "b"], "give them once"),
        (["--outputs", "/nowhere/outputs.json"], "/nowhere/outputs.json cannot be read"),
        ([], "there is no Pulumi CLI on PATH"),
    ],
)
def test_wrong_options_are_told_with_what_to_write(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert render("--stack", "dev", *[str(tmp_path / "o") if one == "o" else one for one in arguments]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert "me:pw" not in said.err
    assert said.out == ""


def test_a_secret_is_left_to_others_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], registry: str
) -> None:
    project = _project(tmp_path, registry, secretEnv={"VLLM_API_KEY": {"secure": "v1:cipher:text"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert render("--stack", "site", "--output", "out", "--json") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)

    assert told["secrets"] == ["secrets/secret-models-tiny-env.yaml"]
    assert "1 Secrets are yours to make" in said.err
    text = (project / "out" / told["secrets"][0]).read_text()
    assert "# Left out, since it is secret: stringData (VLLM_API_KEY)" in text
    assert "cipher" not in "".join(file.read_text() for file in (project / "out").rglob("*.yaml"))
    (service,) = [body for body in objects(project / "out") if body["kind"] == "InferenceService"]
    # The pod names the Secret that is left to make.
    assert "tiny-env" in json.dumps(service)


def test_a_digest_is_looked_up_in_its_registry_and_one_that_is_not_there_is_told(
    tmp_path: Path, registry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = _project(tmp_path, registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert render("--stack", "site", "--output", "out") == 0
        image = yaml.safe_load((project / "Pulumi.site.yaml").read_text())["config"]["oci-model-serving:models"][
            "tiny"
        ]["digest"]
        assert uris(objects(project / "out")) == {"tiny": f"oci+native://{image}"}

        missing = f"{image.partition('@')[0]}@{DIGEST}"
        assert render("--stack", "site", "--digest", f"tiny={missing}", "--output", "out") == 1
        assert DIGEST in capsys.readouterr().err
        other = _packed(tmp_path / "other", registry, seed=1)
        assert render("--stack", "site", "--digest", f"tiny={other}", "--output", "out") == 2
        assert "write the digest" in capsys.readouterr().err


def test_helm_renders_the_values_of_the_charts_that_are_here(dev: Path, tmp_path: Path) -> None:
    """What a `helm-…` file says is a command that Helm understands; the charts themselves are not on this machine."""
    assert render("--stack", "prod", "--outputs", f"dev={dev}", "--output", str(tmp_path)) == 0
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: kubeai\nversion: 0.24.0\n")
    (chart / "templates" / "values.yaml").write_text("kind: ConfigMap\ndata: {v: {{ .Values | toJson | quote }}}\n")
    for file in sorted((tmp_path / "helm").iterdir()):
        done = tools.run("helm", "template", "x", str(chart), "--values", str(file))
        assert done.returncode == 0, done.stderr
        values = json.loads(yaml.safe_load(done.stdout)["data"]["v"])
        assert values == (yaml.safe_load(file.read_text()) or {})


def _packed(folder: Path, registry: str, seed: int = 0) -> str:
    write_tiny_model(str(folder), seed=seed)
    return str(pack(str(folder), f"{registry}/models/tiny").reference)


def _project(folder: Path, registry: str, **model: Any) -> Path:
    """The program with a stack of a model by digest, in a cluster that others have made."""
    project = folder / "project"
    project.mkdir()
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, project / name)
    settings = {"digest": _packed(folder / "weights", registry), "delivery": "native", **model}
    config = {
        "oci-model-serving:target": "local",
        "oci-model-serving:registry": {"url": f"{registry}/models"},
        "oci-model-serving:models": {"tiny": settings},
    }
    (project / "Pulumi.site.yaml").write_text(yaml.safe_dump({"config": config}))
    return project


def test_plans_of_two_revisions_differ_by_the_digest_alone(dev: Path, tmp_path: Path) -> None:
    """A reviewer of the rendered folder sees what rolls out: one digest, in what serves it and in what lets it in."""
    other = json.loads(dev.read_text().replace("7" * 64, "8" * 64))
    (tmp_path / "next.json").write_text(dumps(other))
    for name, file in (("before", dev), ("after", tmp_path / "next.json")):
        assert render("--stack", "dev", "--outputs", str(file), "--output", str(tmp_path / name)) == 0
    before, after = (
        {file.name: file.read_text() for file in sorted((tmp_path / name / "objects").iterdir())}
        for name in ("before", "after")
    )

    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "10-namespace-models.yaml",
        "70-inferenceservice-models-qwen2-5-0-5b-instruct.yaml",
    }
