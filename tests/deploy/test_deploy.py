"""`make up` and `make preview` use the engine where there is one, and else say so and run in-process."""

import json
import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from deploy import cli, engine

LOCAL = """\
config:
  oci-model-serving:target: local
  oci-model-serving:models:
    tiny: {source: .local/model, delivery: native}
"""
CLOUD = """\
config:
  oci-model-serving:target: gke
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.local.yaml").write_text(LOCAL)
    (tmp_path / "Pulumi.dev.yaml").write_text(CLOUD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.startswith("PULUMI_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find", lambda: None)
    monkeypatch.setattr(engine, "install", lambda: None)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each in-process run, none of which happens."""
    asked: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr("offline.cli.main", run)
    return asked


@pytest.fixture
def fake_engine(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` that notes how it is called and, as the real one, writes a new stack's salt into its file."""
    folder = project / "bin"
    folder.mkdir()
    script = folder / "pulumi"
    script.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable}
            import json, os, sys
            kept = {{k: v for k, v in os.environ.items() if k.startswith("PULUMI_")}}
            with open("calls.jsonl", "a") as calls:
                calls.write(json.dumps([sys.argv[1:], kept]) + "\\n")
            if sys.argv[1] == "stack":
                name = sys.argv[sys.argv.index("--create") + 1]
                with open(f"Pulumi.{{name}}.yaml", "a") as settings:
                    settings.write("encryptionsalt: v1:abc\\n")
            sys.exit(int(os.environ.get("EXIT", "0")) if sys.argv[1] == "up" else 0)
            """)
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return project / "calls.jsonl"


def calls(file: Path) -> list[tuple[list[str], dict[str, str]]]:
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def test_the_engine_on_path_is_used_with_a_backend_and_a_passphrase_of_its_own(fake_engine: Path) -> None:
    assert cli.main(["up"]) == 0

    (select, _), (up, environment) = calls(fake_engine)
    assert select[:4] == ["stack", "select", "--create", "local"]
    assert up == ["up", "--stack", "local", "--config-file", ".local/Pulumi.local.yaml", "--yes"]
    assert environment["PULUMI_BACKEND_URL"] == (Path.cwd() / ".local" / "state").as_uri()
    assert environment["PULUMI_CONFIG_PASSPHRASE"]


def test_the_stack_file_in_the_checkout_stays_as_it_is_and_the_salt_is_kept(fake_engine: Path) -> None:
    cli.main(["up"])
    cli.main(["preview"])

    assert Path("Pulumi.local.yaml").read_text() == LOCAL
    assert Path(".local/Pulumi.local.yaml").read_text() == "encryptionsalt: v1:abc\n" + LOCAL


def test_a_configured_backend_and_passphrase_are_left_alone(fake_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Path.home() / ".pulumi" / "credentials.json"
    credentials.parent.mkdir(parents=True)
    credentials.write_text('{"current": "https://api.pulumi.com"}')
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")

    cli.main(["up"])

    _, (_, environment) = calls(fake_engine)
    assert "PULUMI_BACKEND_URL" not in environment
    assert environment["PULUMI_CONFIG_PASSPHRASE"] == "mine"


def test_a_cloud_stack_is_never_deployed_without_being_asked(fake_engine: Path) -> None:
    cli.main(["up", "--stack", "dev"])
    cli.main(["up", "--stack", "dev", "--yes"])

    ups = [(arguments, environment) for arguments, environment in calls(fake_engine) if arguments[0] == "up"]
    assert [arguments for arguments, _ in ups] == [["up", "--stack", "dev"], ["up", "--stack", "dev", "--yes"]]
    assert "PULUMI_CONFIG_PASSPHRASE" not in ups[0][1]


def test_the_engines_failure_is_the_commands(fake_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXIT", "255")

    assert cli.main(["up"]) == 255


@pytest.mark.usefixtures("project", "no_engine")
def test_a_cloud_stack_without_an_engine_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--stack", "dev"]) == 2

    said = capsys.readouterr().err
    assert "needs the Pulumi CLI" in said
    assert "make preview STACK=dev" in said


@pytest.mark.usefixtures("project", "no_engine")
def test_without_an_engine_the_run_is_in_process_and_says_so(
    in_process: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up"]) == 0
    assert cli.main(["preview"]) == 0

    assert in_process == [
        ["--stack", "local", "--build", "--manifests", ".local/manifests"],
        ["--stack", "local"],
    ]
    assert "running in-process, no state is recorded" in capsys.readouterr().err


@pytest.mark.usefixtures("no_engine")
def test_a_cluster_in_the_settings_gets_the_manifests(project: Path, in_process: list[list[str]]) -> None:
    (project / "Pulumi.local.yaml").write_text(LOCAL + "  oci-model-serving:cluster: {kubeconfig: /k}\n")
    cli.main(["up"])

    assert in_process[0][-1] == "--apply"


@pytest.mark.usefixtures("project", "fake_engine")
def test_a_tiny_model_is_made_once_and_your_own_takes_its_place(tmp_path: Path) -> None:
    cli.main(["preview"])
    tiny = Path(".local/model").resolve()
    mine = tmp_path / "mine"
    mine.mkdir()

    cli.main(["preview", "--model", str(mine)])

    assert (tiny / "config.json").is_file()
    assert Path(".local/model").resolve() == mine


@pytest.mark.usefixtures("project", "fake_engine")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["up", "--stack", "nowhere"],
            "there is no Pulumi.nowhere.yaml: write it, or take one of the stacks dev, local",
        ),
        (["up", "--model", "nowhere"], "MODEL=nowhere is no folder"),
        (["up", "--stack", "dev", "--model", "nowhere"], "would not be used"),
    ],
)
def test_a_wrong_call_says_what_to_write(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert expected in capsys.readouterr().err


def test_an_installer_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setattr(engine, "INSTALL_SECONDS", 0.01)

    assert engine.install() is None
