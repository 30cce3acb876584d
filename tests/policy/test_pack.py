"""How the engine starts the policy pack."""

import os
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_pack_runs_in_the_programs_environment_whatever_is_on_path() -> None:
    def environment(file: Path) -> str:
        options = yaml.safe_load(file.read_text())["runtime"]["options"]
        return os.path.normpath(file.parent / str(options["virtualenv"]))

    assert environment(ROOT / "policy" / "PulumiPolicy.yaml") == environment(ROOT / "Pulumi.yaml")
