"""docs/gitops.md, followed line by line: each command of ours runs, and what the others are given is there."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from offline import manifests, phases
from oms.main import main
from tests.deployed import ROOT, deploy, outputs_of

PAGE = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
BLOCKS = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]
LINES = [line.partition("  # ")[0].strip() for block in BLOCKS for line in block]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The program with its stacks, after the page's own commands, and what kubectl was then given and did not find."""
    folder, missing = tmp_path_factory.mktemp("checkout"), set()
    for file in [ROOT / "__main__.py", *ROOT.glob("Pulumi*.yaml")]:
        shutil.copy(file, folder / file.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        outputs = outputs_of(deploy("dev"))
        patch.chdir(folder)
        (folder / "dev.json").write_text(json.dumps({**outputs, "kubeconfig": "[secret]"}))
        # The first block is of a folder that the later ones make.
        ran = 0
        for line in [*LINES, *BLOCKS[0]]:
            words = shlex.split(line, comments=True)
            if words[:2] == ["oms", "render"]:
                assert main(words[1:]) == 0, line
                ran += 1
            if words[:2] == ["kubectl", "apply"] and ran:
                missing |= {word for word in words[3:] if not list(folder.glob(word))}
    assert ran == 4
    return folder, missing


def test_every_file_that_kubectl_is_given_is_there(followed: tuple[Path, set[str]]) -> None:
    folder, missing = followed
    assert missing == set()
    # As the page says of them: what is numbered 10 to 40 is known to every Kubernetes.
    (_, _, _, pattern) = shlex.split(LINES[0])
    early = [yaml.safe_load(file.read_text()) for file in folder.glob(pattern)]
    assert {body["kind"] for body in early} >= {"Namespace", "ValidatingAdmissionPolicy", "ServiceAccount"}
    assert not {body["kind"] for body in early} & {"InferenceService", "ServingRuntime", "Gateway", "DaemonSet"}


def test_the_first_lines_of_each_values_file_have_its_command(followed: tuple[Path, set[str]]) -> None:
    files = sorted((followed[0] / "clusters" / "prod" / "helm").iterdir())

    assert len(files) == 4
    for file in files:
        head = file.read_text().splitlines()[:3]
        assert sum(line.startswith("# helm upgrade --install ") for line in head) == 1


def test_the_folders_and_phases_of_the_page_are_those_of_the_program(followed: tuple[Path, set[str]]) -> None:
    there = {path.name for path in (followed[0] / "clusters" / "prod").iterdir()}
    told = set(re.findall(r"^\| `(\w[\w.]*)/?`", PAGE, re.MULTILINE)) | {"argocd", "flux"}

    assert told == there | {manifests.SECRETS, manifests.ARGO_CD}
    numbers = sorted(set(map(int, re.findall(r"\b([1-9]0) (?:\w)", PAGE.split("Phases:")[1].split("\n\n")[0]))))
    assert set(numbers) >= {phases.NAMESPACES, phases.POLICIES, phases.RIGHTS, phases.MODELS, phases.MONITORING}


def test_the_commands_for_secrets_name_one_as_the_program_does() -> None:
    (line,) = [line for line in LINES if "create secret" in line]
    assert "-n models create secret generic qwen-env " in line
