"""Every key of a setting that a message, a docstring or a page names is one that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from components.settings.reader import KINDS

ROOT = Path(__file__).parents[1]
ROOMS = ("oms", "smoke", "offline", "policy", "watch", "components", "modelimage", "oci_model_serving")
TEXTS = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
TEXTS += [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), ROOT / "Pulumi.yaml"]
BY_NAME = ("nodePools", "pullSecrets", "models")
"""Keys whose next part is a name that the user gives."""
OTHERS = {
    "models.test",  # a domain
    "models.kubeai",  # KubeAI's CRD
    "cluster.local",  # Kubernetes' own domain
    "kserve.storage",  # values of KServe's chart
    "kserve.controller",
    "kserve.inferenceservice",
    "monitoring.googleapis",  # Google's API and CRDs
    "monitoring.coreos",  # Prometheus Operator's
}
"""What looks like a key by its first part and is something else."""
_PATH = re.compile(r"(?<![\w./@-])(?:oci-model-serving:)?([a-z]\w*(?:\.(?:[A-Za-z]\w*|<\w+>|…))+)(?![\w(/@-])")


def sections(kind: Any) -> Iterator[type[BaseModel]]:
    """The classes of settings that an annotation holds."""
    if get_args(kind):
        for part in get_args(kind):
            yield from sections(part)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind


def inner(section: type[BaseModel]) -> dict[str, list[type[BaseModel]]]:
    """The keys of a section, each with the sections that lie below it."""
    return {field.alias or name: list(sections(field.annotation)) for name, field in section.model_fields.items()}


def everywhere(section: type[BaseModel]) -> Iterator[tuple[str, list[type[BaseModel]]]]:
    for key, below in inner(section).items():
        yield key, below
        for one in below:
            yield from everywhere(one)


NESTED: dict[str, list[type[BaseModel]]] = {}
for _section in (section for kind in KINDS.values() for section in sections(kind)):
    for _key, _below in everywhere(_section):
        if _below:
            NESTED.setdefault(_key, []).extend(_below)


MAPS = ("env", "secretEnv", "adapters")
"""Keys below those that hold a map from names of the user's own."""


def exists(below: list[type[BaseModel]], parts: list[str]) -> bool:
    """Whether the parts lead from a section to a key; what lies below a key without sections is the user's."""
    if not parts or not below:
        return True
    # A part that a message fills in may be any of the keys.
    named = [(key, further) for one in below for key, further in inner(one).items() if parts[0] in {key, "NAME"}]
    return any(exists(further, parts[2:] if key in MAPS else parts[1:]) for key, further in named)


def unknown(text: str) -> set[str]:
    """The paths in a text that begin as a key of the settings and lead nowhere."""
    found = set()
    for path in _PATH.findall(text):
        first, *rest = path.split(".")
        if f"{first}.{rest[0]}" in OTHERS:
            continue
        if first in KINDS:
            known = exists(list(sections(KINDS[first])), rest[1:] if first in BY_NAME else rest)
        else:
            known = exists(NESTED.get(first, []), rest)
        if not known:
            found.add(path)
    return found


def texts(path: Path) -> Iterator[str]:
    if path.suffix != ".py":
        yield path.read_text(encoding="utf-8")
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "NAME" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_key_that_is_named_is_one_of_the_schemas(path: Path) -> None:
    assert {key for text in texts(path) for key in unknown(text)} == set()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("name it in `registry.create.readers` and `pulumi up`", {"registry.create.readers"}),
        ("set nodePools.l4.bootDisk.size to 200", {"nodePools.l4.bootDisk.size"}),
        ("set oci-model-serving:models.NAME.replica.min to 1", {"models.NAME.replica.min"}),
        ("lower `replicas.most`", {"replicas.most"}),
        ("set platforms.kserve.gateway, models.a.env.HOME or nodePools.<pool>.bootDisk.sizeGb", set()),
        ("the Service model.models.svc.cluster.local:80/path", set()),
    ],
)
def test_a_key_that_there_is_not_is_found(text: str, wrong: set[str]) -> None:
    assert unknown(text) == wrong
