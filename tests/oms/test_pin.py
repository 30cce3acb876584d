"""`oms pin` against a real registry: tags become digests, the file stays as it was otherwise, and refreshes follow."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import modelimage
from modelimage.registry import Registry
from oci_model_serving.reference import parse_registry
from oms.main import main
from tests.registry import RegistryServer, running
from tests.weights import write_model

FILE = """\
# A stack of ours.
config:
  oci-model-serving:target: local
  oci-model-serving:platforms:
    kserve: {{server: {{image: "{host}/vllm:v1", cpuImage: {host}/cpu:v1}}}}   # ours
    kubeai:
      version: 0.24.0
      server:
        image: {host}/vllm:v1
  oci-model-serving:models:
    # A model with a server of its own.
    qwen2.5:
      source: weights
      server: {{image: {host}/cpu:v1}}
    other: {{source: weights, nodePool: l4}}
    third: {{source: weights}}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    yield from running(tmp_path / "registry")


@pytest.fixture
def stack(registry: RegistryServer, tmp_path: Path) -> Path:
    push(registry, tmp_path, "vllm", "cpu")
    file = tmp_path / "Pulumi.mine.yaml"
    file.write_text(FILE.format(host=registry.host), encoding="utf-8")
    return file


def push(registry: RegistryServer, folder: Path, *names: str, seed: int = 0) -> None:
    source = write_model(folder / f"model-{seed}")
    (source / "LICENSE").write_text(f"{seed}", encoding="utf-8")
    for name in names:
        modelimage.pack(str(source), f"{registry.host}/{name}:v1")


def digest(registry: RegistryServer, name: str) -> str:
    with Registry(parse_registry(f"{registry.host}/{name}:v1")) as repository:
        return repository.manifest(None).digest


def pin(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main(["pin", *map(str, words)])
    return code, capsys.readouterr().out


def test_tags_become_digests_and_nothing_else_of_the_file_changes(
    registry: RegistryServer, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stack.read_text(encoding="utf-8")
    vllm, cpu = (f"{registry.host}/{name}@{digest(registry, name)}" for name in ("vllm", "cpu"))
    assert pin(capsys, stack, "--check")[0] == 1
    assert stack.read_text(encoding="utf-8") == before

    code, said = pin(capsys, stack)

    host = registry.host
    assert code == 0, said
    expected = before.replace(f"{host}/vllm:v1", vllm).replace(f"{host}/cpu:v1", cpu).splitlines()
    for number, line in enumerate(expected):
        if "cpuImage" in line:
            expected[number] = f"{line}  # pinned: {host}/cpu:v1  # pinned: {host}/vllm:v1"
        elif vllm in line:
            expected[number] = f"{line}  # pinned: {host}/vllm:v1"
        elif cpu in line:
            expected[number] = f"{line}  # pinned: {host}/cpu:v1"
    assert stack.read_text(encoding="utf-8").splitlines() == expected
    assert yaml.safe_load(before).keys() == yaml.safe_load(stack.read_text(encoding="utf-8")).keys()
    assert pin(capsys, stack, "--check")[0] == 0


def test_a_tag_that_has_moved_is_stale_until_it_is_refreshed(
    registry: RegistryServer, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pin(capsys, stack)
    pinned = stack.read_text(encoding="utf-8")
    old = digest(registry, "cpu")
    push(registry, tmp_path, "cpu", seed=1)

    code, said = pin(capsys, stack, "--check", "--json")

    told = json.loads(said)
    assert (code, told["ok"]) == (1, False)
    stale = {one["key"] for one in told["images"] if one["stale"]}
    assert stale == {"platforms.kserve.server.cpuImage", "models.qwen2.5.server.image"}
    assert pin(capsys, stack)[0] == 0
    assert stack.read_text(encoding="utf-8") == pinned.replace(f"cpu@{old}", f"cpu@{digest(registry, 'cpu')}")


def test_defaults_that_a_stack_uses_are_told_with_the_line_to_write(
    registry: RegistryServer, stack: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.settings.server.VLLM_CPU_IMAGE", f"{registry.host}/cpu:v1")
    stack.write_text(
        "config:\n  target: local\n  models:\n    qwen: {source: weights}\n    k: {source: w, delivery: kubeai}\n",
        encoding="utf-8",
    )

    code, said = pin(capsys, stack, "--check")

    assert code == 1
    wanted = f"{registry.host}/cpu@{digest(registry, 'cpu')}"
    for platform in ("kserve", "kubeai"):
        assert (
            f"platforms.{platform}.server.cpuImage is left to its default {registry.host}/cpu:v1: write {wanted}  "
            f"# pinned: {registry.host}/cpu:v1" in said
        )


def test_all_tags_that_are_not_there_are_told_and_no_file_changes(
    registry: RegistryServer, stack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = stack.read_text(encoding="utf-8").replace("/cpu:v1", "/gone:v1").replace('/vllm:v1"', '/lost:v1"')
    stack.write_text(text, encoding="utf-8")

    assert main(["pin", str(stack)]) == 1

    said = capsys.readouterr().err
    assert f"{registry.host}/gone:v1: " in said
    assert f"{registry.host}/lost:v1: " in said
    assert stack.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("vllm/vllm-openai:v0.23.0", "docker.io/vllm/vllm-openai:v0.23.0"),
        ("localhost/x:1", "localhost/x:1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
    ],
)
def test_a_name_without_a_host_is_docker_hubs(image: str, whole: str) -> None:
    from oms.pin import _whole

    assert _whole(image) == whole
