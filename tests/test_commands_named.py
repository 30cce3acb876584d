"""Every command of this program that a message or a page names is one that there is, with options that it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from oms.main import oms
from tests.test_setting_keys import ROOT, TEXTS, texts

_NAMED = re.compile(r"`oms ((?:[a-z]|--)[^`]*)`")
_PAGES = [path for path in TEXTS if path.name != "CHANGELOG.md"]


def wrong(text: str) -> Iterator[str]:
    """What a text names in backquotes as a command and is none, or has an option that the command does not know."""
    for said in _NAMED.findall(text):
        command: click.Command = oms
        words = said.split()
        while words and isinstance(command, click.Group) and not words[0].startswith("-"):
            # A page may name several at once, as `oms image sign|verify`.
            found = [command.commands.get(word.strip(",")) for word in words.pop(0).split("|")]
            if any(one is None for one in found):
                yield said
                break
            command = found[0] or command
        else:
            known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
            if {word.partition("=")[0].strip("[],") for word in words if word.startswith("--")} - known:
                yield said


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_that_is_named_is_there_with_its_options(path: Path) -> None:
    assert {said for text in texts(path) for said in wrong(text)} == set()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("bring it back with `oms resume --model qwen`", False),
        ("`oms image inspect REF --for modelcar` prints it", False),
        ("`oms image sign|verify` make and judge them", False),
        ("see `oms image show REF`", True),
        ("`oms restart`", True),
        ("`oms check --fast`", True),
    ],
)
def test_a_command_that_there_is_not_is_found(text: str, named: bool) -> None:
    assert bool(list(wrong(text))) is named
