"""How the engine starts the policy pack."""

import os
from importlib.util import find_spec
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_pack_runs_in_the_programs_environment_whatever_is_on_path() -> None:
    def environment(file: Path) -> str:
        options = yaml.safe_load(file.read_text())["runtime"]["options"]
        return os.path.normpath(file.parent / str(options["virtualenv"]))

    assert environment(ROOT / "policy" / "PulumiPolicy.yaml") == environment(ROOT / "Pulumi.yaml")


def test_no_module_of_the_pack_hides_a_library_since_the_engine_puts_its_folder_first() -> None:
    names = {file.stem for file in (ROOT / "policy").glob("*.py")} - {"__init__", "__main__"}

    assert {name for name in names if find_spec(name)} == set()
