"""What a list of vLLM's arguments says: flags in every spelling that its parser takes, and what it cannot take.

The parser is argparse's with two habits of its own (v0.23.0, vllm/utils/argparse_utils.py): underscores of a flag's
name are dashes, and `--name.key value` is a key of a JSON value. `vllm_flags.csv` has the flags of v0.23.0 with what
each takes: value, values (one or more), switch (none, and `--no-NAME` is its opposite) or maybe (one or none). Engines
change: a flag that the table does not know is read by what follows it, and is never wrong for that.
"""

import csv
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

VERSION = "v0.23.0"
"""The version whose flags the table has."""

_VALUE, _VALUES, _SWITCH, _MAYBE = "value", "values", "switch", "maybe"
_NUMBER = re.compile(r"-\d+$|-\d*\.\d+$")  # argparse's `_negative_number_matcher`
_COUNT = re.compile(r"(\d{1,300}(?:\.\d+)?)([kKmMgGtT]?)")
_DECIMAL = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "K": 1 << 10,
    "M": 1 << 20,
    "G": 1 << 30,
    "T": 1 << 40,
}
_APPENDED = frozenset({"--middleware"})
_SECRET = re.compile(r"key|token$|password|secret")
"""Flags whose value no message shows."""
_NEAR = 0.84


def _table() -> Iterator[tuple[str, str, str]]:
    with Path(__file__).with_name("vllm_flags.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["flag"], row["takes"], row["short"]


_TAKES: Mapping[str, str] = {flag: takes for flag, takes, _ in _table()}
_NEGATIVE: Mapping[str, str] = {f"--no-{flag[2:]}": flag for flag, takes in _TAKES.items() if takes == _SWITCH}
_SHORT: Mapping[str, str] = {**{short: flag for flag, _, short in _table() if short}, "-O": "--optimization-level"}
_LONG = (*_TAKES, *_NEGATIVE)


@dataclass(frozen=True)
class Flag:
    """One flag of a list.

    Attributes:
        name: its full name with dashes, `--no-…` for a switch that is turned off.
        written: its name as it is written.
        values: what follows it.
        key: of `--name.key`, the path of the key in the JSON value; else empty.
        known: whether the table has it.
    """

    name: str
    written: str
    values: tuple[str, ...] = ()
    key: str = ""
    known: bool = True

    @property
    def value(self) -> str:
        """The first that follows it; empty where nothing does."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True)
class EngineArgs:
    """A list of arguments, read.

    Attributes:
        flags: in their order.
        problems: what the server's parser refuses, each with what to write instead.
        doubts: what it takes, or may take, and what is hardly meant.
    """

    flags: tuple[Flag, ...] = ()
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def all(self, name: str) -> list[Flag]:
        """Every flag of a name."""
        return [flag for flag in self.flags if flag.name == name]

    def value(self, name: str) -> str | None:
        """What counts of a flag that takes a value: the last one's."""
        found = [flag for flag in self.all(name) if not flag.key and flag.values]
        return found[-1].value if found else None

    def is_on(self, name: str) -> bool:
        """Whether a switch is turned on; the last one counts."""
        found = [flag for flag in self.flags if flag.name in {name, f"--no-{name[2:]}"}]
        return bool(found) and found[-1].name == name

    def names(self, name: str) -> bool:
        """Whether a flag is there at all."""
        return bool(self.all(name))

    def count(self, name: str) -> int | None:
        """A number of things, as `8192`, `8k` or `8K` (8,000 and 8,192); None where there is none, or no number."""
        return count(self.value(name) or "")

    def share(self, name: str) -> float | None:
        """A number; None where there is none."""
        try:
            return float(self.value(name) or "")
        except ValueError:
            return None


def count(text: str) -> int | None:
    """A number as vLLM's `human_readable_int` reads it; None for any other text."""
    found = _COUNT.fullmatch(text.strip())
    if not found:
        return None
    number, unit = found.groups()
    if "." in number and not unit.islower():
        return None
    return int(float(number) * _DECIMAL[unit])


def read(items: Sequence[str]) -> EngineArgs:
    """Read a list of arguments as the server's parser does."""
    flags: list[Flag] = []
    problems: list[str] = []
    doubts: list[str] = []
    rest = list(items)
    while rest:
        item = rest.pop(0)
        if not _is_flag(item):
            before = flags[-1].written if flags else None
            problems.append(_loose(item, before, takes=_TAKES.get(flags[-1].name) if flags else None))
            continue
        written, given, value = item.partition("=")
        if re.search(r"\s", written):
            problems.append(_in_one_item(item))
            flags.extend(_inside(item))
            continue
        named = _named(written)
        takes = _takes(named)
        values = named.values or ((value,) if given else tuple(_following(rest, takes)))
        flag = replace(named, values=values)
        flags.append(flag)
        problems.extend(_wrong(flag, takes, given=bool(given)))
        if not flag.known:
            doubts.append(_unknown(flag))
    doubts.extend(_twice(flags))
    return EngineArgs(tuple(flags), tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(doubts)))


