"""docs/settings.md, written from the settings' own schema: every key with its type and bounds, default and meaning.

`python -m tests.docs.settings_page` (`make docs`) writes it anew.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter

from components.settings.building import CloudBuildSettings, ClusterBuildSettings, HubToken
from components.settings.google import ClusterSettings, NodePoolSettings
from components.settings.policy import PolicySettings
from components.settings.registry import RegistrySettings
from components.settings.serving import ModelSettings, Platforms, PullSecret
from components.settings.types import NAMESPACE, Target
from oms.schema import EXAMPLES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
JSON = Mapping[str, Any]

HEAD = """\
# Settings

A stack's settings are in `Pulumi.<stack>.yaml` under `config`, each key with the prefix `oci-model-serving:`; on Google
Cloud `gcp:project` and `gcp:region` stand beside them. This page is written from the schema by `make docs`. What one
key says about another (a delivery that needs a platform, a disk that the images outgrow) is checked as well: a wrong
stack gives one message with every problem, its key and what to write instead.

`NAME` stands for a name of your own; `-` means that there is no default and the key may be left out. Each map of keys
has a table of its own, below the one that names it. The examples together are one
stack. What is "text of a form" is matched against the pattern in [stack.schema.json](stack.schema.json).
"""
SECTIONS: Mapping[str, tuple[str, Any]] = {
    "target": ("", Target),
    "registry": ("", RegistrySettings),
    "cluster": ("", ClusterSettings),
    "nodePools": (".NAME", NodePoolSettings),
    "platforms": ("", Platforms),
    "pullSecrets": (".NAME", PullSecret),
    "hubToken": ("", HubToken),
    "cloudBuild": ("", CloudBuildSettings),
    "clusterBuild": ("", ClusterBuildSettings),
    "policy": ("", PolicySettings),
    "models": (".NAME", ModelSettings),
}
_SHORT = 24
_WORDS = {"integer": "number", "string": "text", "boolean": "true or false", "number": "number"}


def page() -> str:
    """The whole page."""
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    parts = [HEAD]
    for key, (name, kind) in SECTIONS.items():
        whole = TypeAdapter(kind).json_schema(by_alias=True)
        parts.append(f"\n## `{key}`\n\n{_sentence(declared[key]['description'])}\n")
        if key in EXAMPLES:
            example = yaml.safe_dump(
                {f"{NAMESPACE}:{key}": EXAMPLES[key]}, sort_keys=False, allow_unicode=True, width=110
            )
            parts.append(f"\n```yaml\n{example}```\n")
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            parts += _tables(whole, whole, f"{key}{name}", heading=bool(name))
    return "".join(parts)


def _tables(whole: JSON, part: JSON, path: str, defaults: JSON | None = None, *, heading: bool = True) -> Iterator[str]:
    """A map's table, and those of the maps in it; `defaults` are those that the key above gives its keys."""
    if heading:
        yield f"\n### `{path}`\n"
    yield "\n| key | what it takes | default | meaning |\n|---|---|---|---|\n"
    below = []
    required = part.get("required", [])
    for name, field in part["properties"].items():
        inner = _resolved(whole, field)
        default = (defaults or {}).get(name, field.get("default"))
        one, named = (inner, name) if "properties" in inner else (_named(whole, inner), f"{name}.NAME")
        if "properties" in one:
            inside = f"{path}.{named}"
            below.append((one, inside, default if inner is one else None))
            meaning = field.get("description") or one["description"]
            takes = "a map" if inner is one else "maps by name"
            row = (f"`{name}`", f"[{takes}](#{_anchor(inside)})", "-", _cell(meaning))
        else:
            shown = "required" if name in required and default is None else _default(default)
            row = (f"`{name}`", _takes(whole, field), shown, _cell(field.get("description", "")))
        yield f"| {' | '.join(row)} |\n"
    for one, inside, given in below:
        yield from _tables(whole, one, inside, given)


def _anchor(path: str) -> str:
    """As GitHub names the heading of a path."""
    return path.lower().replace(".", "")


def _resolved(whole: JSON, field: JSON) -> JSON:
    """What a field refers to, an alternative of `null` aside."""
    given = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
    reference = given[0].get("$ref")
    found: JSON = whole["$defs"][reference.rpartition("/")[2]] if reference else given[0]
    return found


def _named(whole: JSON, field: JSON) -> JSON:
    """What each name of a map of the user's own names holds; empty for other fields."""
    values = field.get("additionalProperties")
    return _resolved(whole, values) if isinstance(values, Mapping) else {}


def _takes(whole: JSON, field: JSON) -> str:
    alternatives = [one for one in field.get("anyOf", []) if one.get("type") != "null"]
    if len(alternatives) > 1:
        return " or ".join(_takes(whole, one) for one in alternatives)
    inner = _resolved(whole, field)
    if "enum" in inner or "const" in inner:
        return " or ".join(f"`{value}`" for value in inner.get("enum", [inner.get("const")]))
    kind = inner.get("type")
    if kind == "array":
        items = inner["items"]
        of = _resolved(whole, items)
        return (
            f"list of maps {{{', '.join(of['properties'])}}}"
            if "properties" in of
            else f"list of {_takes(whole, items)}"
        )
    if kind == "object":
        return "map of text to text"
    if "pattern" in inner:
        # A long one has no place to break, and drives the other columns off the page.
        return f"text matching {_code(inner['pattern'])}" if len(inner["pattern"]) <= _SHORT else "text of a form"
    return _WORDS.get(str(kind), str(kind)) + _bounds(inner)


def _bounds(field: JSON) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    if low is not None:
        return f", at least {low}"
    if high is not None:
        over = field.get("exclusiveMinimum")
        return f", {'above ' + str(over) + ', ' if over is not None else ''}at most {high}"
    return ""


def _default(value: Any) -> str:
    if value in (None, [], {}):
        return "-"
    return _code(value if isinstance(value, str) else json.dumps(value))


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _cell(text: str) -> str:
    """A docstring or description in one line: of several sentences the first."""
    line = re.sub(r"\s+", " ", inspect.cleandoc(text)).replace("|", "\\|")
    return re.split(r"(?<=[a-z)])\. ", line)[0].rstrip(".")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
