"""The difference between two plans: what a change of settings or code would add, remove, change and replace.

How it is told is elsewhere: `subjects` gathers it by model and pool, `verdict` says it in words, `comment` writes it.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from oci_model_serving import foreign
from offline.plan import portable
from offline.predicted import Predictions
from offline.replacements import ZONES, is_at, recreates_nodes, replaces
from offline.values import waits_alike

MISSING = "(not set)"
"""Stands for the value of what is not there."""
KEPT = ("protect", "retainOnDelete")
"""The options that keep a resource from being deleted: no input, and what takes them away is a change all the same."""
_NAMES = ("name", "key")
"""What names an item of a list, by Kubernetes' own conventions for lists that are merged."""
_COMPARED = 400
"""Texts of two lists that are compared by content, which takes the square of their number."""


@dataclass(frozen=True)
class Change:
    """One input or output that differs: its path, and the values before and after (`(not set)` where absent).

    Items of a list are named in the path where they have names: `HF_HOME` of the variables, `--max-model-len`.
    """

    path: str
    before: Any
    after: Any
    replaces: bool = False
    recreates_nodes: bool = False


@dataclass(frozen=True)
class ResourceChange:
    """A resource that one plan has and the other lacks, or whose inputs differ. `action` is the engine's word."""

    type: str
    name: str
    parent: str | None
    action: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class PlanDiff:
    """All differences, sorted by type, name and parent, and the two plans that they are between.

    `promoted` are the keys of images that come from another stack which makes them anew: their digests are known to
    neither plan, and change with that stack's next update.
    """

    resources: list[ResourceChange] = field(default_factory=list)
    outputs: list[Change] = field(default_factory=list)
    predictions: Predictions = field(default_factory=Predictions)
    base: Mapping[str, Any] = field(default_factory=dict, repr=False)
    head: Mapping[str, Any] = field(default_factory=dict, repr=False)
    promoted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.resources or self.outputs or self.promoted)

    def counts(self) -> dict[str, int]:
        """How many resources there are of each action."""
        actions = ("create", "update", "replace", "delete")
        return {action: sum(change.action == action for change in self.resources) for action in actions}

    def data(self) -> dict[str, Any]:
        """The difference as plain data, for scripts."""
        return {
            "counts": self.counts(),
            "resources": [
                {**vars(change), "changes": [_change_data(item) for item in change.changes]}
                for change in self.resources
            ],
            "outputs": [_change_data(change) for change in self.outputs],
            "promoted": list(self.promoted),
            "predictions": self.predictions.data(),
        }


def compare(base: Mapping[str, Any], head: Mapping[str, Any]) -> PlanDiff:
    """What differs between two plans in their JSON form; resources are matched by URN and alias, as the engine does."""
    before, after = _by_urn(base), _by_urn(head)
    found = []
    for item, names in after.values():
        known = next((name for name in names if name in before), None)
        if known is None:
            found.append(_resource_change(item, "create"))
            continue
        changes = tuple(_changes(before.pop(known)[0], item))
        if changes:
            replaced = any(one.replaces for one in changes)
            if replaced:  # what would recreate its nodes does not: others are made
                changes = tuple(replace(one, recreates_nodes=False) for one in changes)
            found.append(_resource_change(item, "replace" if replaced else "update", changes))
    found += [_resource_change(item, "delete") for item, _ in before.values()]
    found.sort(key=lambda change: (change.type, change.name, change.parent or ""))
    outputs = [Change(one.shown, one.before, one.after) for one in _differences(base["outputs"], head["outputs"])]
    predictions = Predictions(base.get("predictions", {}), head.get("predictions", {}))
    was, now = base.get("promoted", {}), head.get("promoted", {})
    promoted = tuple(sorted(key for key in {*was, *now} if key in was and key in now and was[key] != now[key]))
    return PlanDiff(found, outputs, predictions, base, head, promoted)


def _resource_change(item: Mapping[str, Any], action: str, changes: tuple[Change, ...] = ()) -> ResourceChange:
    return ResourceChange(item["type"], item["name"], item.get("parent"), action, changes)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    options, type_ = after.get("options", {}), after["type"]
    for one in _differences(portable(before["inputs"]), portable(after["inputs"])):
        if any(is_at(pattern, one.path) for pattern in options.get("ignoreChanges", ())):
            continue
        forced = any(is_at(pattern, one.path) for pattern in options.get("replaceOnChanges", ()))
        replacing = forced or replaces(type_, one.path, one.before, one.after)
        yield Change(
            one.shown, one.before, one.after, replacing, recreates_nodes(type_, one.path, one.before, one.after)
        )
    for name in KEPT:
        was, now = (bool(side.get("options", {}).get(name)) for side in (before, after))
        if was != now:
            yield Change(name, before=was, after=now)


