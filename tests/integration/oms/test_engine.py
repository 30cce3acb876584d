"""The room of the engine, with the real CLI: what `oms up` has made is what `oms check` finds."""

import os
import shutil
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from components.settings.stack_file import find_project, read_config
from oci_model_serving.errors import InputError
from oms.engine import Engine, EngineFailedError, PlanBrokenError
from oms.outputs import read_outputs
from tests.engine.ground import NEEDS_PULUMI, PULUMI

SETTINGS = "config:\n  target: local\n"

pytestmark = [
    pytest.mark.integration,
    NEEDS_PULUMI,
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(
        "name: oci-model-serving\nruntime: python\nconfig: {target: {type: string}}\n"
    )
    (tmp_path / "Pulumi.local.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    for name in ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(Path(str(PULUMI)).parent), prepend=os.pathsep)
    return tmp_path


def engine() -> Engine:
    project = find_project(Path.cwd())
    return Engine.of(str(PULUMI), project, "local", read_config(project, "local"))


def test_a_stack_that_was_never_deployed_is_told_with_what_deploys_it(project: Path) -> None:
    with pytest.raises(InputError, match="oms up --stack local"):
        engine().outputs(secrets=True)


def test_the_state_and_its_passphrase_are_found_again_and_the_settings_stay_as_they_are(project: Path) -> None:
    engine().run("refresh", "--yes", "--skip-preview", "--non-interactive")

    assert engine().outputs(secrets=True) == {}
    with pytest.raises(InputError, match="has no output contract_version"):
        read_outputs("local")
    assert (project / "Pulumi.local.yaml").read_text() == SETTINGS
    assert "encryptionsalt: v1:" in (project / ".local" / "Pulumi.local.yaml").read_text()
    assert list((project / ".local" / "state" / ".pulumi" / "stacks").rglob("local.json"))


def test_a_state_that_version_0_1_0_has_encrypted_still_opens(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "local")
    engine().run("refresh", "--yes", "--skip-preview", "--non-interactive")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")

    engine().run("refresh", "--yes", "--skip-preview", "--non-interactive")

    assert engine().outputs(secrets=True) == {}
    assert engine().environment["PULUMI_CONFIG_PASSPHRASE"] == "local"


needs_python = pytest.mark.skipif(
    shutil.which("pulumi-language-python") is None, reason="pulumi-language-python is not on PATH"
)
# Components carry the types of resources here, so that no provider is needed.
PROGRAM = """
    import signal

    import pulumi

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    secret = pulumi.Output.secret("CANARY-5d1f")
    pool = pulumi.ComponentResource("gcp:container/nodePool:NodePool", "l4", {"count": %s, "token": secret})
    pulumi.export("secret", secret)
"""
STOCKOUT = """
pulumi.log.error('creating: [GCE_STOCKOUT]: Instance g creation failed', resource=pool)
raise pulumi.RunError('this is as far as it goes')
"""


def write(project: Path, count: int, *more: str) -> None:
    runtime = f"runtime: {{name: python, options: {{toolchain: pip, virtualenv: {sys.prefix}}}}}\n"
    (project / "Pulumi.yaml").write_text(f"name: oci-model-serving\n{runtime}config: {{target: {{type: string}}}}\n")
    (project / "__main__.py").write_text("\n".join([dedent(PROGRAM) % count, *more]))


@needs_python
def test_what_google_refuses_is_found_in_the_engines_events(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, 1, STOCKOUT)

    with pytest.raises(EngineFailedError, match=r"l4: .*add zones to nodePools\.l4\.zones"):
        engine().run("up", "--yes", "--non-interactive")

    assert "[GCE_STOCKOUT]" in capfd.readouterr().out


@needs_python
def test_a_plan_is_applied_as_it_was_reviewed_with_its_secrets_encrypted(project: Path) -> None:
    write(project, 1)
    plan = project / "plan.json"

    engine().run("preview", "--save-plan", str(plan), "--non-interactive")
    engine().run("up", "--yes", "--plan", str(plan), "--non-interactive")

    assert engine().outputs(secrets=True)["secret"] == "CANARY-5d1f"
    assert "ciphertext" in plan.read_text()
    assert "CANARY" not in plan.read_text()


@needs_python
def test_a_plan_is_refused_when_program_or_state_have_changed_since(project: Path) -> None:
    write(project, 1)
    plan = project / "plan.json"
    engine().run("preview", "--save-plan", str(plan), "--non-interactive")

    write(project, 2)
    with pytest.raises(PlanBrokenError, match="--save-plan"):
        engine().run("up", "--yes", "--plan", str(plan), "--non-interactive")

    write(project, 1, "pulumi.ComponentResource('a:b:C', 'further')")
    engine().run("up", "--yes", "--non-interactive")
    write(project, 1)
    with pytest.raises(PlanBrokenError, match="no longer holds"):
        engine().run("up", "--yes", "--plan", str(plan), "--non-interactive")
