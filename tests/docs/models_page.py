"""Writes docs/models.md: what becomes of the models that are served most, by the packer's own choice and layers.

Listings are in `listings/`: `described.json` has shard counts and sizes as publishers tell them, and each other file is
what `oms image resolve hf://org/name --json` printed, which then takes the described one's place. Each listing becomes
a folder of sparse files with right headers, and the same code tells of it that tells of a stack's source in a plan.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from modelimage.forecast import Forecast, Prospect, forecasts
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection
from modelimage.weights import is_weights
from tests.serving import ROOT

PAGE = ROOT / "docs" / "models.md"
LISTINGS = Path(__file__).parent / "listings"
GB = 1_000_000_000
_TENSOR_BYTES = 100_000_000
_DOCUMENTS = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")

TOP = """# What becomes of a model

Twenty open models that are widely served (chosen by judgement, not counted), as they are published, and the
image that each becomes with the default settings: the choice of files, the parts of what is too large for a layer, and
the layers are the packer's own. The model's key `files` changes them ([settings.md](settings.md)).

| model | published | image | layers | largest layer | left out |
|---|---|---|---|---|---|
"""
BOTTOM = """
(g): gated, its terms are to be accepted first ([gated-model.md](gated-model.md)). A GB is 1,000,000,000 bytes; the base
(busybox, 4 MB) is not counted.

{basis} A described listing has the publisher's number of shards and their size in all, taken as equal shares: single
layers differ from the real ones by as much as the publisher's shards differ among themselves. The real sizes are in
the plan of a stack that names the model. Where the hub can be reached, a listing is recorded, byte for byte, with

```sh
oms image resolve hf://Qwen/Qwen3-8B --json > tests/docs/listings/Qwen--Qwen3-8B.json
make docs
```
"""


@dataclass(frozen=True)
class Listing:
    """A model's files as published. `recorded` is the commit where they were listed by the hub."""

    model: str
    files: dict[str, int]
    architecture: str
    gated: bool
    recorded: str = ""


def listings(folder: Path = LISTINGS) -> list[Listing]:
    """All listings, in the order of the described ones."""
    found = {one["model"]: _described(one) for one in json.loads((folder / "described.json").read_text("utf-8"))}
    for path in sorted(folder.glob("*.json")):
        if path.name != "described.json":
            one = _recorded(json.loads(path.read_text("utf-8")))
            found[one.model] = one
    return list(found.values())


def _described(one: dict[str, Any]) -> Listing:
    files: dict[str, int] = {}
    for part in one["sets"]:
        for number in range(part["first"], part["first"] + part["count"]):
            path = part["path"] % number if "%" in part["path"] else part["path"]
            files[path] = round(part["gb"] * GB / part["count"])
    if len([path for path in files if path.startswith("model-")]) > 1:
        files["model.safetensors.index.json"] = 0
    return Listing(one["model"], files, one["architecture"], one["gated"])


def _recorded(one: dict[str, Any]) -> Listing:
    model, _, commit = one["source"].removeprefix("hf://").partition("@")
    files = {file["path"]: file["size"] for file in one["files"]}
    return Listing(model, files, one["architecture"], one["gated"], commit)


def laid_out(listing: Listing, folder: Path) -> Path:
    """A folder that looks as the model does: right names, sizes and headers, and holes for the weights."""
    shards = [path for path in listing.files if path.startswith("model-") and path.endswith(".safetensors")]
    contents = dict.fromkeys(_DOCUMENTS, b"{}")
    contents["config.json"] = json.dumps({"architectures": [listing.architecture]}).encode()
    contents["model.safetensors.index.json"] = json.dumps(
        {"metadata": {}, "weight_map": {_tensor(path, 0): path for path in shards}}
    ).encode()
    for path, size in {**listing.files, **dict.fromkeys(("config.json", *_DOCUMENTS), 0)}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path in contents:
            target.write_bytes(contents[path])
        elif is_weights(path) or size > len(b"{}"):
            with target.open("wb") as file:
                file.write(_head(path, size))
                file.truncate(size)
        else:
            target.write_bytes(b"{}"[:size])
    return folder


def _tensor(path: str, number: int) -> str:
    return f"{path}.{number}"


def _head(path: str, size: int) -> bytes:
    if path.endswith(".safetensors"):
        return _safetensors_header(path, size)
    if path.endswith(".gguf"):
        return b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
    if path.endswith(".json"):
        return b"{}".ljust(size)
    return b"\x80\x02}q\x00." if path.endswith((".bin", ".pt", ".pth")) else b""


def _safetensors_header(path: str, size: int) -> bytes:
    """A header that describes the whole file as tensors of one size."""
    count = max(size // _TENSOR_BYTES, 1)
    room = 256 + 160 * count  # more than each entry takes: the rest is filled with spaces, as the format allows
    data = size - 8 - room
    ends = [data * number // count for number in range(count + 1)]
    header = {
        _tensor(path, number): {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
        for number, (start, end) in enumerate(pairwise(ends))
    }
    return struct.pack("<Q", room) + json.dumps(header).encode().ljust(room)


def told(listing: Listing) -> tuple[Forecast, int]:
    """What the model becomes, and how many of its published bytes are left out."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = laid_out(listing, Path(temporary))
        forecast = forecasts({"": Prospect(str(folder))})[""]
        if forecast is None or forecast.problems:
            problems = tuple(
                text.replace(f"{folder}/", "").replace(str(folder), listing.model)
                for text in (forecast or Forecast()).problems
            )
            return Forecast(problems=problems), 0
        packed = {file.path for file in open_source(str(folder), Selection(), Patience()).files}
        return forecast, sum(size for path, size in listing.files.items() if path not in packed)


def row(listing: Listing) -> str:
    """The model's line of the table."""
    forecast, left = told(listing)
    name = f"`{listing.model}`{' (g)' if listing.gated else ''}"
    if forecast.problems:
        refused = "; ".join(forecast.problems[:1])
        return f"| {name} | {_published(listing)} | refused: {refused} | - | - | - |"
    largest = max(forecast.layer_sizes) / GB
    image = f"{forecast.size_bytes / GB:.1f} GB"
    return (
        f"| {name} | {_published(listing)} | {image} | {forecast.layers} | {largest:.1f} GB | "
        f"{f'{left / GB:.1f} GB' if left > GB / 20 else '-'} |"
    )


def _published(listing: Listing) -> str:
    """Its weights: by folder and kind, how many files of which size in all."""
    kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for path, size in listing.files.items():
        if is_weights(path):
            folder, _, name = path.rpartition("/")
            stem = "consolidated" if name.startswith("consolidated") else ""
            kinds[(f"{folder}/" if folder else stem), name.rpartition(".")[2]].append(size)
    said = []
    for (where, kind), sizes in kinds.items():
        count = f"{len(sizes)} x {sum(sizes) / len(sizes) / GB:.1f} GB" if len(sizes) > 1 else f"{sizes[0] / GB:.1f} GB"
        said.append(f"{count} {kind}{f' in {where}' if where.endswith('/') else f' ({where})' if where else ''}")
    return ", ".join(said)


def page() -> str:
    """The whole page."""
    known = listings()
    recorded = ", ".join(f"`{one.model}` at `{one.recorded[:12]}`" for one in known if one.recorded)
    basis = f"Listed by the hub: {recorded}; the others are described." if recorded else "All listings are described."
    return TOP + "".join(f"{row(one)}\n" for one in known) + BOTTOM.format(basis=basis)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
