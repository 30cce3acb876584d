"""SECURITY.md promises nothing that no test holds."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (?P<promise>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)
PAGE = (ROOT / "SECURITY.md").read_text()
PROMISES = PAGE.partition("| promise | test |\n|---|---|\n")[2].partition("\n\n")[0]


def test_every_row_is_a_promise_with_a_test() -> None:
    rows = [(match["promise"], match["tests"]) for match in ROW.finditer(PROMISES)]
    assert len(rows) == len(PROMISES.splitlines()) > 30
    assert len({promise for promise, _ in rows}) == len(rows)


@pytest.mark.parametrize("named", sorted(set(re.findall(r"\btests/\S+?::\w+", PAGE))))
def test_a_test_that_is_named_is_there(named: str) -> None:
    path, _, name = named.partition("::")
    tests = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}
    assert name in tests


def test_every_row_names_its_test_as_pytest_takes_it() -> None:
    for match in ROW.finditer(PROMISES):
        assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`(?:, `tests/[\w/]+\.py::test_\w+`)*", match["tests"]), match[
            0
        ]
