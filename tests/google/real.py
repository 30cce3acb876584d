"""Google's real provider on a ground of the engine's tests: the whole program, against the loopback API.

The engine finds `pulumi-resource-gcp` on PATH. The other providers are the tests' own, so that objects of a cluster
that answers nobody, and commands that ask the hub, go where those of `tests/engine` go.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine import stacks
from tests.engine.ground import ROOT, Ground, Stack
from tests.google.endpoints import Loopback

PROVIDER = shutil.which("pulumi-resource-gcp")
HOST = shutil.which("pulumi-language-python")
REAL = [
    *stacks.ENGINE,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PROVIDER is None, reason="not on PATH: pulumi-resource-gcp"),
]
"""The marks of a module that runs Google's real provider."""
NEEDS_HOST = pytest.mark.skipif(
    HOST is None, reason="not on PATH: pulumi-language-python, without which no import runs"
)
"""Skips a test of `pulumi import`, which asks for the program's language and then runs no program."""


@contextmanager
def ground(folder: Path, google: Loopback) -> Iterator[Ground]:
    """A ground whose Google is the loopback API, by the real provider, in a folder that is made."""
    with stacks.ground(folder) as made:
        own = made.folder / "bin" / "pulumi-resource-gcp"
        own.unlink()
        own.symlink_to(str(PROVIDER))
        if HOST is not None:
            (own.parent / "pulumi-language-python").symlink_to(HOST)
        made.environment |= google.environment
        yield made


def ids() -> dict[str, str]:
    """The page's table: by type, what an id is made of."""
    page = (ROOT / "docs" / "gke.md").read_text(encoding="utf-8")
    section = page.partition("## Taking over what is there")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(gcp:[^`]+)` \| `([^`]+)` \|", section, re.MULTILINE))


def take_over(stack: Stack, types: set[str], names: dict[str, str]) -> None:
    """Do what the page says: a file of what would be made, its ids filled in, and the rest of it left out.

    Args:
        stack: the stack.
        types: of what is there.
        names: ids by type and name.
    """
    file = stack.ground.folder / "import.json"
    stack.preview("--import-file", str(file)).well()
    whole = json.loads(file.read_text(encoding="utf-8"))
    kept: list[dict[str, Any]] = [one for one in whole["resources"] if one.get("component") or one["type"] in types]
    for one in kept:
        if not one.get("component"):
            key = f"{one['type']}::{one.get('logicalName', one['name'])}"
            one["id"] = names[key]
    file.write_text(json.dumps({**whole, "resources": kept}), encoding="utf-8")
    options = ["--yes", "--skip-preview", "--protect=false", "--generate-code=false"]
    stack.ground.pulumi("import", "--stack", stack.name, "--file", str(file), *options).well()
