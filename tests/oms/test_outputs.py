"""Where a stack's outputs come from, and what is said when they do not."""

import json
import os
import stat
from pathlib import Path

import pytest

from oci_model_serving.errors import InputError
from oms import engine as engines
from oms.outputs import read_outputs
from tests.smoke import stacks

SECRET = "clusters: very-secret"


def written(folder: Path, content: object) -> Path:
    file = folder / "outputs.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An executable `pulumi` that runs a script of the test's."""
    (tmp_path / "Pulumi.yaml").write_text("name: oci-model-serving\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {target: gke}\n")
    monkeypatch.chdir(tmp_path)
    command = tmp_path / "bin" / "pulumi"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 3\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return command


def test_outputs_are_read_from_a_file(tmp_path: Path) -> None:
    outputs = read_outputs("dev", written(tmp_path, {**stacks.raw_outputs(), "kubeconfig": SECRET}))

    assert outputs.models[stacks.KEY].digest == stacks.DIGEST
    assert outputs.kubeconfig == SECRET


def test_outputs_are_read_from_a_plan(tmp_path: Path) -> None:
    outputs = read_outputs("dev", written(tmp_path, {"resources": [], "outputs": stacks.raw_outputs()}))

    assert list(outputs.models) == [stacks.KEY]


def test_outputs_are_asked_of_the_engine_by_the_stacks_name(engine: Path) -> None:
    engine.write_text(
        f"#!/bin/sh\necho \"$@\" > '{engine}.args'\ncat <<'END'\n{json.dumps(stacks.raw_outputs())}\nEND\n"
    )

    assert read_outputs("acme/oci-model-serving/dev").models[stacks.KEY].name == stacks.NAME
    assert "--stack acme/oci-model-serving/dev" in Path(f"{engine}.args").read_text()


def test_an_unknown_stack_fails_with_what_the_engine_says(engine: Path) -> None:
    engine.write_text("#!/bin/sh\necho \"error: no stack named 'dev' found\" >&2\nexit 255\n")

    with pytest.raises(InputError, match="no stack named 'dev' found"):
        read_outputs("dev")


@pytest.mark.usefixtures("engine")
def test_a_missing_engine_names_the_file_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find", lambda: None)

    with pytest.raises(InputError, match="--outputs FILE"):
        read_outputs("dev")


@pytest.mark.parametrize("content", ["{not json", "[]", "{}"])
def test_a_file_that_holds_no_outputs_is_refused_by_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"outputs\.json"):
        read_outputs("dev", written(tmp_path, content))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--outputs .*absent\.json"):
        read_outputs("dev", tmp_path / "absent.json")


def test_a_broken_contract_does_not_show_the_kubeconfig(tmp_path: Path) -> None:
    broken = {**stacks.raw_outputs(), "kubeconfig": SECRET, "models": {stacks.KEY: {"image": 3}}}

    with pytest.raises(InputError) as refused:
        read_outputs("dev", written(tmp_path, broken))

    assert "very-secret" not in str(refused.value)
