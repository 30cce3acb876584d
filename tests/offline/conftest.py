from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

MakeProject = Callable[..., Path]
EXTENDED = "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"
"""The `__init__.py` of a package of which some modules are a test's, and all others the project's."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeProject:
    """Makes a Pulumi project of a program and its stacks' settings in a folder that becomes the working directory."""
    folder = tmp_path / "project"

    def make(program: str, declared: str = "{}", **stacks: str) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "Pulumi.yaml").write_text(f"name: oci-model-serving\nruntime: python\nconfig: {declared}\n")
        (folder / "__main__.py").write_text(dedent(program))
        for stack, settings in stacks.items():
            (folder / f"Pulumi.{stack}.yaml").write_text(dedent(settings))
        monkeypatch.chdir(folder)
        return folder

    return make
