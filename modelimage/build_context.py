"""A Docker build context for a model: for builders that want a Dockerfile, with the very layers that `pack` makes.

Each layer is a folder of the context and one COPY. Weights are hard links, so that nothing is copied; small files, and
the parts of weights that are split, are files of the context that any user may read.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelimage.convert import converted
from modelimage.errors import ImageError, collecting
from modelimage.fingerprints import fingerprint
from modelimage.images import SCRATCH, Session, parse_base
from modelimage.layers import LAYER_COUNT_LIMIT, Layer, is_shard, notes_on, plan_layers
from modelimage.origins import local_folder, open_source
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter, readable
from modelimage.reshard import ShardSize
from modelimage.source import Selection, Source, SourceFile
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LayoutReference

# What an older version wrote is told by it, and it is in the hashes of contexts that users' states hold.
_FIRST_LINE = "# Written by `python -m modelimage context`: changes are lost."


@dataclass(frozen=True)
class BuildContext:
    """A finished context: its folder, the source's fingerprint, and its layers' size in bytes without the base."""

    folder: Path
    fingerprint: str
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {"context": str(self.folder), "fingerprint": self.fingerprint, "size_bytes": self.size_bytes}


def write_context(
    source: str,
    folder: str,
    *,
    base: str = SCRATCH,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    pickle: bool = False,
    convert: bool = False,
    adapter: bool = False,
    shard_gb: ShardSize = "auto",
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> BuildContext:
    """Prepare `folder` as a Docker build context for `source` upon `base` (`scratch` or HOST/REPO@sha256:…).

    `hf://` and `gs://` sources are fetched first: into huggingface_hub's own cache, or below `cache`. A context
    that was written there before is replaced. `shard_gb` as for `pack`: a part of a file cannot be a link, so it is
    written to the context.

    Raises:
        InputError: an argument or the source cannot be used, or `folder` holds something else.
        ImageError: fetching or writing failed.
    """
    session = Session.start(reporter, policy, cache)
    place = Path(folder)
    problems = _place_problems(place)
    from_line = SCRATCH
    with collecting(problems):
        parsed = parse_base(base)
        if parsed is not None:
            if isinstance(parsed[0], LayoutReference):
                problems.append(
                    f"--base {base}: docker cannot read a layout: copy it to a registry first, with "
                    f"`oms image copy {base} HOST/REPO`"
                )
            from_line = str(parsed[0])
    if problems:
        raise InputError(*problems)
    selection = Selection(tuple(allow), tuple(ignore), pickle=pickle, convert=convert, adapter=adapter)
    local = local_folder(source, selection, session.patience, session.reporter, session.cache.folder)
    listed = open_source(str(local), selection, session.patience)
    for note in listed.notes:
        session.reporter.note(f"note: {note}")
    with converted(listed, session.cache.folder, session.reporter, session.stop) as ready:
        # A base's layers are not counted here: docker fetches it later. Bases are small in layers.
        layers = plan_layers(ready.files, base_layers=1, shard_gb=shard_gb)
        if len(layers) + 1 > LAYER_COUNT_LIMIT:
            raise InputError(
                f"{source}: {len(layers)} layers and a base are more than docker reads (about 125): use builder: direct"
            )
        for note in notes_on(layers):
            session.reporter.note(f"note: {note}")
        if written := sum(file.size for layer in layers for file in layer.files if file.part_of):
            session.reporter.note(
                f"note: parts cannot be links: {readable(written)} are written to the build context {place.name}, and "
                f"need that room on its disk"
            )
        _write(place, layers, ready, from_line)
    return BuildContext(place, fingerprint(source, session.reporter.note), sum(layer.size for layer in layers))


def _place_problems(place: Path) -> list[str]:
    if place.name in {"", ".."}:
        return [f"{place}: a context replaces its folder: give one by its name, new or empty"]
    try:
        if not place.exists() or _is_ours(place) or (place.is_dir() and not any(place.iterdir())):
            return []
    except OSError as error:
        return [f"{place}: cannot be looked into: {error.strerror}: give a new or an empty folder"]
    return [f"{place}: holds something else than a build context of ours: give a new or an empty folder"]


def _is_ours(place: Path) -> bool:
    try:
        return (place / "Dockerfile").read_text(encoding="utf-8").startswith(_FIRST_LINE)
    except (OSError, UnicodeDecodeError):
        return False


def _write(place: Path, layers: list[Layer], listed: Source, from_line: str) -> None:
    partial = place.with_name(f".{place.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        lines = [_FIRST_LINE, f"FROM {from_line}"]
        for number, layer in enumerate(layers, 1):
            name = f"layer-{number:02d}"
            _write_layer(partial / name, layer)
            lines.append(f"COPY {name}/ /")
        lines.append("ENTRYPOINT []")
        (partial / "Dockerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
        listed.verify()
        shutil.rmtree(place, ignore_errors=True)
        partial.replace(place)
    except OSError as error:
        raise ImageError(f"{place}: the build context cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_layer(root: Path, layer: Layer) -> None:
    _make_folder(root)
    _make_folder(root / IMAGE_ROOT)
    for file in layer.files:
        path = root / IMAGE_ROOT / file.path
        for parent in reversed(path.relative_to(root).parents[:-1]):
            _make_folder(root / parent)
        if is_shard(file) and not file.part_of:
            _link(file, path)
        else:
            with path.open("wb") as out:
                out.writelines(file.read())
            path.chmod(0o644)
    for name, target in layer.links:
        (root / name).symlink_to(target)


def _make_folder(path: Path) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(0o755)  # docker keeps the mode, and a umask must not lock uid 1010 out


def _link(file: SourceFile, path: Path) -> None:
    if file.local is None:
        raise ImageError(f"{file.path}: is on no local disk and cannot be linked")
    if not Path(file.local).stat().st_mode & 0o004:
        raise InputError(
            f"{file.local}: servers run as uid 1010 and could not read it from the image: `chmod o+r` it (a hard link "
            f"has the mode of its file)"
        )
    try:
        os.link(file.local, path)
    except OSError as error:
        raise ImageError(
            f"{file.local}: cannot be linked into the build context ({error.strerror}): weights are never copied, so "
            f"put the context on the same file system, or pack without docker"
        ) from error
