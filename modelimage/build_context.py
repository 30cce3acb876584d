"""A Docker build context for a model: for builders that want a Dockerfile, with the very layers that ``pack`` makes.

Each layer is a folder of the context and one COPY. Weights are hard links, so that nothing is copied; small files are
copies that any user may read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelimage.cache import default_folder, source_key
from modelimage.errors import BadInputError, ImageError
from modelimage.fingerprints import fingerprint
from modelimage.images import SCRATCH, Session, parse_base
from modelimage.layers import MODEL_ROOT, Layer, is_shard, plan_layers
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.references import LayoutReference
from modelimage.sources import Selection, Source, SourceFile, open_source

_FIRST_LINE = "# Written by `python -m modelimage context`: changes are lost."


@dataclass(frozen=True)
class BuildContext:
    """A finished context: its folder, the source's fingerprint, and its layers' size in bytes without the base."""

    folder: Path
    fingerprint: str
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {"context": str(self.folder), "fingerprint": self.fingerprint, "size_bytes": self.size_bytes}


def write_context(
    source: str,
    folder: str,
    *,
    base: str = SCRATCH,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> BuildContext:
    """Prepare ``folder`` as a Docker build context for ``source`` upon ``base`` (``scratch`` or HOST/REPO@sha256:…).

    ``hf://`` and ``gs://`` sources are fetched first: into huggingface_hub's own cache, or below ``cache``. A context
    that was written there before is replaced.

    Raises:
        BadInputError: an argument or the source cannot be used, or ``folder`` holds something else.
        ImageError: fetching or writing failed.
    """
    session = Session.start(reporter, policy, cache)
    place = Path(folder)
    problems = _place_problems(place)
    from_line = SCRATCH
    try:
        parsed = parse_base(base)
        if parsed is not None:
            if isinstance(parsed[0], LayoutReference):
                problems.append(
                    f"--base {base}: docker cannot read a layout: copy it to a registry first, with "
                    f"`python -m modelimage copy {base} HOST/REPO`"
                )
            from_line = str(parsed[0])
    except BadInputError as error:
        problems.extend(error.problems)
    if problems:
        raise BadInputError(*problems)
    selection = Selection(tuple(allow), tuple(ignore))
    local = _fetched(source, selection, session, cache or default_folder())
    listed = open_source(str(local), selection, session.patience)
    for note in listed.notes:
        session.reporter.note(f"note: {note}")
    # A base's layers are not counted here: docker fetches it later. Bases are small in layers.
    layers = plan_layers(listed.files, base_layers=1)
    _write(place, layers, listed, from_line)
    return BuildContext(place, fingerprint(source), sum(layer.size for layer in layers))


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


def _fetched(source: str, selection: Selection, session: Session, cache: Path) -> Path:
    """Return a local folder that holds the source's files."""
    if source.startswith("hf://"):
        from modelimage.hub import fetch_snapshot  # noqa: PLC0415 - loads huggingface_hub

        return fetch_snapshot(source, selection)
    if "://" not in source:
        return Path(source)
    listed = open_source(source, selection, session.patience)
    root = cache / "sources" / source_key(source)
    for file in listed.files:
        _fetch(file, root / file.path, session)
    wanted = {path for file in listed.files for path in (root / file.path, _stamp(root / file.path))}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path not in wanted:
            path.unlink()  # what the bucket no longer has
    return root


def _stamp(path: Path) -> Path:
    """Return the hidden file that keeps which generation was fetched to ``path``."""
    return path.with_name(f".{path.name}.identity")


def _fetch(file: SourceFile, path: Path, session: Session) -> None:
    stamp = _stamp(path)
    try:
        if path.is_file() and stamp.read_text(encoding="utf-8") == file.identity:
            return
    except OSError:
        pass  # not fetched yet, or not to its end
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        session.reporter.started(file.path, file.size)
        with partial.open("wb") as out:
            for chunk in file.read():
                out.write(chunk)
                session.reporter.advanced(file.path, len(chunk))
        partial.replace(path)
        stamp.write_text(file.identity, encoding="utf-8")
    except OSError as error:
        raise ImageError(f"{path}: fetching failed: {error.strerror}: make room, or give another --cache") from error
    finally:
        partial.unlink(missing_ok=True)
    session.reporter.finished(file.path, "fetched")


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
    _make_folder(root / MODEL_ROOT)
    for file in layer.files:
        path = root / MODEL_ROOT / file.path
        for parent in reversed(path.relative_to(root).parents[:-1]):
            _make_folder(root / parent)
        if is_shard(file):
            _link(file, path)
        else:
            path.write_bytes(b"".join(file.read()))
            path.chmod(0o644)
    for name, target in layer.links:
        (root / name).symlink_to(target)


def _make_folder(path: Path) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(0o755)  # docker keeps the mode, and a umask must not lock uid 1010 out


def _link(file: SourceFile, path: Path) -> None:
    if file.local is None:
        raise ImageError(f"{file.path}: is on no local disk and cannot be linked")
    if not file.local.stat().st_mode & 0o004:
        raise BadInputError(
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
