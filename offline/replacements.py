"""Which change of an input makes a provider replace a resource, or GKE recreate a pool's nodes.

`replacing.json` is written from the providers' schemas (`make replacements`) and says of each where its rows are
from. A row at `a.b` counts for what is below it as well; `a.b{}` only where that block appears or disappears.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_INDEX = re.compile(r"\[\d+\]")
_NODE_POOL = "gcp:container/nodePool:NodePool"
ZONES = "nodeLocations"
"""The zones of a pool and of a cluster: a set, whose order means nothing."""
_RECREATING = (
    "version", "nodeConfig.bootDisk", "nodeConfig.confidentialNodes", "nodeConfig.containerdConfig",
    "nodeConfig.diskSizeGb", "nodeConfig.diskType", "nodeConfig.fastSocket", "nodeConfig.gcfsConfig",
    "nodeConfig.gvnic", "nodeConfig.imageType", "nodeConfig.kubeletConfig", "nodeConfig.linuxNodeConfig",
    "nodeConfig.loggingVariant", "nodeConfig.machineType", "nodeConfig.storagePools",
    "nodeConfig.windowsNodeConfig", "nodeConfig.workloadMetadataConfig",
)  # fmt: skip
"""What the Google provider updates in place (`nodePoolNodeConfigUpdate`) and GKE does by recreating the nodes (GKE,
"Manage cluster lifecycle changes to minimize disruption": manual changes that use a node upgrade strategy)."""


def replaces(type_: str, path: str, before: Any, after: Any) -> bool:
    """Whether this change of the input at `path` (`a.b[0].c`) replaces a resource of this type."""
    patterns = _table().get(type_) or (_table()["kubernetes:*"] if type_.startswith("kubernetes:") else [])
    changed = {_INDEX.sub("", one) for value in (before, after) for one in _below(path, value)}
    blocks = {f"{one}{{}}" for one in changed}
    return any(pattern in blocks or any(is_at(pattern, one) for one in changed) for pattern in patterns)


def recreates_nodes(type_: str, path: str, before: Any = None, after: Any = None) -> bool:
    """Whether nodes of a pool go for this change, so that the models on them stop.

    GKE recreates them; or, of a zone that is left, it removes them (GKE's API, NodePool.locations: "changing node pool
    locations will result in nodes being added and/or removed").
    """
    if type_ == _NODE_POOL and path == ZONES and isinstance(before, list) and isinstance(after, list):
        return not {*before} <= {*after}
    return type_ == _NODE_POOL and any(is_at(pattern, path) for pattern in _RECREATING)


def is_at(pattern: str, path: str) -> bool:
    """Whether a path is the one that a pattern names (`a.b[*].c`), or below it."""
    expression = re.escape(pattern).replace(r"\[\*\]", r"\[\d+\]")
    return pattern == "*" or re.match(rf"{expression}(?=[.\[]|$)", path) is not None


def _below(path: str, value: Any) -> Iterator[str]:
    """The path, and those in what appears or disappears there as a whole."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _below(f"{path}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _below(path, item)


@cache
def _table() -> dict[str, list[str]]:
    text = Path(__file__).with_name("replacing.json").read_text(encoding="utf-8")
    types: dict[str, list[str]] = json.loads(text)["types"]
    return types
