"""`make up` and `make preview` use the engine where there is one, and else say so and run in-process."""

import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from components.settings.stack_file import Project, StackConfig
from offline.plan import Plan
from oms import engine, plan
from oms.main import main

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
    (tmp_path / "Pulumi.yaml").write_text("name: oci-model-serving\nruntime: python\n")
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


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The stack and whether to build, of each in-process run; none happens."""
    asked: list[tuple[str, bool]] = []

    def planned(project: Project, stack: str, config: StackConfig, *, build: bool = False) -> Plan:
        asked.append((stack, build))
        return Plan(project.name, stack)

    monkeypatch.setattr(plan, "planned", planned)
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
            if sys.argv[2] == "output":
                print("{{}}")
                sys.exit(0)
            print("said", sys.argv[1])
            if sys.argv[1] == os.environ.get("SAYS"):
                with open(os.environ["PULUMI_OPTION_EVENT_LOG"], "w") as log:
                    log.write(open("events").read())
            if sys.argv[1] == "stack":
                name = sys.argv[sys.argv.index("--create") + 1]
                with open(f"Pulumi.{{name}}.yaml", "a") as settings:
                    settings.write("encryptionsalt: v1:abc\\n")
            sys.exit(int(os.environ.get("EXIT", "0")) if sys.argv[1] in {{"up", "preview"}} else 0)
            """)
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return project / "calls.jsonl"


def calls(file: Path) -> list[tuple[list[str], dict[str, str]]]:
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def test_the_engine_on_path_is_used_with_a_backend_and_a_passphrase_of_its_own(fake_engine: Path) -> None:
    assert main(["up"]) == 0

    (select, _), (up, environment) = calls(fake_engine)
    assert select[:4] == ["stack", "select", "--create", "local"]
    assert up == ["up", "--stack", "local", "--config-file", ".local/Pulumi.local.yaml", "--yes"]
    assert environment["PULUMI_BACKEND_URL"] == (Path.cwd() / ".local" / "state").as_uri()
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment
    kept = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert kept == Path.cwd() / ".local" / "passphrase"
    assert len(kept.read_text()) > 40
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_engine_fetches_the_plugins_that_a_stack_uses_unless_told_otherwise(
    fake_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["up"])
    monkeypatch.setenv("PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL", "false")
    main(["up"])

    options = [environment["PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL"] for _, environment in calls(fake_engine)]
    assert options == ["true", "true", "false", "false"]


def test_the_stack_file_in_the_checkout_stays_as_it_is_and_the_salt_is_kept(fake_engine: Path) -> None:
    main(["up"])
    main(["preview"])

    assert Path("Pulumi.local.yaml").read_text() == LOCAL
    assert Path(".local/Pulumi.local.yaml").read_text() == "encryptionsalt: v1:abc\n" + LOCAL


