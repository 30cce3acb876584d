"""The policy pack judges what the engine is about to do: `pulumi preview --policy-pack policy`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import stacks
from tests.engine.ground import Stack

HOST = {name: shutil.which(name) for name in ("pulumi-language-python", "pulumi-language-python-exec")}
MISSING = [name for name, path in HOST.items() if path is None]
pytestmark = [
    *stacks.ENGINE,
    pytest.mark.xdist_group("engine-policy"),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH, and the pack runs in it: {', '.join(MISSING)}"),
]


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Stack]:
    with stacks.ground(tmp_path / "ground") as ground:
        for name, path in HOST.items():
            (ground.folder / "bin" / name).symlink_to(str(path))
        yield ground.stack("dev")


def test_the_pack_starts_without_its_libraries_on_path_and_passes_a_committed_stack(dev: Stack) -> None:
    assert "oci-model-serving@v" in dev.preview("--policy-pack", "policy").well().said


def test_the_pack_refuses_what_the_settings_allow_and_a_rule_does_not(dev: Stack) -> None:
    dev.set("registry", "create", "immutableTags", value=False)

    refused = dev.up("--policy-pack", "policy")

    assert refused.code != 0
    assert "immutable" in refused.said
    assert not any(one["type"].startswith("gcp:artifactregistry/repository:") for one in dev.resources())
