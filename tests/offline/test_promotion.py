"""A plan of a stack that promotes says whether the other stack makes another image, though nobody knows a digest."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.stack_file import find_project
from offline.diff import compare
from offline.program import Program
from offline.values import dumps
from offline.verdict import Verdict
from tests.offline.typical_changes import DEV, QWEN, SOURCE, STACK, Settings
from tests.serving import NAMESPACE, ROOT

TAKEN = {key: value for key, value in QWEN.items() if key not in {"digest", "sizeGb"}}
BUILT: Settings = {**TAKEN, "source": SOURCE, "sizeGb": 1.1}
OTHER = f"{SOURCE[:-40]}{'0' * 40}"
SQL = f"hf://org/sql@{'1' * 40}"


def write(folder: Path, stack: str, **models: Settings) -> None:
    settings = {f"{NAMESPACE}:{key}": value for key, value in {**STACK, "models": models}.items()}
    config = {"gcp:project": "demo", "gcp:region": "us-central1", **settings}
    (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))


def plan(folder: Path, stack: str = "prod") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dumps(Program(find_project(folder)).plan(stack).data()))
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose prod takes dev's image twice, by its key and by another, and an adapter of it."""
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, tmp_path)
    write(tmp_path, "dev", qwen={**BUILT, "adapters": {"sql": {"source": SQL, "sizeGb": 0.1}}}, other=BUILT)
    adapters = {"adapters": {"mine": {"fromStack": DEV, "model": "qwen", "adapter": "sql"}}}
    write(
        tmp_path,
        "prod",
        qwen={**TAKEN, "fromStack": DEV, "copy": True},
        second={**TAKEN, "fromStack": DEV, "model": "other", "copy": True, **adapters},
    )
    return tmp_path


def test_each_promoted_image_is_named_by_how_its_stack_makes_it(project: Path) -> None:
    before = plan(project)
    assert before["promoted"].keys() == {"qwen", "second", "second/mine"}
    assert plan(project) == before

    write(
        project,
        "dev",
        qwen={**BUILT, "adapters": {"sql": {"source": SQL, "sizeGb": 0.1}}},
        other={**BUILT, "source": OTHER},
    )
    after = plan(project)
    assert compare(before, after).promoted == ("second",)
    found = Verdict(compare(before, after))
    assert [(one.name, one.built) for one in found.subjects] == [("second", True)]
    assert found.sentence().startswith("1 model rolls out to what another stack builds anew")

    write(project, "dev", qwen={**BUILT, "adapters": {"sql": {"source": OTHER, "sizeGb": 0.1}}}, other=BUILT)
    assert compare(before, plan(project)).promoted == ("second/mine",)


def test_what_makes_no_other_image_is_no_difference(project: Path) -> None:
    before = plan(project)
    adapters = {"adapters": {"sql": {"source": SQL, "sizeGb": 0.1}}}
    write(project, "dev", qwen={**BUILT, **adapters, "args": ["--max-model-len=4096"]}, other=BUILT)
    assert not compare(before, plan(project))


def test_a_stack_that_promotes_nothing_says_nothing_of_it(project: Path) -> None:
    assert "promoted" not in plan(project, "dev")


def test_a_change_reaches_the_end_of_a_chain_of_promotions(project: Path) -> None:
    middle = DEV.replace("/dev", "/prod")
    write(project, "last", third={**TAKEN, "fromStack": middle, "model": "second", "copy": True})
    before = plan(project, "last")
    adapters = {"adapters": {"sql": {"source": SQL, "sizeGb": 0.1}}}
    write(project, "dev", qwen={**BUILT, **adapters}, other={**BUILT, "source": OTHER})
    assert compare(before, plan(project, "last")).promoted == ("third",)
