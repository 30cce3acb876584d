"""What makes the engine build an image again: other content, and nothing else; and what it does of an older state."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.engine import record, stacks
from tests.engine.ground import Done, Ground

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-weights")]

BUILDS = {"tiny-qwen2-build", "tiny-qwen2-kubeai-build"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with stacks.ground(tmp_path_factory.mktemp("weights") / "ground") as made:
        yield made


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    with shared.kept():
        yield shared


def builds(done: Done) -> set[str]:
    """The builds that a run has begun anew."""
    return {name for operation, urn in done.well().changes if (name := urn.rpartition("::")[2]) in BUILDS and operation}


def copied_anew(ground: Ground) -> None:
    """Take another checkout's weights: the same content, other files."""
    model = ground.project / ".local" / "model"
    shutil.copytree(model, model.with_name("copy"), copy_function=shutil.copyfile)
    shutil.rmtree(model)
    model.with_name("copy").rename(model)


def test_a_new_stack_is_previewed_and_builds_and_a_copy_of_its_weights_builds_nothing(ground: Ground) -> None:
    stack = ground.stack("local")
    assert builds(stack.preview()) == BUILDS
    stack.up().well()
    copied_anew(ground)
    assert builds(stack.preview()) == set()
    weights = next((ground.project / ".local" / "model").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert builds(stack.preview()) == BUILDS


def test_a_state_of_the_first_version_builds_once_when_its_weights_were_touched_and_by_content_from_then_on(
    ground: Ground,
) -> None:
    stack = record.taken_over(ground, "0.1.0", "local")
    assert builds(stack.preview()) == set()
    for path in (ground.project / ".local" / "model").iterdir():
        os.utime(path, (1, 1))
    assert builds(stack.preview()) == BUILDS
    stack.up().well()
    copied_anew(ground)
    assert builds(stack.preview()) == set()