def _is_flag(item: str) -> bool:
    return len(item) > 1 and item.startswith("-") and not _NUMBER.match(item)


def _named(written: str) -> Flag:
    """The flag that a spelling names: by its name, in short, turned off, or by a beginning that only one has."""
    if not written.startswith("--"):
        base, _, key = written.partition(".")
        if base in _SHORT:
            return Flag(_SHORT[base], written, key=key)
        # Behind one letter its value may follow at once: -qfp8, -O3 (argparse; vLLM's own rule for -O).
        letter = written[:2]
        if letter in _SHORT:
            return Flag(_SHORT[letter], letter, (written[2:],))
        return Flag(written, written, known=False)
    base, _, key = written.partition(".")
    name = base.replace("_", "-")
    if name in _TAKES or name in _NEGATIVE:
        return Flag(name, written, key=key)
    begun = [flag for flag in _LONG if flag.startswith(name)] if len(name) > 2 else []
    return Flag(begun[0] if len(begun) == 1 else name, written, key=key, known=len(begun) == 1)


def _takes(flag: Flag) -> str | None:
    if flag.key:
        return _VALUE
    if flag.name in _NEGATIVE:
        return _SWITCH
    return _TAKES.get(flag.name) if flag.known else None


def _following(rest: list[str], takes: str | None) -> Iterator[str]:
    """The items that belong to a flag; of one that is not known all up to the next flag."""
    most = {_SWITCH: 0, _VALUE: 1, _MAYBE: 1}.get(takes or "", len(rest))
    while rest and most and not _is_flag(rest[0]):
        most -= 1
        yield rest.pop(0)


def _wrong(flag: Flag, takes: str | None, *, given: bool) -> Iterator[str]:
    if takes in {_VALUE, _VALUES} and not flag.values:
        yield f"has {flag.written} without its value: write {flag.written}=VALUE, or the value as the next item"
    if takes == _SWITCH and given:
        off = "" if flag.name in _NEGATIVE else f" (or --no-{flag.name[2:]})"
        yield f"has {flag.written}=…, which takes no value: write {flag.written}{off}"


def _in_one_item(item: str) -> str:
    name = item.split(None, 1)[0]
    several = len(re.findall(r"(?:^|\s)--?[A-Za-z]", item)) > 1
    if several:
        return f"has several flags in one item, which begins with {name}: write each flag as an item of its own"
    known = _named(name.partition("=")[0]).name
    shown = "VALUE" if _SECRET.search(known) else item[len(name) :].strip(" =")
    return (
        f"has {name} and its value in one item, which the server takes for one flag that it does not know: write "
        f"{name}={shown}, or two items"
    )


def _inside(item: str) -> Iterator[Flag]:
    """What was meant by an item that holds a flag and its value, so that its other mistakes are found as well."""
    name, *words = item.split()
    if not any(_is_flag(word) for word in words):
        yield replace(_named(name), values=tuple(words))


def _loose(item: str, before: str | None, *, takes: str | None) -> str:
    shown = repr(item if len(item) <= 40 else f"{item[:40]}…")
    if before and _SECRET.search(before):
        shown = "a further item"
    if item.strip().startswith("-"):
        return f"has {shown}, which the server takes for no flag: write it without the spaces around it"
    if before is None:
        return f"has {shown}, which belongs to no flag: write --NAME=VALUE, or remove it"
    if takes == _SWITCH:
        return f"has {shown} after {before}, which takes no value: remove it"
    return f"has {shown} after {before}, which has its value already: write --NAME=VALUE, or remove it"


def _unknown(flag: Flag) -> str:
    close = difflib.get_close_matches(flag.name, _LONG, n=1, cutoff=_NEAR)
    hint = f": did you mean {close[0]}?" if close else "; an engine of that version would not start"
    return f"has {flag.written}, which vLLM {VERSION} does not know{hint}"


def _twice(flags: Sequence[Flag]) -> Iterator[str]:
    counted = Counter(flag.name.replace("--no-", "--", 1) for flag in flags if not flag.key)
    for name, times in counted.items():
        if times > 1 and name not in _APPENDED:
            yield f"has {name} {times} times: the last one counts, remove the others"
