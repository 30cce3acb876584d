"""Stacks for tables of cases: one that is right, edits of it, and folders of weights as large as the case needs."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.settings.reader import SettingsError
from tests.components.settings.reading import read
from tests.serving import IMAGE

BASE: dict[str, Any] = {
    "target": "gke",
    "registry": {"create": {"repository": "models"}, "mutableTags": "accept"},
    "cluster": {"create": {"name": "demo", "version": "1.35"}},
    "nodePools": {"l4": {"accelerator": "nvidia-l4", "count": 1, "zones": ["us-central1-a"], "maxNodes": 2}},
    "platforms": {"kserve": {"version": "v0.20.0"}, "kubeai": {"version": "0.24.0"}},
    "models": {"qwen": {"digest": IMAGE, "sizeGb": 1.1, "nodePool": "l4"}},
}
"""A small model on one GPU of two; an edit is a key path and its new value, or None to remove it."""


@dataclass(frozen=True)
class Weights:
    """A folder of weights as the hub has it: its `config.json`, and as many gigabytes of (sparse) safetensors."""

    config: Mapping[str, Any]
    gb: float

    def write(self, folder: Path) -> Path:
        """Make it; its files take no room on a disk."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        count = max(1, round(self.gb / 4))
        for number in range(1, count + 1):
            size = round(self.gb * 1e9 / count)
            header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
            with (folder / f"model-{number:05d}-of-{count:05d}.safetensors").open("wb") as file:
                file.write(struct.pack("<Q", len(header)) + header)
                file.truncate(8 + len(header) + size)
        return folder


@dataclass(frozen=True)
class Good:
    """A set-up that is right: edits of `BASE`; of `weights` the model is their folder."""

    name: str
    edits: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None


@dataclass(frozen=True)
class Bad(Good):
    """A mistake: `path` is the key that is told, `words` are in what is told; `warned` where it is not refused."""

    path: str = ""
    words: tuple[str, ...] = ()
    warned: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is said of a stack."""

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def stack(case: Good, folder: Path) -> dict[str, Any]:
    """The stack of a case; weights are written below `folder`."""
    made = copy.deepcopy(BASE)
    for path, value in case.edits.items():
        *above, last = path.split(".")
        place: Any = made
        for key in above:
            place = place.setdefault(key, {})
        if value is None:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)
    if case.weights:
        (model,) = made["models"].values()
        model.pop("digest"), model.pop("sizeGb")
        model["source"] = str(case.weights.write(folder / "weights"))
    return made


def judged(values: Mapping[str, Any], **arguments: Any) -> Verdict:
    """What the reader says of a stack: refusals without the namespace, or else warnings."""
    try:
        return Verdict(warnings=read(values, **arguments).warnings)
    except SettingsError as error:
        return Verdict(refusals=tuple(text.removeprefix("oci-model-serving:") for text in error.problems))