def test_a_configured_backend_and_passphrase_are_left_alone(fake_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Path.home() / ".pulumi" / "credentials.json"
    credentials.parent.mkdir(parents=True)
    credentials.write_text('{"current": "https://api.pulumi.com"}')
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")

    main(["up"])

    _, (_, environment) = calls(fake_engine)
    assert "PULUMI_BACKEND_URL" not in environment
    assert environment["PULUMI_CONFIG_PASSPHRASE"] == "mine"


def test_a_cloud_stack_is_never_deployed_without_being_asked(fake_engine: Path) -> None:
    main(["up", "--stack", "dev"])
    main(["up", "--stack", "dev", "--yes"])

    ups = [(arguments, environment) for arguments, environment in calls(fake_engine) if arguments[0] == "up"]
    assert [arguments for arguments, _ in ups] == [["up", "--stack", "dev"], ["up", "--stack", "dev", "--yes"]]
    assert "PULUMI_CONFIG_PASSPHRASE" not in ups[0][1]


@pytest.mark.parametrize("written", ["target: gke", "'target': \"gke\"", "oci-model-serving:target: gke"])
def test_a_stack_on_google_cloud_is_asked_about_however_its_keys_are_written(
    fake_engine: Path, project: Path, written: str
) -> None:
    (project / "Pulumi.dev.yaml").write_text(f"config:\n  {written}\n")
    assert main(["up", "--stack", "dev"]) == 0

    for arguments, environment in calls(fake_engine):
        assert "--yes" not in arguments
        assert "PULUMI_CONFIG_PASSPHRASE" not in environment


def test_a_target_that_the_project_gives_or_that_lies_in_another_folder_is_no_local_one(
    fake_engine: Path, project: Path
) -> None:
    (project / "Pulumi.yaml").write_text(
        "name: oci-model-serving\nstackConfigDir: stacks\nconfig: {target: {value: gke}}\n"
    )
    (project / "stacks").mkdir()
    (project / "stacks" / "Pulumi.local.yaml").write_text("config: {}\n")
    assert main(["up"]) == 0

    for arguments, environment in calls(fake_engine):
        assert "--yes" not in arguments
        assert "PULUMI_CONFIG_PASSPHRASE" not in environment


@pytest.mark.parametrize("text", ["config: {target: Local}\n", "config: [\n", "- x\n"])
def test_a_stack_that_cannot_be_read_is_not_deployed(fake_engine: Path, project: Path, text: str) -> None:
    (project / "Pulumi.dev.yaml").write_text(text)
    assert main(["up", "--stack", "dev", "--yes"]) == 2
    assert not fake_engine.exists()


def test_what_up_has_deployed_is_checked_in_the_same_backend_with_the_same_passphrase(
    fake_engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0
    for command in ("check", "pause", "resume", "coldstart"):
        assert main([command]) == 2  # this engine gives no outputs of the contract
        assert "contract_version" in capsys.readouterr().err

    up, *asked = [found for found in calls(fake_engine) if found[0][:2] != ["stack", "select"]]
    assert len(asked) == 4
    log = {"PULUMI_DEBUG_COMMANDS", "PULUMI_OPTION_EVENT_LOG"}  # of one run of the engine only
    for arguments, environment in asked:
        assert arguments[:5] == ["stack", "output", "--json", "--stack", "local"]
        assert environment == {name: value for name, value in up[1].items() if name not in log}


def test_json_of_up_is_one_object_and_the_engine_speaks_on_stderr(
    fake_engine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "--json"]) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out) == {"stack": "local", "outputs": {}}
    assert "said up" in printed.err
    assert "--show-secrets" not in calls(fake_engine)[-1][0]


def test_the_newest_installed_engine_is_taken_by_its_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for version in ("3.99.0", "3.100.0", "3.101.0-alpha.1", "3.101.0", "old"):
        path = Path.home() / ".pulumi" / "versions" / version / "bin" / "pulumi"
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    assert engine.find() == str(Path.home() / ".pulumi/versions/3.101.0/bin/pulumi")


