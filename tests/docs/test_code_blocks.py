"""Every block of code in the project's pages is of a language that is parsed here, and says what the program takes."""

import ast
import csv
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.settings.reader import KINDS
from components.settings.types import NAMESPACE
from oms.schema import stack_file_schema
from tests.test_commands_named import wrong

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*/*.md", "bench/*/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            indent = found["indent"]
            code = "".join(line.removeprefix(indent) for line in found["code"].splitlines(keepends=True))
            yield Block(page, text.count("\n", 0, found.start()) + 1, found["language"], code)


BLOCKS = list(blocks())


def of(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [one for one in BLOCKS if one.language in languages], ids=str)


def test_the_pages_have_blocks_of_no_other_language_than_are_parsed_here() -> None:
    assert len(BLOCKS) > 40
    assert {block.language for block in BLOCKS} <= {"", "sh", "yaml", *PARSERS}
    fences = {page: len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES}
    assert {page: 2 * sum(block.page == page for block in BLOCKS) for page in PAGES} == fences


@of("sh")
def test_a_shells_block_is_one_that_a_shell_takes_with_commands_that_there_are(block: Block) -> None:
    # FILE and <commit> stand for what a reader writes there.
    code = re.sub(r"<[a-z-]+>", "NAME", block.code)
    parsed = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    for words in commands(code):
        match words:
            case [name, *rest] if name == "oms" or name.endswith("/oms"):
                assert list(wrong(f"`{shlex.join(['oms', *rest])}`")) == []
            case ["make", *rest]:
                assert {word for word in rest if "=" not in word} <= TARGETS | {".venv/bin/oms"}
            case ["cd", folder] if not folder.isupper() and "oci-model-serving" not in folder:
                assert (ROOT / folder).is_dir()
            case [python, script, *_] if python.endswith("python") and script.endswith(".py"):
                assert (ROOT / script).is_file()
            case [python, "-m", module, *_] if python.endswith("python") and module.split(".")[0] in {"tests", "oms"}:
                assert (ROOT / module.replace(".", "/")).is_dir() or (ROOT / f"{module.replace('.', '/')}.py").is_file()


def commands(code: str) -> Iterator[list[str]]:
    """The words of each simple command; what stands in $(…) is one of its own."""
    code = re.sub(r"(^|\s)#.*$", "", code.replace("\\\n", " "), flags=re.MULTILINE)
    code = re.sub(r"\$\(([^()]*)\)", r"X\n\1\n", code)
    lexer = shlex.shlex(code, posix=True, punctuation_chars="&|;()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in [*lexer, ";"]:
        if not re.fullmatch(r"[&|;()\n]+", token):
            words.append(token)
            continue
        while words and re.fullmatch(r"[A-Z_]+=.*|sudo|env|exec|time", words[0]):
            words.pop(0)
        if words:
            yield words
        words = []


@of("yaml")
def test_yaml_says_settings_that_the_schema_has_or_is_a_whole_file_of_another_program(block: Block) -> None:
    read = yaml.safe_load(_filled(block.code))
    assert isinstance(read, dict)
    config = read.get("config", read)
    ours = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in config.items()}
    if ours.keys() & KINDS.keys():
        schema = stack_file_schema()
        found = jsonschema.Draft202012Validator(schema).iter_errors({"config": ours})
        # A page shows what it is about: what else the key needs is left out.
        told = [error.message for error in _leaves(found) if error.validator != "required"]
        assert told == []
    else:
        whole = {"apiVersion", "kind"} <= read.keys() or block.code.startswith("# ") or "expression" in read
        assert whole, "neither settings nor a whole file: name the file in its first line"


def _filled(code: str) -> str:
    """What a reader writes for … and <commit>."""
    code = re.sub(r"sha256:…", f"sha256:{'0' * 64}", code).replace("@<commit>", f"@{'a' * 40}").replace("v1:…", "v1:x")
    return re.sub(r",? ?…,? ?", "", code)


def _leaves(errors: Any) -> Iterator[jsonschema.ValidationError]:
    """The errors of the alternative that a value comes nearest to."""
    for error in errors:
        below = [one for one in error.context if one.validator not in {"type", "const"}]
        if error.context:
            yield from _leaves(below)
        else:
            yield error


def _table(code: str) -> None:
    assert len({len(row) for row in csv.reader(code.splitlines())}) == 1, "lines with more cells than others"


def _picture(code: str) -> None:
    assert code.split(maxsplit=1)[0] in {"flowchart", "graph", "sequenceDiagram", "stateDiagram-v2"}


PARSERS: Mapping[str, Callable[[str], object]] = {
    "python": ast.parse,
    "json": json.loads,
    "csv": _table,
    "mermaid": _picture,
}


@of(*PARSERS)
def test_other_languages_are_parsed(block: Block) -> None:
    PARSERS[block.language](block.code)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("oms check --fast\n", False),
        ("make everything\n", False),
        ("cd nowhere && oms up\n", False),
        ("oms preview --stack dev | tee 'a\n", False),
        ("X=$(oms image digest FILE)\n", False),
        ("cd docs && PULUMI_HOME=x oms up --stack dev; make up MODEL=folder\n", True),
    ],
)
def test_a_block_that_does_not_work_is_found(code: str, found: bool) -> None:
    try:
        test_a_shells_block_is_one_that_a_shell_takes_with_commands_that_there_are(Block(ROOT, 1, "sh", code))
    except (AssertionError, ValueError):
        assert not found
    else:
        assert found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("models: {a: {source: 'hf://a/b@<commit>', bilder: direct}}\n", False),
        ("config: {oci-model-serving:nodePools: {l4: {count: many}}}\n", False),
        ("name: x\n", False),
        ("nodePools: {l4: {accelerator: nvidia-l4, …}}\n", True),
    ],
)
def test_settings_that_the_program_does_not_take_are_found(code: str, found: bool) -> None:
    try:
        test_yaml_says_settings_that_the_schema_has_or_is_a_whole_file_of_another_program(Block(ROOT, 1, "yaml", code))
    except AssertionError:
        assert not found
    else:
        assert found
