"""How the server starts: that it waits for its weights is tried with a real shell."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from components.serving import vllm
from oci_model_serving.delivery import KSERVE

SHELL = Path("/bin/sh")


def start(mount: Path, bin_: Path, seconds: int = 300) -> "subprocess.Popen[str]":
    """Start the server's command with another mount point, and a `python3` that shows its arguments."""
    bin_.mkdir(exist_ok=True)
    (bin_ / "python3").write_text('#!/bin/sh\necho "$@"\n')
    (bin_ / "python3").chmod(0o755)
    script = vllm.COMMAND[2].replace(KSERVE.mount, str(mount)).replace(str(300 * 5), str(seconds * 5))
    return subprocess.Popen(
        [*vllm.COMMAND[:2], script, vllm.COMMAND[3], "--model=/mnt/models", "--max-model-len=8 192"],
        env={**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


pytestmark = pytest.mark.skipif(not SHELL.exists(), reason="there is no /bin/sh")


def test_the_server_starts_only_when_the_weights_are_linked(tmp_path: Path) -> None:
    weights = tmp_path / "image" / "models"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    mount = tmp_path / "models"
    linked = threading.Event()

    def link() -> None:
        time.sleep(0.5)
        linked.set()
        mount.symlink_to(weights)  # what modelcar does, after the server's container has started

    process = start(mount, tmp_path / "bin")
    thread = threading.Thread(target=link)
    thread.start()
    out, error = process.communicate(timeout=30)
    thread.join()

    assert linked.is_set()
    assert (process.returncode, error) == (0, "")
    assert out == "-m vllm.entrypoints.openai.api_server --model=/mnt/models --max-model-len=8 192\n"


def test_an_empty_mount_ends_in_a_message_and_not_in_a_broken_model(tmp_path: Path) -> None:
    mount = tmp_path / "models"
    mount.mkdir()

    process = start(mount, tmp_path / "bin", seconds=0)
    out, error = process.communicate(timeout=30)

    assert (process.returncode, out) == (1, "")
    assert f"{mount} is empty after 300 s: no modelcar link, or a container runtime without image volumes" in error


def test_the_hub_is_off_whatever_else_is_asked_for() -> None:
    env = {entry["name"]: entry["value"] for entry in vllm.env({"A": "b", "HF_HUB_OFFLINE": "0", "HOME": "/home/x"})}

    assert env == {
        "A": "b",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HOME": "/home/x",
        "USER": "vllm",
    }


def test_no_probe_ends_a_start_that_is_only_slow() -> None:
    probes = vllm.probes(3600)

    startup = probes["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 3600
    for probe in probes.values():
        assert probe["httpGet"] == {"path": "/health", "port": vllm.PORT}


def test_a_server_that_does_not_start_or_hangs_does_not_hold_its_gpu_for_the_pods_whole_grace() -> None:
    probes = vllm.probes(3600)

    assert probes["startupProbe"]["terminationGracePeriodSeconds"] <= 10
    assert probes["livenessProbe"]["terminationGracePeriodSeconds"] <= 60 < vllm.grace(600)


def test_the_server_runs_as_the_uid_that_modelcar_forces_and_passes_restricted() -> None:
    assert vllm.SECURITY_CONTEXT["runAsUser"] == 1010
    assert vllm.SECURITY_CONTEXT["runAsNonRoot"] is True
    assert vllm.SECURITY_CONTEXT["allowPrivilegeEscalation"] is False
    assert vllm.SECURITY_CONTEXT["capabilities"] == {"drop": ["ALL"]}
    assert vllm.SECURITY_CONTEXT["seccompProfile"] == {"type": "RuntimeDefault"}
