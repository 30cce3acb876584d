"""The policy pack in Pulumi's own engine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = [pytest.mark.integration]

PACK = Path(__file__).parents[3] / "policy"
# Components carry the types of resources here, so that no provider is needed.
PROGRAM = """
    import pulumi

    class Declared(pulumi.ComponentResource):
        def __init__(self, type_, name, **props):
            super().__init__(type_, name, props)

    bad = pulumi.Config().require_bool("bad")
    tag = ":v1" if bad else "@sha256:" + "a" * 64
    level = {} if bad else {"pod-security.kubernetes.io/enforce": "baseline"}
    Declared("kubernetes:core/v1:Namespace", "models", metadata={"name": "models", "labels": level})
    Declared(
        "kubernetes:serving.kserve.io/v1beta1:InferenceService", "m",
        spec={"predictor": {"model": {"storageUri": "oci://r.example/m" + tag}}},
    )
    pulumi.export("node_pools", {"l4": {"disk_size_gb": 200}})
    pulumi.export("models", {"m": {"node_pool": "l4", "size_bytes": 200_000_000_000 if bad else 1}})
"""


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # The pack finds its libraries by itself, and not because somebody has put them on PATH.
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != Path(sys.executable).parent]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "PULUMI_BACKEND_URL": f"file://{folder}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    environment.setdefault("PULUMI_HOME", str(folder / "home"))
    return subprocess.run(
        ["pulumi", *arguments, "--non-interactive"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("bad", [False, True])
def test_the_engine_enforces_the_rules_on_resources_and_on_the_stack(tmp_path: Path, bad: bool) -> None:
    for part in ("pulumi", "pulumi-language-python"):
        if not shutil.which(part):
            pytest.skip(f"{part} is not on PATH")
    if not (PACK.parent / ".venv").is_dir():
        pytest.skip("there is no .venv, in which the pack runs (make test)")
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    (tmp_path / "Pulumi.yaml").write_text(json.dumps({"name": "policy-test", "runtime": runtime}))
    (tmp_path / "__main__.py").write_text(dedent(PROGRAM))
    for command in (["stack", "init", "dev"], ["config", "set", "bad", str(bad).lower()]):
        done = run(tmp_path, *command)
        assert done.returncode == 0, done.stderr
    done = run(tmp_path, "preview", "--policy-pack", str(PACK))
    found = done.stdout + done.stderr
    assert ("[mandatory]" in found) is bad
    assert (done.returncode != 0) is bad
    for rule in ("namespaces-labelled", "serving-by-digest", "disk-holds-images"):
        assert (f"[mandatory]  {rule}" in found) is bad, found
