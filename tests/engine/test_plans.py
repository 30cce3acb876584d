"""What was reviewed is what is applied: `preview --save-plan`, then `up --plan`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import stacks
from tests.engine.ground import Stack

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-plans")]


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Stack]:
    with stacks.ground(tmp_path / "ground") as ground:
        yield ground.stack("dev")


def test_a_plan_is_applied_as_it_was_reviewed_and_refused_when_the_settings_have_moved(
    dev: Stack, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    planned = dev.preview("--save-plan", str(plan)).well()

    made = dev.up("--plan", str(plan)).well()
    assert sorted(made.changes) == sorted(planned.changes)

    dev.preview("--save-plan", str(plan)).well()
    dev.set("nodePools", "l4", "bootDisk", "sizeGb", value=300)
    refused = dev.up("--plan", str(plan))
    assert refused.code != 0
    why = [line for line in refused.said.splitlines() if "violates plan" in line]
    assert why
    assert all("300" in line for line in why), why
