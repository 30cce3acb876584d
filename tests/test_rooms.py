"""The house: what `make lint`'s contracts on imports cannot see."""

import ast
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("oms", "smoke", "offline", "policy", "watch", "components", "modelimage", "oci_model_serving")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
DOORS = {"modelimage/__main__.py", "offline/__main__.py", "smoke/__main__.py", "smoke/rollout.py"}
"""The old spellings, which scripts and users' states may still name: one line into today's command."""

OLD_SPELLINGS = {
    "components/commands.py",  # texts of commands in users' states
    "modelimage/build_context.py",  # the first line of contexts that an earlier version has written
    "oms/main.py",  # starts the doors
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_module_leads_back_to_itself() -> None:
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    circles = {
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if graph.chain_exists(importer=imported, imported=module)
    }
    assert circles == set()


def test_no_class_name_means_two_things() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(shown(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_component_is_larger_than_a_page_or_five() -> None:
    lines = {
        shown(path): len(path.read_text().splitlines()) for path in FILES if path.is_relative_to(ROOT / "components")
    }
    assert {name: count for name, count in lines.items() if count > 250} == {}


def started(node: ast.AST) -> Iterator[str]:
    """Modules that a literal argument list starts: `[…, "-m", "module", …]`."""
    if isinstance(node, ast.List | ast.Tuple):
        texts = [item.value if isinstance(item, ast.Constant) else None for item in node.elts]
        for flag, module in itertools.pairwise(texts):
            if flag == "-m" and isinstance(module, str):
                yield module


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_a_module_of_ours_is_started_by_its_name_in_one_place_only(path: Path) -> None:
    modules = {module for node in ast.walk(tree(path)) for module in started(node)}
    ours = {module for module in modules if module.partition(".")[0] in ROOMS}
    # What runs inside Cloud Build starts itself once more, with the libraries that it has just installed.
    assert ours <= ({"modelimage.build_step"} if shown(path) == "modelimage/build_step.py" else set())


@pytest.mark.parametrize("name", sorted(DOORS))
def test_a_door_is_one_line(name: str) -> None:
    statements = [
        node for node in tree(ROOT / name).body if not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)
    ]
    assert len(statements) <= 1


def test_no_message_names_a_command_by_its_old_spelling() -> None:
    old = re.compile(r"python -m (modelimage|offline|smoke|deploy|oms)\b")
    found = {
        f"{shown(path)}:{node.lineno}"
        for path in FILES
        if shown(path) not in DOORS | OLD_SPELLINGS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and old.search(node.value)
    }
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("bench/**/*.md")]
    pages += [*ROOT.glob(".github/workflows/*.yml"), ROOT / "Makefile"]
    found |= {shown(page) for page in pages if page.name != "CHANGELOG.md" and old.search(page.read_text())}
    assert found == set()
