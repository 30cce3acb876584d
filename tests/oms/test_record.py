"""After a pause by command the stack's state knows of it, so that the settings win again with the next `up`."""

import json
import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from oms.main import main
from tests.recorded_api import RecordedApi
from tests.smoke import stacks
from watch import waiting

URN = "urn:pulumi:dev::oci-model-serving::**kubernetes:serving.kserve.io/v1beta1:InferenceService::" + stacks.NAME


@pytest.fixture
def served(cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> RecordedApi:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    path, body = stacks.served("modelcar")
    cluster.objects[path] = body
    return cluster


@pytest.fixture
def calls(tmp_path: Path, served: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` that has the stack's outputs, and notes how a refresh is asked for; REFRESH is how that ends."""
    (tmp_path / "Pulumi.yaml").write_text("name: oci-model-serving\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  oci-model-serving:target: gke\n")
    (tmp_path / "outputs.json").write_text(json.dumps({**stacks.raw_outputs(), "kubeconfig": served.kubeconfig}))
    script = tmp_path / "bin" / "pulumi"
    script.parent.mkdir()
    script.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable}
            import os, pathlib, sys
            if sys.argv[1] == "stack":
                print(pathlib.Path("outputs.json").read_text())
                sys.exit(0)
            pathlib.Path("calls").write_text("\\n".join(sys.argv[1:]))
            print("what the engine shows")
            sys.exit(int(os.environ.get("REFRESH", "0")))
            """)
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "calls"


@pytest.mark.parametrize("stack", ["dev", "acme/oci-model-serving/dev"])
def test_the_object_alone_is_refreshed_by_the_stacks_own_name(
    calls: Path, capsys: pytest.CaptureFixture[str], stack: str
) -> None:
    assert main(["pause", "--stack", stack, "--json"]) == 0

    command, *given = calls.read_text().splitlines()
    assert command == "refresh"
    assert given[:2] == ["--stack", stack]
    assert given[-2:] == ["--target", URN]
    assert {"--yes", "--non-interactive"} <= set(given)
    said = capsys.readouterr()
    assert json.loads(said.out)["ok"]
    assert "the next `pulumi up`" in said.err


def test_a_state_that_cannot_be_told_fails_the_command_and_says_how_the_settings_win(
    calls: Path, served: RecordedApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFRESH", "255")

    assert main(["pause", "--stack", "dev"]) == 1

    assert "`pulumi up --refresh`" in capsys.readouterr().err
    path, _ = stacks.served("modelcar")
    assert served.objects[path]["metadata"]["annotations"] == {"serving.kserve.io/stop": "true"}


def test_with_outputs_from_a_file_no_engine_is_asked_and_the_flag_that_sees_the_pause_is_named(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pause", "--stack", "dev", "--outputs", "outputs.json"]) == 0

    assert not calls.exists()
    assert "`pulumi up --refresh`" in capsys.readouterr().err


def test_a_check_records_nothing(calls: Path) -> None:
    main(["check", "--stack", "dev", "--only", "egress"])

    assert not calls.exists()
