"""Images by others: built and pushed, copied, and pulled again."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.image.measuring import ROOT, Row, measured, say, total
from bench.image.servers import LocalRegistry, dockerd

IMAGE = (sys.executable, "-m", "oms", "image")


class Builders:
    """Those that build an image of a context, over one registry."""

    def __init__(self, work: Path, registry: LocalRegistry, context: Path) -> None:
        self._work, self._registry, self._context = work, registry, context

    def buildah(self) -> list[Row]:
        """Build and push by buildah."""
        self._registry.emptied()
        root = self._work / "buildah"
        storage: list[str | Path] = ["--root", root / "root", "--runroot", root / "run"]
        place = f"{self._registry.host}/buildah:one"
        env = {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self._work)}
        build = measured("buildah build", ["buildah", *storage, "bud", "--tag", place, self._context], env=env)
        push: list[str | Path] = ["buildah", *storage, "push", "--tls-verify=false", place]
        rows = [build, measured("buildah push", push, env=env)]
        subprocess.run(["buildah", *map(str, storage), "rmi", "--all", "--force"], check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)
        return [total("buildah build + push", rows), *rows]

    def docker(self) -> list[Row]:
        """Build and push by Docker, its daemon's memory, processor and writes included."""
        self._registry.emptied()
        place = f"{self._registry.host}/docker:one"
        env = {"DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(self._work)}
        with dockerd(self._work / "docker") as daemon:
            build = daemon.client("build", "--network=none", "--tag", place, self._context)
            rows = [
                measured("docker build", build, env=env),
                measured("docker push", daemon.client("push", place), env=env),
            ]
        both = total("docker build + push", [*rows, daemon.usage])
        return [both, *(Row(row.name, row.seconds, network_mb=row.network_mb) for row in rows)]


def copies(reference: str, place: str, *, insecure: bool = True) -> dict[str, list[str | Path]]:
    """The commands that copy an image by its digest as it is, by tool; a layout is `oci:FOLDER@sha256:…`."""
    folder, _, digest = reference.removeprefix("oci:").partition("@")
    layout = reference.startswith("oci:")
    source = f"oci:{folder}" if layout else f"docker://{reference}"
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"] if insecure else []
    oras = ["--from-oci-layout", f"{folder}@{digest}"] if layout else ["--from-plain-http", reference]
    crane = ["push", "--insecure", folder] if layout else ["copy", "--insecure", reference]
    return {
        "oms": [*IMAGE, "copy", reference, f"{place}/oms:one"],
        "crane": ["crane", *crane, f"{place}/crane:one"],
        "oras": ["oras", "copy", *oras, "--to-plain-http", f"{place}/oras:one"],
        "skopeo": ["skopeo", "copy", "--preserve-digests", *plain, source, f"docker://{place}/skopeo:one"],
    }


def copied(what: str, reference: str, registry: LocalRegistry | str) -> list[Row]:
    """Copy an image by each tool that is installed, to a registry that has nothing."""
    rows = []
    for tool, command in copies(reference, registry if isinstance(registry, str) else registry.host).items():
        if tool != "oms" and shutil.which(tool) is None:
            say(f"left out: {tool}")
            continue
        if isinstance(registry, LocalRegistry):
            registry.emptied()
        # Nobody's memory of an earlier run.
        env = {"XDG_CACHE_HOME": os.devnull}
        rows.append(measured(f"{what} by {tool}", command, env=env))
    return rows


def pulls(work: Path, registry: LocalRegistry, weights: Path, pack: Callable[[], None]) -> list[Row]:
    """Pull with Docker what three ways of layering have made, each by a daemon that has nothing."""
    registry.emptied()
    host = registry.host
    for name, flags in (("plain", ()), ("gzip", ("--gzip",))):
        say(f"  (making one layer, {name})")
        layout = work / f"single-{name}"
        command: list[str | Path] = [sys.executable, ROOT / "bench/image/one_layer.py", weights, layout]
        made = subprocess.run([*command, *flags], cwd=ROOT, check=True, capture_output=True, text=True)
        copy = [*IMAGE, "copy", made.stdout.strip(), f"{host}/pull:{name}"]
        subprocess.run(copy, cwd=ROOT, check=True, capture_output=True)
        shutil.rmtree(layout)
    pack()
    rows = []
    for name, image in (
        ("one gzip layer", "pull:gzip"),
        ("one uncompressed layer", "pull:plain"),
        ("ours, a layer a shard", "direct:one"),
    ):
        os.sync()
        note = f"{download_size(host, image) / 1e6:.0f} MB to download"
        with dockerd(work / "docker") as daemon:
            row = measured(f"docker pull: {name}", daemon.client("pull", f"{host}/{image}"))
        rows.append(Row(row.name, row.seconds, network_mb=row.network_mb, note=note))
    return rows


def download_size(host: str, image: str) -> int:
    """Return the sum of an image's layers in bytes."""
    repository, tag = image.split(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{tag}",
        headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        },
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return sum(layer["size"] for layer in json.load(answer)["layers"])
