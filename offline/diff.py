"""The difference between two plans: what a change of settings or code would add, remove, change and replace."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from offline.mermaid import escape
from offline.recording import COMMAND_TYPE
from offline.replacements import replaces
from offline.table import short_type

_Key = tuple[str, str, str]
_COLLAPSE_ABOVE_ROWS = 20
_MISSING = "(not set)"
_INTERPRETER = re.compile(r"^('[^']*'|\S+) -m modelimage\b")


@dataclass(frozen=True)
class Change:
    """One input or output that differs: its path, and the values before and after (`(not set)` where absent)."""

    path: str
    before: Any
    after: Any
    replaces: bool = False


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
                {
                    "type": change.type,
                    "name": change.name,
                    "parent": change.parent,
                    "action": change.action,
                    "changes": [_change_data(item) for item in change.changes],
                }
                for change in self.resources
            ],
            "outputs": [_change_data(change) for change in self.outputs],
        }


def compare(base: Mapping[str, Any], head: Mapping[str, Any]) -> PlanDiff:
    """What differs between two plans in their JSON form; resources are matched by type, name and parent."""
    before, after = _by_key(base), _by_key(head)
    found = []
    for key in sorted({*before, *after}):
        type_, name, parent = key
        if key not in before:
            found.append(ResourceChange(type_, name, parent or None, "create"))
        elif key not in after:
            found.append(ResourceChange(type_, name, parent or None, "delete"))
        else:
            changes = tuple(
                Change(path, old, new, replaces=replaces(type_, path))
                for path, old, new in _differences(before[key], after[key], "")
            )
            if changes:
                action = "replace" if any(change.replaces for change in changes) else "update"
                found.append(ResourceChange(type_, name, parent or None, action, changes))
    outputs = [Change(path, old, new) for path, old, new in _differences(base["outputs"], head["outputs"], "")]
    return PlanDiff(found, outputs)


def as_text(diff: PlanDiff) -> str:
    """The difference for a terminal."""
    if not diff:
        return "no differences\n"
    signs = {"create": "+", "delete": "-", "update": "~", "replace": "+-"}
    lines = []
    for change in diff.resources:
        lines.append(f"{signs[change.action]:2} {short_type(change.type)} {change.name}  ({change.action})")
        lines += [f"     {item.path}: {item.before} -> {item.after}{_forced(item)}" for item in change.changes]
    if diff.outputs:
        lines.append("outputs")
        lines += [f"     {item.path}: {item.before} -> {item.after}" for item in diff.outputs]
    lines.append(_summary(diff))
    return "\n".join(lines) + "\n"


def marker(stack: str) -> str:
    """The hidden first line by which a bot finds its comment about this stack again."""
    return f"<!-- oci-model-serving plan {stack} -->"


def as_markdown(diff: PlanDiff, stack: str) -> str:
    """The difference as a comment on a pull request: a table and a picture, collapsed when long."""
    lines = [marker(stack), f"### Plan of `{stack}`", ""]
    if not diff:
        return "\n".join([*lines, "No differences.", ""])
    rows = _rows(diff)
    table = ["| | resource | input | before | after |", "|---|---|---|---|---|", *rows]
    picture = ["```mermaid", *_picture(diff), "```"]
    lines += [f"**{_summary(diff)}**", ""]
    if len(rows) > _COLLAPSE_ABOVE_ROWS:
        lines += [*_collapsed(f"{len(rows)} changes", table), "", *_collapsed("Picture", picture)]
    else:
        lines += [*table, "", *_collapsed("Picture", picture)]
    lines += ["", "An in-process plan: what the settings and the code say, not what the cloud has."]
    return "\n".join(lines) + "\n"


def _by_key(plan: Mapping[str, Any]) -> dict[_Key, dict[str, Any]]:
    return {(item["type"], item["name"], item.get("parent") or ""): _comparable(item) for item in plan["resources"]}


def _comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, without the place of this machine's interpreter: a worktree has another one."""
    inputs = dict(item["inputs"])
    if item["type"] == COMMAND_TYPE and isinstance(inputs.get("create"), str):
        inputs["create"] = _INTERPRETER.sub("python -m modelimage", inputs["create"])
    return inputs


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _MISSING), after.get(key, _MISSING), inner)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _MISSING
            new = after[index] if index < len(after) else _MISSING
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after or type(before) is not type(after):
        yield path, before, after


def _change_data(change: Change) -> dict[str, Any]:
    return {"path": change.path, "before": change.before, "after": change.after, "replaces": change.replaces}


def _summary(diff: PlanDiff) -> str:
    said = [f"{count} to {action}" for action, count in diff.counts().items() if count]
    if diff.outputs:
        said.append(f"{len(diff.outputs)} output value{'s' if len(diff.outputs) != 1 else ''} changed")
    return ", ".join(said)


def _forced(change: Change) -> str:
    return "  (forces replacement)" if change.replaces else ""


def _rows(diff: PlanDiff) -> list[str]:
    rows = []
    for change in diff.resources:
        label = f"{short_type(change.type)} `{change.name}`"
        if not change.changes:
            rows.append(f"| {change.action} | {label} | | | |")
        rows += [
            f"| {'**replace**' if item.replaces else change.action} | {label} | `{item.path}` "
            f"| {_cell(item.before)} | {_cell(item.after)} |"
            for item in change.changes
        ]
    rows += [f"| output | | `{item.path}` | {_cell(item.before)} | {_cell(item.after)} |" for item in diff.outputs]
    return rows


def _cell(value: Any) -> str:
    text = str(value).replace("|", "\\|").replace("\n", " ").replace("`", "'")
    return f"`{text}`" if text else ""


def _collapsed(title: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def _picture(diff: PlanDiff) -> list[str]:
    lines = ["flowchart LR"]
    groups: dict[str, list[tuple[int, ResourceChange]]] = {}
    for number, change in enumerate(diff.resources):
        groups.setdefault(change.parent or "", []).append((number, change))
    for number, (parent, members) in enumerate(groups.items()):
        if parent:
            lines.append(f'  subgraph g{number}["{escape(_parent_label(parent))}"]')
        lines += [
            f'  c{index}["{escape(short_type(change.type))}<br/>{escape(change.name)}"]:::{change.action}'
            for index, change in members
        ]
        if parent:
            lines.append("  end")
    lines += [
        "  classDef create stroke:#1a7f37,stroke-width:3px",
        "  classDef update stroke:#9a6700,stroke-width:3px",
        "  classDef replace stroke:#8250df,stroke-width:3px",
        "  classDef delete stroke:#cf222e,stroke-width:3px,stroke-dasharray:4",
    ]
    return lines


def _parent_label(parent: str) -> str:
    type_, _, name = parent.partition("::")
    return f"{short_type(type_)} {name}"
