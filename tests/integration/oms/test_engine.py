"""The room of the engine, with the real CLI: what `oms up` has made is what `oms check` finds."""

import os
import shutil
from pathlib import Path

import pytest

from components.settings.stack_file import find_project, read_config
from oci_model_serving.errors import InputError
from oms.engine import Engine
from oms.outputs import read_outputs

HOME = Path(os.environ.get("ENGINE_HOME", Path.home() / ".cache" / "test-engine"))
PULUMI = shutil.which("pulumi", path=str(HOME / "bin")) or shutil.which("pulumi")
SETTINGS = "config:\n  target: local\n"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PULUMI is None, reason="the Pulumi CLI is neither on PATH nor built (../shared/engine/build)"),
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