def test_the_engines_failure_is_the_commands(fake_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXIT", "255")

    assert main(["up"]) == 1


POOL = "urn:pulumi:dev::p::oci-model-serving:index:GpuNodePool$gcp:container/nodePool:NodePool::l4"


def says(project: Path, monkeypatch: pytest.MonkeyPatch, command: str, *errors: tuple[str, str]) -> None:
    """Let the engine fail with these errors (URN and message), as it writes them into its log of events."""
    diagnostics = [{"urn": urn, "severity": "error", "message": text, "color": "never"} for urn, text in errors]
    events = [
        {"sequence": 0, "preludeEvent": {}},
        {"diagnosticEvent": {"severity": "warning", "message": "GCE_STOCKOUT"}},
    ]
    events += [{"sequence": 1, "diagnosticEvent": one} for one in diagnostics]
    (project / "events").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    monkeypatch.setenv("SAYS", command)
    monkeypatch.setenv("EXIT", "255")


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("command", ["up", "preview"])
def test_what_google_refuses_is_told_at_the_end_with_the_setting_that_helps(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    said = "<{%reset%}>Error waiting for creating GKE NodePool: <{%fg 1%}>[GCE_STOCKOUT]<{%reset%}>: creation failed"
    says(project, monkeypatch, command, (POOL, said), ("", "update failed"))

    assert main([command, "--stack", "dev", *(["--yes"] if command == "up" else [])]) == 1

    printed = capfd.readouterr()
    assert f"said {command}" in printed.out
    first, second = printed.err.strip().splitlines()[-2:]
    assert first == f"error: `pulumi {command}` of stack dev failed: see above"
    assert second.startswith("error: l4: Google has no such machine in that zone now: add zones to nodePools.l4.zones")


@pytest.mark.usefixtures("fake_engine")
def test_a_failure_that_is_no_refusal_is_told_without_advice(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says(project, monkeypatch, "up", ("", "update failed"))

    assert main(["up"]) == 1
    assert capsys.readouterr().err.splitlines()[1:] == ["error: `pulumi up` of stack local failed: see above"]


def test_the_log_of_the_engines_events_is_gone_when_it_has_ended(fake_engine: Path) -> None:
    main(["up"])

    _, (_, environment) = calls(fake_engine)
    assert not Path(environment["PULUMI_OPTION_EVENT_LOG"]).parent.exists()


def test_rendered_manifests_are_never_refreshed_and_a_clusters_objects_may_be(
    fake_engine: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_OPTION_REFRESH", "true")
    main(["up"])
    main(["up", "--stack", "dev", "--yes"])
    (project / "Pulumi.local.yaml").write_text(LOCAL + "  oci-model-serving:cluster: {kubeconfig: /k}\n")
    main(["up"])

    ups = [environment for arguments, environment in calls(fake_engine) if arguments[0] == "up"]
    assert [environment["PULUMI_OPTION_REFRESH"] for environment in ups] == ["false", "true", "true"]


# What was reviewed, and nothing else.


def test_a_plan_is_written_by_preview_and_taken_by_up(
    fake_engine: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = project / "plans" / "dev.json"
    plan.parent.mkdir()
    monkeypatch.chdir(plan.parent)
    assert main(["preview", "--stack", "dev", "--save-plan", "dev.json"]) == 0
    plan.write_text("{}")
    assert main(["up", "--stack", "dev", "--yes", "--plan", "dev.json"]) == 0

    _, preview, _, up = (arguments for arguments, _ in calls(fake_engine))
    assert preview == ["preview", "--stack", "dev", "--save-plan", str(plan)]
    assert up == ["up", "--stack", "dev", "--yes", "--plan", str(plan)]


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize(
    "said",
    [
        "resource urn:pulumi:dev::p::t::n violates plan: properties changed: ~~triggers[{[{2}]}!={[{3}]}]",
        "delete is not allowed by the plan: no steps were expected for this resource",
        "replace is not allowed by the plan: this resource is constrained to same",
    ],
)
def test_a_plan_that_no_longer_holds_is_refused_with_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    says(project, monkeypatch, "up", ("", said))
    (project / "plan").write_text("{}")

    assert main(["up", "--stack", "dev", "--yes", "--plan", "plan"]) == 1
    told = capsys.readouterr().err
    assert "the plan no longer holds" in told
    assert "`oms preview --stack dev --save-plan FILE`" in told


@pytest.mark.usefixtures("no_engine", "in_process")
@pytest.mark.parametrize("arguments", [["up", "--plan", "plan"], ["preview", "--save-plan", "plan"]])
def test_a_plan_file_needs_the_engine(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    (project / "plan").write_text("{}")

    assert main(arguments) == 2
    assert f"{arguments[1]} needs the Pulumi CLI" in capsys.readouterr().err


def test_a_plan_that_is_not_there_is_wrong_input(fake_engine: Path) -> None:
    assert main(["up", "--plan", "nowhere"]) == 2
    assert not fake_engine.exists()


@pytest.mark.usefixtures("project", "no_engine")
def test_a_cloud_stack_without_an_engine_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--stack", "dev"]) == 2

    said = capsys.readouterr().err
    assert "needs the Pulumi CLI" in said
    assert "oms preview --stack dev" in said


@pytest.mark.usefixtures("project", "no_engine")
def test_without_an_engine_the_run_is_in_process_and_says_so(
    in_process: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0
    assert main(["preview"]) == 0

    assert in_process == [("local", True), ("local", False)]
    assert "running in-process, no state is recorded" in capsys.readouterr().err


def test_an_engine_that_is_missing_is_named_and_not_fetched(
    project: Path,
    in_process: list[tuple[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def reached(*_: object) -> None:
        raise AssertionError("nothing is asked for")

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(socket.socket, "connect", reached)
    monkeypatch.setattr(subprocess, "Popen", reached)

    assert main(["up"]) == 0
    assert main(["up", "--stack", "dev"]) == 2

    said = capsys.readouterr().err
    assert said.count("running in-process") == 1
    assert said.count("let `oms engine install` fetch it") == 2
    assert not (project / "home").exists()


@pytest.mark.usefixtures("no_engine", "in_process")
def test_a_cluster_in_the_settings_that_no_engine_can_reach_is_a_failure_after_the_manifests(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "Pulumi.local.yaml").write_text(LOCAL + "  oci-model-serving:cluster: {kubeconfig: /k}\n")

    assert main(["up"]) == 1

    said = capsys.readouterr().err
    assert "manifests to" in said
    assert "nothing was deployed to the cluster of /k" in said


@pytest.mark.usefixtures("project", "fake_engine")
def test_a_tiny_model_is_made_once_and_your_own_takes_its_place(tmp_path: Path) -> None:
    main(["preview"])
    tiny = Path(".local/model").resolve()
    mine = tmp_path / "mine"
    mine.mkdir()

    main(["preview", "--model", str(mine)])

    assert (tiny / "config.json").is_file()
    assert Path(".local/model").resolve() == mine


@pytest.mark.usefixtures("project", "fake_engine")
def test_weights_that_were_given_hold_for_that_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    main(["up", "--model", str(mine)])
    main(["plan"])
    assert Path(".local/model").resolve() == mine, "who only looks, looks at what is up"
    capsys.readouterr()

    main(["up"])
    assert Path(".local/model").resolve() == Path(".local/tiny-model").resolve()
    assert f"the weights are the tiny model again; for those of before, MODEL={mine}" in capsys.readouterr().err
    main(["up"])
    assert "again" not in capsys.readouterr().err


@pytest.mark.usefixtures("project", "fake_engine")
def test_a_folder_that_somebody_has_put_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = Path(".local/model")
    own.mkdir(parents=True)
    assert main(["up"]) == 0
    assert "the weights are those in .local/model, a folder of its own" in capsys.readouterr().err

    assert main(["up", "--model", str(tmp_path)]) == 2
    assert "move it away first" in capsys.readouterr().err
    assert own.is_dir()
    assert not own.is_symlink()


@pytest.mark.usefixtures("project", "fake_engine")
def test_what_to_do_next_is_told_on_a_local_stack_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main(["up"])
    assert capsys.readouterr().err.count("Next:") == 1
    main(["up", "--stack", "dev", "--yes"])
    main(["up", "--json"])
    assert "Next:" not in capsys.readouterr().err


@pytest.mark.usefixtures("project", "fake_engine")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["up", "--stack", "nowhere"],
            "Pulumi.nowhere.yaml does not exist (stacks here: dev, local)",
        ),
        (["up", "--model", "nowhere"], "MODEL=nowhere is no folder"),
        (["up", "--stack", "dev", "--model", "nowhere"], "would not be used"),
    ],
)
def test_a_wrong_call_says_what_to_write(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err
