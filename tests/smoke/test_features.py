"""What a running server's image has is found in its pod, and held against what it is told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smoke import features
from smoke.checks import Check, Status, run
from smoke.features import check_features
from tests.smoke import stacks
from watch.kube import Executed, KubeApi

BOTH = {"version": "0.23.0", "runai-streamer": True, "max-model-len-auto": True}
STREAMED = ["--load-format=runai_streamer", "--max-model-len=auto"]


def check(
    api: KubeApi,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    *,
    code: int = 0,
    delivery: str = "modelcar",
    args: list[str] | None = None,
    image: str | None = None,
) -> Check:
    monkeypatch.setattr(api, "execute", lambda *_, **__: Executed(code, said, ""))
    pod = stacks.pod(delivery)
    for container in pod["spec"]["containers"]:
        container.update({"args": args or [], **({"image": image} if image else {})})
    return run("deployed", "features", lambda: check_features(api, stacks.model(delivery).output, pod))


def test_what_the_image_has_is_told_with_the_setting_that_may_say_it(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = check(api, monkeypatch, json.dumps(BOTH))

    assert found.status is Status.PASS
    assert "vLLM 0.23.0 has runai-streamer, max-model-len-auto" in found.evidence
    assert "platforms.kserve.server.features is to be [runai-streamer, max-model-len-auto]" in found.evidence


def test_of_an_image_that_is_known_nothing_need_be_written(api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    found = check(api, monkeypatch, json.dumps(BOTH), image="docker.io/vllm/vllm-openai:v0.23.0")

    assert "server.features" not in found.evidence


@pytest.mark.parametrize(("delivery", "platform"), [("native", "kserve"), ("kubeai", "kubeai")])
def test_a_server_that_is_told_what_its_image_lacks_fails_with_the_setting(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch, delivery: str, platform: str
) -> None:
    said = json.dumps({**BOTH, "runai-streamer": False})

    found = check(api, monkeypatch, said, args=STREAMED, delivery=delivery)

    assert found.status is Status.FAIL
    assert "runai-streamer" in found.evidence
    assert found.remedy == f"write platforms.{platform}.server.features: [max-model-len-auto]"


@pytest.mark.parametrize(("said", "code"), [("", 127), ("{}", 0), ("no json", 0), ("[1]", 0)])
def test_a_server_that_is_no_vllm_is_not_judged(
    api: KubeApi, monkeypatch: pytest.MonkeyPatch, said: str, code: int
) -> None:
    assert check(api, monkeypatch, said, code=code).status is Status.SKIP


def packages(folder: Path, cache: str, *, streamer: bool) -> dict[str, Any]:
    """What the probe says where these packages are."""
    core = folder / "vllm" / "v1" / "core"
    core.mkdir(parents=True)
    (folder / "vllm" / "__init__.py").write_text("raise RuntimeError('imported')")
    (core / "kv_cache_utils.py").write_text(cache)
    about = folder / "vllm-0.23.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.23.0\n")
    if streamer:
        (folder / "runai_model_streamer.py").write_text("raise RuntimeError('imported')")
    command = [sys.executable, "-S", "-c", features._PROBE]
    done = subprocess.run(command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_the_probe_finds_both_without_importing_anything(tmp_path: Path) -> None:
    assert packages(tmp_path / "new", "def _auto_fit_max_model_len(): ...", streamer=True) == BOTH
    older = {"version": "0.23.0", "runai-streamer": False, "max-model-len-auto": False}
    assert packages(tmp_path / "old", "", streamer=False) == older
