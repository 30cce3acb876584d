"""The consumer in Pulumi YAML reads a stack's outputs by the real engine and the real language host of YAML.

Of its program the expressions are run, not the resources: the host asks the provider of Kubernetes for its schema, and
the tests' own provider has none.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployed import deploy, outputs_of
from tests.engine.ground import NEEDS_PULUMI, PULUMI, ROOT
from tests.mocks import DIGEST, plain

TOOLS = Path.home() / ".cache" / "test-tools"
HOST = shutil.which("pulumi-language-yaml", path=str(TOOLS)) or shutil.which("pulumi-language-yaml")
pytestmark = [
    NEEDS_PULUMI,
    pytest.mark.skipif(HOST is None, reason="pulumi-language-yaml is neither on PATH nor built (.ci/run)"),
]
EXAMPLE = ROOT / "examples" / "consumer-yaml" / "Pulumi.yaml"


class Projects:
    """Projects in YAML with a state of their own."""

    def __init__(self, folder: Path) -> None:
        assert HOST is not None
        self.folder = folder
        (folder / "state").mkdir()
        self.environment = {
            "PATH": f"{Path(HOST).parent}{os.pathsep}{os.defpath}",
            "HOME": str(folder),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "of the engine tests",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }

    def up(self, program: dict[str, Any], *settings: tuple[str, str]) -> dict[str, Any]:
        """Deploy a program's stack `dev`, and return its outputs."""
        project = self.folder / program["name"]
        project.mkdir()
        (project / "Pulumi.yaml").write_text(yaml.safe_dump(program), encoding="utf-8")
        self._pulumi(project, "stack", "init", "dev")
        for key, value in settings:
            self._pulumi(project, "config", "set", key, value)
        self._pulumi(project, "up", "--yes", "--skip-preview")
        read: dict[str, Any] = json.loads(self._pulumi(project, "stack", "output", "--json"))
        return read

    def _pulumi(self, project: Path, *arguments: str) -> str:
        line = [str(PULUMI), *arguments, "--stack", "dev", "--non-interactive"]
        if arguments[:2] == ("stack", "init"):
            line = [str(PULUMI), *arguments, "--non-interactive"]
        done = subprocess.run(
            line, cwd=project, env=self.environment, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout


def test_its_expressions_are_the_models_address_name_and_digest(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    outputs = json.loads(json.dumps(plain(outputs_of(deploy("dev")))))
    projects.up({"name": "oci-model-serving", "runtime": "yaml", "outputs": outputs})
    program = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    app = program["resources"].pop("app")["properties"]["spec"]["template"]["spec"]["containers"][0]
    provider = program["resources"].pop("cluster")
    program["outputs"] |= {one["name"]: one["value"] for one in app["env"]}
    program["outputs"]["kubeconfig"] = provider["properties"]["kubeconfig"]

    read = projects.up(program, ("producer", "organization/oci-model-serving/dev"))

    model = outputs["models"]["qwen2.5-0.5b-instruct"]
    assert read.pop("kubeconfig") == outputs["kubeconfig"]
    assert read == {
        "base_url": f"{model['url']}/v1",
        "digest": DIGEST,
        "OPENAI_BASE_URL": f"{model['url']}/v1",
        "OPENAI_MODEL": model["served_name"],
        "MODEL_DIGEST": DIGEST,
    }
