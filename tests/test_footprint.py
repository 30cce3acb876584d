"""What a stack's program loads: of the providers' SDKs and of the libraries only what the stack uses."""

import json
import subprocess
import sys
from pathlib import Path

from tests.serving import ROOT

PROGRAM = """
import io, json, sys
sys.path[0] = sys.argv.pop(1)
from oms.main import main
told, sys.stdout = sys.stdout, io.StringIO()
code = main(["plan", "--stack", "dev", "--config-file", sys.argv[1], "--json"])
json.dump([code, sorted(sys.modules)], told)
"""
DEV = (ROOT / "Pulumi.dev.yaml").read_text()
DOCKER = DEV.replace("builder: direct", "builder: docker")
# A model on the cluster's own nodes, without GPUs and without a pool.
CPU_ONLY = """\
config:
  gcp:project: demo
  gcp:region: us-central1
  oci-model-serving:target: gke
  oci-model-serving:registry: {url: us-central1-docker.pkg.dev/demo/models}
  oci-model-serving:cluster: {name: mine, location: us-central1}
  oci-model-serving:platforms: {kserve: {install: false, gateway: none}}
  oci-model-serving:models:
    tiny: {source: hf://a/b@7ae557604adf67be50417f59c2c2f167def9a775, sizeGb: 0.1, builder: direct}
"""


def loaded(folder: Path, settings: str) -> set[str]:
    """The modules in a process that has planned a stack of these settings."""
    file = folder / "Pulumi.dev.yaml"
    file.write_text(settings)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stdout)
    assert code == 0, done.stderr
    return set(modules)


def parts(modules: set[str], package: str) -> set[str]:
    """The modules of a package, by their name in it; what the SDK itself loads of it lazily is not told."""
    return {module.removeprefix(f"{package}.") for module in modules if module.startswith(f"{package}.")}


def test_a_local_stack_loads_neither_googles_nor_dockers_sdk(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    settings = (ROOT / "Pulumi.local.yaml").read_text().replace(".local/model", str(tmp_path / "weights"))

    modules = loaded(tmp_path, settings)

    assert {"pulumi", "pulumi_command", "pulumi_kubernetes"} <= modules
    assert not {"pulumi_gcp", "pulumi_docker"} & modules


def test_a_stack_on_a_cluster_that_exists_loads_no_network_and_no_pool(tmp_path: Path) -> None:
    modules = loaded(tmp_path, CPU_ONLY)

    assert parts(modules, "pulumi_gcp.container") == {"get_cluster", "outputs"}
    assert parts(modules, "pulumi_gcp.compute") == set()
    assert "pulumi_docker" not in modules


def test_of_a_service_only_the_modules_of_the_resources_in_the_plan_are_loaded(tmp_path: Path) -> None:
    modules = loaded(tmp_path, DOCKER)

    always = {"_inputs", "outputs"}
    assert parts(modules, "pulumi_gcp.compute") == {"network", "subnetwork", "router", "router_nat", *always}
    assert parts(modules, "pulumi_gcp.container") == {"cluster", "node_pool", *always}
    assert parts(modules, "pulumi_gcp.artifactregistry") == {"repository", "repository_iam_member", *always}
    assert "pulumi_docker" in modules


def test_what_only_other_settings_a_build_or_a_check_need_is_not_loaded(tmp_path: Path) -> None:
    modules = loaded(tmp_path, DEV)

    assert not {"pulumi_docker", "pulumi_kubernetes.apps.v1.DaemonSet"} & modules
    assert not {"google.cloud", "huggingface_hub", "kubernetes", "httpx", "safetensors", "tenacity"} & modules
