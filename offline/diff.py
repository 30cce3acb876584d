"""The difference between two plans: what a change of settings or code would add, remove, change and replace."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from oci_model_serving import foreign
from offline.mermaid import box, escape
from offline.plan import portable
from offline.predicted import Predictions
from offline.replacements import is_at, recreates_nodes, replaces
from offline.table import short_type

_COLLAPSE_ABOVE_ROWS = 20
_CELL_CHARACTERS = 1000
_KIND = re.compile(r"[\w:./-]+")
_MISSING = "(not set)"
_STOPS = "recreates the nodes: models on them stop"


@dataclass(frozen=True)
class Change:
    """One input or output that differs: its path, and the values before and after (`(not set)` where absent)."""

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
    """All differences, sorted by type, name and parent."""

    resources: list[ResourceChange] = field(default_factory=list)
    outputs: list[Change] = field(default_factory=list)
    predictions: Predictions = field(default_factory=Predictions)

    def __bool__(self) -> bool:
        return bool(self.resources or self.outputs)

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
            action = "replace" if any(one.replaces for one in changes) else "update"
            found.append(_resource_change(item, action, changes))
    found += [_resource_change(item, "delete") for item, _ in before.values()]
    found.sort(key=lambda change: (change.type, change.name, change.parent or ""))
    outputs = [Change(path, old, new) for path, old, new in _differences(base["outputs"], head["outputs"], "")]
    return PlanDiff(found, outputs, Predictions(base.get("predictions", {}), head.get("predictions", {})))


def _resource_change(item: Mapping[str, Any], action: str, changes: tuple[Change, ...] = ()) -> ResourceChange:
    return ResourceChange(item["type"], item["name"], item.get("parent"), action, changes)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    options, type_ = after.get("options", {}), after["type"]
    for path, old, new in _differences(portable(before["inputs"]), portable(after["inputs"]), ""):
        if any(is_at(pattern, path) for pattern in options.get("ignoreChanges", ())):
            continue
        forced = any(is_at(pattern, path) for pattern in options.get("replaceOnChanges", ()))
        yield Change(path, old, new, forced or replaces(type_, path, old, new), recreates_nodes(type_, path))


def as_text(diff: PlanDiff) -> str:
    """The difference for a terminal."""
    if not diff:
        return foreign.lines("\n".join(["No differences.", *diff.predictions.lines(), ""]))
    signs = {"create": "+", "delete": "-", "update": "~", "replace": "+-"}
    lines = []
    for change in diff.resources:
        lines.append(f"{signs[change.action]:2} {short_type(change.type)} {change.name}  ({change.action})")
        lines += map(_line, change.changes)
    if diff.outputs:
        lines += ["outputs", *map(_line, diff.outputs)]
    return foreign.lines("\n".join([*lines, *diff.predictions.lines(), _summary(diff), ""]))


def marker(stack: str) -> str:
    """The hidden first line by which a bot finds its comment about this stack again."""
    return f"<!-- oci-model-serving plan {stack} -->"


def as_markdown(diff: PlanDiff, stack: str) -> str:
    """The difference as a comment on a pull request: a table and a picture, collapsed when long."""
    lines = [marker(stack), f"### Plan of `{stack}`", ""]
    if not diff:
        return "\n".join([*lines, "No differences.", *diff.predictions.markdown(), ""])
    rows = _rows(diff)
    table = ["| | resource | input | before | after |", "|---|---|---|---|---|", *rows]
    if len(rows) > _COLLAPSE_ABOVE_ROWS:
        table = _collapsed(f"{len(rows)} changes", table)
    picture = _collapsed("Picture", ["```mermaid", *_picture(diff), "```"])
    last = "An in-process plan: what the settings and the code say, not what the cloud has."
    predicted = diff.predictions.markdown()
    return "\n".join([*lines, f"**{_summary(diff)}**", *predicted, "", *table, "", *picture, "", last, ""])


def _by_urn(plan: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], list[str]]]:
    """Each resource with all its names, `TYPE$TYPE::NAME`: its own first, then those that its aliases give it."""
    labels = {f"{item['type']}::{item['name']}": item for item in plan["resources"]}

    def names(item: Mapping[str, Any]) -> list[str]:
        type_, name = item["type"], item["name"]
        above = labels.get(item.get("parent") or "")
        if above is None:
            outer, _, _ = (item.get("parent") or "").rpartition("::")
            own = [f"{outer}${type_}::{name}" if outer else f"{type_}::{name}"]
        else:
            own = []
            for types, _, parent in (one.rpartition("::") for one in names(above)):
                # As the engine: a child that is named after its parent was so under the parent's former name too.
                inner = name.replace(above["name"], parent, 1) if name.startswith(above["name"]) else name
                own += [f"{types}${type_}::{name}", f"{types}${type_}::{inner}"]
        return [*own, *item.get("options", {}).get("aliases", ())]

    named = [(item, names(item)) for item in plan["resources"]]
    return {every[0]: (item, every) for item, every in named}


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _MISSING), after.get(key, _MISSING), inner)
    elif isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in enumerate(zip_longest(before, after, fillvalue=_MISSING)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after or type(before) is not type(after):
        yield path, before, after


def _change_data(change: Change) -> dict[str, Any]:
    fields = dict(vars(change))
    fields["recreatesNodes"] = fields.pop("recreates_nodes")
    return fields


def _summary(diff: PlanDiff) -> str:
    said = [f"{count} to {action}" for action, count in diff.counts().items() if count]
    if diff.outputs:
        said.append(f"{len(diff.outputs)} output value{'s' if len(diff.outputs) != 1 else ''} changed")
    return ", ".join(said)


def _line(change: Change) -> str:
    why = "  (forces replacement)" if change.replaces else f"  ({_STOPS})" if change.recreates_nodes else ""
    return f"     {change.path}: {change.before} -> {change.after}{why}"


def _rows(diff: PlanDiff) -> list[str]:
    rows = []
    for change in diff.resources:
        kind = short_type(change.type)
        label = f"{kind if _KIND.fullmatch(kind) else _cell(kind)} {_cell(change.name)}"
        if not change.changes:
            rows.append(f"| {change.action} | {label} | | | |")
        rows += [
            f"| {_word(change, item)} | {label} | {_cell(item.path)} | {_cell(item.before)} | {_cell(item.after)} |"
            for item in change.changes
        ]
    return rows + [
        f"| output | | {_cell(one.path)} | {_cell(one.before)} | {_cell(one.after)} |" for one in diff.outputs
    ]


def _word(change: ResourceChange, item: Change) -> str:
    if item.replaces:
        return "**replace**"
    return f"{change.action}: **{_STOPS}**" if item.recreates_nodes else change.action


def _cell(value: Any) -> str:
    """A value in a cell: as code, which no mark-up leaves; the plan may be of somebody else's branch."""
    text = foreign.in_line(str(value), _CELL_CHARACTERS).replace("|", "\\|").replace("`", "'")
    return f"`{text}`" if text else ""


def _collapsed(title: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _picture(diff: PlanDiff) -> list[str]:
    lines = ["flowchart LR"]
    groups: dict[str, list[str]] = {}
    for number, change in enumerate(diff.resources):
        node = f"  c{number}{box(change.type, change.name)}:::{change.action}"
        groups.setdefault(change.parent or "", []).append(node)
    for number, (parent, nodes) in enumerate(groups.items()):
        type_, _, name = parent.partition("::")
        label = escape(f"{short_type(type_)} {name}")
        lines += [f'  subgraph g{number}["{label}"]', *nodes, "  end"] if parent else nodes
    return [
        *lines,
        "  classDef create stroke:#1a7f37,stroke-width:3px",
        "  classDef update stroke:#9a6700,stroke-width:3px",
        "  classDef replace stroke:#8250df,stroke-width:3px",
        "  classDef delete stroke:#cf222e,stroke-width:3px,stroke-dasharray:4",
    ]
