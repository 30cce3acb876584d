"""Stacks that are wrong and stacks that are right, by the dozen: tables of ours, and files from the field."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.components.settings.stacks import Bad, Good, Verdict, judged, stack

HERE = Path(__file__).parent
MODULES = [importlib.import_module(f"{__package__}.{file.stem}") for file in sorted(HERE.glob("cases_*.py"))]
TABLES = [module for module in MODULES if hasattr(module, "GOOD")]  # others have a stack and a test of their own
BAD: list[Bad] = [case for table in TABLES for case in table.BAD]
GOOD: list[Good] = [case for table in TABLES for case in table.GOOD]

FIELD = next((found for up in HERE.parents if (found := up / "shared" / "cases" / "stacks").is_dir()), None)
FILES = sorted(FIELD.glob("*.yaml")) if FIELD else []
needs_field = pytest.mark.skipif(FIELD is None, reason="needs the cases from the field beside the checkout")

TOLD = {
    "bad-x01-queued-model": ("models.x.nodePool", "ProvisioningRequest, which is not made"),
    "bad-x05-gpu-model-no-pool": ("models.llama-70b.resources.memory", "141 GB"),
    "bad02-args-with-space": ("models.qwen.args", "value in one item"),
    "bad04-token-in-env": ("models.qwen.env", "--secret"),
    "bad06-underscore-model": ("models.qwen.args", "--served_model_name, which is --served-model-name"),
    "bad09-min-over-pool": ("models.qwen.replicas.min", "is 4, and pool 'l4' has room for 2"),
    "bad11-memory-over-node": ("models.qwen.resources.memory", "is 128Gi"),
    "bad14-region-is-zone": ("gcp:region", "zone"),
    "bad17-cidr-overlap": ("cluster.create.newNetwork", "overlap"),
    "bad19-maintenance-short": ("cluster.create.maintenance", "4 hours"),
    "bad21-kms-region": ("registry.create.kmsKey", "region"),
    "bad27-tokenizer-hub": ("models.qwen.args", "a hub name or an address, while the hub is off"),
    "bad32-zone-twice": ("nodePools.l4.zones", "twice"),
    "bad36-registry-localhost": ("registry.url", "localhost"),
}
"""The key and the words of each wrong file's first line, as they are said here."""
NOT_YET = {"legit-ok32-multi-node": ("models.x.gpus", "one model over several nodes is not possible yet")}
"""Set-ups that are refused, with the reason, until they can be deployed."""


@cache
def verdict(case: str) -> Verdict:
    """What is said of a file from the field."""
    assert FIELD is not None
    config = yaml.safe_load((FIELD / f"{case}.yaml").read_text(encoding="utf-8"))["config"]
    values = {key.partition(":")[2]: value for key, value in config.items() if not key.startswith("gcp:")}
    return judged(values, stack="case", project=config.get("gcp:project", ""), region=config.get("gcp:region", ""))


def says(told: tuple[str, ...], path: str, *words: str) -> bool:
    """Whether one text is of that key, or of one below it, and has the words."""
    own = [text for text in told if re.match(rf"{re.escape(path)}[.:]", text)]
    return any(all(word in text for word in words) for text in own)


def is_told(case: Bad, folder: Path) -> str:
    """Nothing where a mistake is told as it should be; else what is said."""
    found = judged(stack(case, folder))
    told = found.warnings if case.warned else found.refusals
    return "" if says(told, case.path, *case.words) else str(found)


def is_taken(case: Good, folder: Path) -> str:
    """Nothing where a set-up is taken without a refusal; else the refusals."""
    return "\n".join(judged(stack(case, folder)).refusals)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_wrong_stack_is_told_with_key_and_number(case: Bad, tmp_path: Path) -> None:
    assert is_told(case, tmp_path) == ""


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_right_stack_is_taken(case: Good, tmp_path: Path) -> None:
    assert is_taken(case, tmp_path) == ""


def of_the_field(kind: str) -> list[str]:
    return [file.stem for file in FILES if file.stem.startswith(kind)]


def field_problem(name: str) -> str:
    """Nothing where a file from the field is judged as its first line wants it."""
    found = verdict(name)
    if name.startswith("legit"):
        if name in NOT_YET:
            return "" if says(found.refusals, *NOT_YET[name]) else str(found)
        return "\n".join(found.refusals)
    told = found.refusals + found.warnings
    return "" if (says(told, *TOLD[name]) if name in TOLD else told) else str(found)


@needs_field
@pytest.mark.parametrize("name", of_the_field("bad"))
def test_a_wrong_file_from_the_field_is_told_in_the_words_of_its_first_line(name: str) -> None:
    assert field_problem(name) == ""


@needs_field
@pytest.mark.parametrize("name", of_the_field("legit"))
def test_a_right_file_from_the_field_is_taken(name: str) -> None:
    assert field_problem(name) == ""


def shown(right: list[bool]) -> str:
    return f"{sum(right)} of {len(right)}"


def test_how_many_of_each_are_judged_rightly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [is_told(case, tmp_path / f"bad{number}") == "" for number, case in enumerate(BAD)]
    good = [is_taken(case, tmp_path / f"good{number}") == "" for number, case in enumerate(GOOD)]
    field = {kind: [field_problem(name) == "" for name in of_the_field(kind)] for kind in ("bad", "legit")}
    with capsys.disabled():
        print(f"\nstacks of our own: {shown(bad)} wrong ones told, {shown(good)} right ones taken")
        print(f"from the field: {shown(field['bad'])} wrong ones told, {shown(field['legit'])} right ones taken")
    assert (len(bad) >= 50, len(good) >= 50, all(bad), all(good)) == (True, True, True, True)
