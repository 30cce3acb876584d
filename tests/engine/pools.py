"""What the engine does to a node pool for each of its settings: `python -m tests.engine.pools` records it anew.

A stack has one pool for each setting; then all of these settings change, and one preview tells what becomes of each
pool. docs/gke.md shows the record (`tests/engine/pools.json`).
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from offline.replacements import recreates_nodes
from tests.components.google.test_node_pool import BASE, LIFE
from tests.engine import stacks
from tests.engine.ground import PROJECT, ROOT, Ground, Stack

RECORD = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "gke.md"
BEGIN, END = "<!-- pools: written by `python -m tests.engine.pools` -->\n", "<!-- end of pools -->"
POOL = "gcp:container/nodePool:NodePool"
_ORDER = ("replaced", "updated, nodes recreated", "updated")
# What a change needs beside it, before and after, to be one that the settings take.
_HYPERDISK: dict[str, object] = {"accelerator": "nvidia-h200-141gb", "count": 8, "spot": True}
_NEEDS: dict[str, dict[str, object]] = {
    "gpuPartitionSize": {"accelerator": "nvidia-tesla-a100"},
    "maxRunDuration": {"flexStart": True},
    "bootDisk.provisionedIops": _HYPERDISK,
    "bootDisk.provisionedThroughput": _HYPERDISK,
    "confidential": {"accelerator": "nvidia-h100-80gb", "machineType": "a3-highgpu-1g", "spot": True},
}


def settings(*, changed: bool) -> dict[str, Any]:
    """The settings of a stack with a pool for each change."""
    pools = {
        f"p{number}": {**_spelled(BASE), "accelerator": "nvidia-l4", **_NEEDS.get(_path(change), {})}
        | (_spelled(change) if changed else {})
        for number, (change, _) in enumerate(LIFE)
    }
    own = {
        "target": "gke",
        "registry": {"create": {"repository": "models"}},
        "cluster": {"create": {"name": "models", "version": "1.35"}},
        "nodePools": pools,
    }
    config = {f"{PROJECT}:{key}": value for key, value in own.items()}
    return {"config": {"gcp:project": "demo", "gcp:region": "us-central1", **config}}


def of_preview(stack: Stack) -> dict[str, str]:
    """Change every pool of a stack that is up, and tell by setting what the engine would do."""
    write(stack.ground.project / f"Pulumi.{stack.name}.yaml", changed=True)
    done = stack.preview().well()
    found: dict[str, str] = {}
    for number, (change, _) in enumerate(LIFE):
        events = [
            event["resourcePreEvent"]["metadata"]
            for event in done.events
            if "resourcePreEvent" in event
            and event["resourcePreEvent"]["metadata"]["urn"].endswith(f"{POOL}::p{number}")
        ]
        operations = {event["op"] for event in events} - {"same"}
        paths = {path for event in events for path in event.get("detailedDiff") or {}}
        if operations & {"replace", "create-replacement"}:
            found[_path(change)] = _ORDER[0]
        elif operations:
            found[_path(change)] = _ORDER[1] if any(recreates_nodes(POOL, path) for path in paths) else _ORDER[2]
    return found


def write(file: Path, *, changed: bool) -> None:
    """Write the settings into a stack's file."""
    file.write_text(yaml.safe_dump(settings(changed=changed), sort_keys=False), encoding="utf-8")


def table(record: dict[str, str]) -> str:
    """The record as the page shows it."""
    rows = ["| setting of a pool | what a change does |", "|---|---|"]
    for outcome in _ORDER:
        names = ", ".join(f"`{name}`" for name, found in record.items() if found == outcome)
        rows.append(f"| {names} | {outcome} |")
    return "\n".join(rows) + "\n"


def with_table(page: str, record: dict[str, str]) -> str:
    """The page with the record's table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(record)}{END}{after}"


def _path(change: dict[str, object]) -> str:
    """A changed setting as the settings spell it."""
    (key, value), *_ = change.items()
    inner = {name: one for name, one in value.items() if name != "size_gb"} if isinstance(value, dict) else {}
    below = next(iter(inner), "size_gb") if key == "boot_disk" else ""
    return ".".join(camel(word) for word in (key, below) if word)


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel(key): _spelled(one) for key, one in value.items()}
    return [_spelled(one) for one in value] if isinstance(value, list) else value


def camel(word: str) -> str:
    """A setting as the settings spell it."""
    first, *more = word.split("_")
    return first + "".join(part.capitalize() for part in more)


def main() -> None:
    """Record, and write the page."""
    with tempfile.TemporaryDirectory() as folder, stacks.ground(Path(folder) / "ground") as on:
        record = of_preview(deployed(on))
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")


def deployed(on: Ground) -> Stack:
    """A stack with a pool for each setting, up."""
    file = on.folder / "pools.yaml"
    write(file, changed=False)
    stack = on.stack("pools", file)
    stack.up().well()
    return stack


if __name__ == "__main__":
    main()