def _by_urn(plan: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], list[str]]]:
    """Each resource with all its names, `TYPE$TYPE::NAME`: its own first, then those that its aliases give it."""
    labels = {f"{item['type']}::{item['name']}": item for item in plan["resources"]}

    def names(item: Mapping[str, Any], below: tuple[str, ...] = ()) -> list[str]:
        type_, name = item["type"], item["name"]
        above = labels.get(item.get("parent") or "")
        if above is None or item.get("parent") in below:  # a plan of somebody else's may lead in a circle
            outer, _, _ = (item.get("parent") or "").rpartition("::")
            own = [f"{outer}${type_}::{name}" if outer else f"{type_}::{name}"]
        else:
            own = []
            for types, _, parent in (one.rpartition("::") for one in names(above, (*below, item["parent"]))):
                # As the engine: a child that is named after its parent was so under the parent's former name too.
                inner = name.replace(above["name"], parent, 1) if name.startswith(above["name"]) else name
                own += [f"{types}${type_}::{name}", f"{types}${type_}::{inner}"]
        return [*own, *item.get("options", {}).get("aliases", ())]

    named = [(item, names(item)) for item in plan["resources"]]
    return {every[0]: (item, every) for item, every in named}


@dataclass(frozen=True)
class _Difference:
    """Two values that differ: where (`a.b[0].c`, as the providers' tables have it), and how people call the place."""

    path: str
    shown: str
    before: Any
    after: Any


def _differences(before: Any, after: Any, path: str = "", shown: str = "") -> Iterator[_Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = (f"{path}.{key}", f"{shown}.{key}") if path else (str(key), str(key))
            yield from _differences(before.get(key, MISSING), after.get(key, MISSING), *inner)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path, shown)
    elif (before != after or type(before) is not type(after)) and not waits_alike(before, after):
        one, other = _object_in(before), _object_in(after)
        if one is not None and other is not None and one != other:
            yield from _differences(one, other, path, shown)
        else:
            yield _Difference(path, shown, before, after)


def _object_in(value: Any) -> Any:
    """The object that a text holds as JSON, as what a command reads on its standard input; None of any other."""
    if not (isinstance(value, str) and value.startswith("{") and value.endswith("}")):
        return None
    try:
        return foreign.read_json(value)
    except ValueError:
        return None


def _of_lists(before: list[Any], after: list[Any], path: str, shown: str) -> Iterator[_Difference]:
    """By name where the items have one (variables, containers, arguments): one that is put in moves all behind it."""
    if path == ZONES:
        if {*map(str, before)} != {*map(str, after)}:
            yield _Difference(path, shown, before, after)
        return
    named = _named(before, after)
    if named is not None:
        old, new = named
        for name in dict.fromkeys((*old, *new)):
            at = (new if name in new else old)[name][0]
            found = [side[name][1] if name in side else None for side in (old, new)]
            pair: list[Any]
            if all(item is None or item.keys() == {"value"} for item in found):
                pair = [MISSING if item is None else item["value"] for item in found]
            else:
                whole = [side[by[name][0]] if name in by else MISSING for side, by in ((before, old), (after, new))]
                pair = whole if None in found else found
            yield from _differences(pair[0], pair[1], f"{path}[{at}]", f"{shown}.{name}")
        stay = [[name for name in names if name in old and name in new] for names in (old, new)]
        if stay[0] != stay[1]:
            yield _Difference(path, f"{shown} (order)", ", ".join(stay[0]), ", ".join(stay[1]))
    elif len(before) + len(after) <= _COMPARED and all(isinstance(item, str) for item in (*before, *after)):
        yield from _of_texts(before, after, path, shown)
    else:
        for index, (one, other) in enumerate(zip_longest(before, after, fillvalue=MISSING)):
            yield from _differences(one, other, f"{path}[{index}]", f"{shown}[{index}]")


def _of_texts(before: list[str], after: list[str], path: str, shown: str) -> Iterator[_Difference]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for word, low, high, first, last in matcher.get_opcodes():
        if word == "equal":
            continue
        for index, (one, other) in enumerate(zip_longest(before[low:high], after[first:last], fillvalue=MISSING)):
            at = first + index if first + index < last else low + index
            yield from _differences(one, other, f"{path}[{at}]", f"{shown}[{at}]")


_Named = dict[str, tuple[int, dict[str, Any]]]


def _is_text(item: Any, key: str) -> bool:
    return isinstance(item, dict) and isinstance(item.get(key), str) and bool(item[key])


def _named(*lists: list[Any]) -> tuple[_Named, ...] | None:
    """The items of each list by their names, with their places; none where one has no name, or two have the same.

    An item is an object with a `name` (taints and tolerations: a `key`), or an argument as `--name` or `--name=value`.
    """
    items = [item for listed in lists for item in listed]
    said = next((key for key in _NAMES if items and all(_is_text(item, key) for item in items)), "")
    if said:
        pairs = [[(item[said], {k: v for k, v in item.items() if k != said}) for item in listed] for listed in lists]
    elif items and all(isinstance(item, str) and item.startswith("--") for item in items):
        split = [[item.partition("=") for item in listed] for listed in lists]
        pairs = [[(name, {"value": value if equals else True}) for name, equals, value in one] for one in split]
    else:
        return None
    found = tuple({name: (at, rest) for at, (name, rest) in enumerate(listed)} for listed in pairs)
    return found if all(len(by_name) == len(listed) for by_name, listed in zip(found, lists, strict=True)) else None


def _change_data(change: Change) -> dict[str, Any]:
    fields = dict(vars(change))
    fields["recreatesNodes"] = fields.pop("recreates_nodes")
    return fields
