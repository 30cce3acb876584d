"""Write all weights of a folder as an image of one layer to a layout, plain or with gzip: what others' builds make.

    python bench/image/one_layer.py WEIGHTS LAYOUT [--gzip]

Prints the image's reference. A script of its own, so that the benchmark's process stays small: a process that is
started counts its parent's memory as its own until it runs.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script's own folder is all that Python looks in

from modelimage.documents import LAYER_TYPE, MANIFEST_TYPE, Descriptor, write_config, write_manifest
from modelimage.layers import Layer
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection
from modelimage.streams import digest_of


def one_layer(layout: Path, weights: Path, *, compressed: bool) -> str:
    """Write an image of all weights in one layer to a layout, with gzip -6 or without, and return its reference."""
    source = open_source(str(weights), Selection(), Patience())
    layer = Layer(source.files)
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain = hashlib.sha256()
    with (layout / "layer").open("wb") as out:
        packer = subprocess.Popen(["gzip", "-6", "-n"] if compressed else ["cat"], stdin=subprocess.PIPE, stdout=out)
        if packer.stdin is None:
            raise SystemExit("no pipe")
        for chunk in layer.chunks():
            plain.update(chunk)
            packer.stdin.write(chunk)
        packer.stdin.close()
        if packer.wait():
            raise SystemExit("gzip failed")
    stored = hashlib.sha256()
    with (layout / "layer").open("rb") as file:
        while data := file.read(4 << 20):
            stored.update(data)
    (layout / "layer").replace(blobs / stored.hexdigest())
    descriptor = Descriptor(
        mediaType=LAYER_TYPE + ("+gzip" if compressed else ""),
        digest=f"sha256:{stored.hexdigest()}",
        size=(blobs / stored.hexdigest()).stat().st_size,
    )
    config = write_config(None, [(f"sha256:{plain.hexdigest()}", "one layer")])
    manifest = write_manifest(config, [descriptor], {})
    for content in (config, manifest):
        (blobs / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    entry = {"mediaType": MANIFEST_TYPE, "digest": digest_of(manifest), "size": len(manifest)}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{layout}@{digest_of(manifest)}"


def main() -> None:
    """Read the arguments and print the reference."""
    parser = argparse.ArgumentParser(description="Write an image of one layer to a layout.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("layout", type=Path)
    parser.add_argument("--gzip", action="store_true", help="compress the layer with gzip -6")
    options = parser.parse_args()
    print(one_layer(options.layout, options.weights, compressed=options.gzip))


if __name__ == "__main__":
    main()
