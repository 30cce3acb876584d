"""Promotion: prod takes the image of dev by digest and copies it into its own registry, which is a real one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.engine import stacks
from tests.engine.ground import PROJECT, Ground, Stack
from tests.engine.provider.switches import Switches
from tests.registry import RegistryServer, registry_missing

pytestmark = [
    *stacks.ENGINE,
    pytest.mark.xdist_group("engine-promotion"),
    pytest.mark.skipif(registry_missing() is not None, reason=str(registry_missing())),
]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with stacks.ground(tmp_path_factory.mktemp("promotion") / "ground") as ground:
        ground.switch(Switches())
        yield ground


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    with shared.kept():
        yield shared


def stack(on: Ground, name: str, registry: RegistryServer, model: dict[str, Any]) -> Stack:
    """A stack with a repository of its own and one model."""
    settings = {
        "registry": {"url": f"{registry.host}/{name}"},
        "platforms": {"kserve": {"install": False}},
        "models": {"qwen": {"delivery": "native", "resources": {"cpu": "500m", "memory": "512Mi"}, **model}},
    }
    file = on.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"config": {f"{PROJECT}:{key}": value for key, value in settings.items()}}))
    return on.stack(name, file)


def image(of: Stack) -> str:
    """The image that a stack serves."""
    found: str = of.outputs()["models"]["qwen"]["image"]
    return found


def status(reference: str) -> int:
    """What the registry answers to a request for an image."""
    host, _, path = reference.partition("/")
    repository, _, digest = path.partition("@")
    accepted = "application/vnd.oci.image.manifest.v1+json"
    return httpx.head(f"http://{host}/v2/{repository}/manifests/{digest}", headers={"Accept": accepted}).status_code


def test_prod_takes_over_each_image_of_dev_by_digest_and_only_when_it_is_brought_up(
    ground: Ground, registry: RegistryServer
) -> None:
    dev = stack(ground, "dev", registry, {"source": ".local/model"})
    prod = stack(ground, "prod", registry, {"fromStack": f"organization/{PROJECT}/dev", "copy": True})

    dev.up().well()
    prod.up().well()
    first = image(prod)
    assert first.partition("@")[0] == f"{registry.host}/prod/qwen"
    assert first.partition("@")[2] == image(dev).partition("@")[2]
    assert status(first) == 200
    assert prod.up().well().changes == []

    (ground.project / ".local" / "model" / "notes.txt").write_text("other weights", encoding="utf-8")
    dev.up().well()
    assert image(prod) == first != f"{registry.host}/prod/qwen@{image(dev).partition('@')[2]}"

    changed = {urn.rpartition("$")[2] for _, urn in prod.up().well().changes}
    copied, served = "command:local:Command::qwen-copy", "kubernetes:serving.kserve.io/v1beta1:InferenceService::qwen"
    assert {copied, served} <= changed
    # Manifests are rendered here: what the cluster accepts is in the namespace's file, which has the digest as well.
    others = {one for one in changed if not one.rpartition("::")[2].startswith("qwen")}
    assert others == {"kubernetes:core/v1:Namespace::models"}
    assert image(prod).partition("@")[2] == image(dev).partition("@")[2]
    assert [status(one) for one in (first, image(prod))] == [200, 200]


def test_a_stack_that_takes_from_one_that_was_never_up_says_so_and_makes_no_model(
    ground: Ground, registry: RegistryServer
) -> None:
    stack(ground, "dev", registry, {"source": ".local/model"})
    prod = stack(ground, "prod", registry, {"fromStack": f"organization/{PROJECT}/dev", "copy": True})

    refused = prod.up()

    assert refused.code != 0
    assert f"organization/{PROJECT}/dev has no output contract_version" in refused.said
    assert not any("InferenceService" in one["type"] and one["custom"] for one in prod.resources())
