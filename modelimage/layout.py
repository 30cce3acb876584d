"""An OCI image layout folder (image-spec v1.1, "image-layout"): written so that it looks whole only when it is.

Every file is written under a temporary name, flushed to the disk and renamed; `index.json`, which alone makes a
folder an image, comes last. The folder holds one image: a new one takes its place, shares its blobs, and what only the
old one needed is removed. Entries that other tools have named (`org.opencontainers.image.ref.name`) are kept.
"""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, final

from modelimage import layout_attachments, layout_names
from modelimage.attachments import entry_of
from modelimage.documents import INDEX_TYPE, INDEX_TYPES, read_config, read_index, read_manifest
from modelimage.errors import DigestMismatchError, ImageError, NotFoundError
from modelimage.progress import readable
from modelimage.source import CHUNK_BYTES
from modelimage.stores import MANIFEST_LIMIT_BYTES, Listed, StoredManifest
from modelimage.streams import Blob, HashedPass, Written, digest_of
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LayoutReference, packed_tag

_LAYOUT_FILE = "oci-layout"
_LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_FILE = "index.json"
_DOCKER_FILE = "manifest.json"
_TEMPORARY = ".partial-"


class Layout:
    """An image layout folder as a place to read images from."""

    def __init__(self, reference: LayoutReference) -> None:
        self._reference = reference
        self.folder = reference.folder
        self._blobs = reference.folder / "blobs" / "sha256"

    def manifest(self, name: str | None) -> StoredManifest:
        """The manifest or index with this digest, or the only one that the folder lists."""
        listed = self._listed()
        name = name or self._reference.digest
        if name is None:
            # What says that it is an artifact lies beside an image.
            images = [entry for entry in listed if not entry.get("artifactType")] or listed
            digests = list(dict.fromkeys(str(entry["digest"]) for entry in images))
            if len(digests) != 1:
                have = ", ".join(digests) or "none"
                raise NotFoundError(
                    f"oci:{self.folder} holds {len(digests)} images: add @ and a digest (it has {have})"
                )
            name = digests[0]
        media_type = next((str(entry["mediaType"]) for entry in listed if entry["digest"] == name), None)
        if media_type is None and not self._path(name).is_file():
            raise NotFoundError(f"oci:{self.folder} has no image {name}: pack it there, or correct the reference")
        return StoredManifest.read(name, media_type or "", self._content(name))

    def tagged(self, tag: str) -> StoredManifest | None:
        """What the folder lists under a name; None if there is no such name."""
        found = [entry for entry in self._listed() if layout_names.name_of(entry) == tag]
        return self.manifest(str(found[0]["digest"])) if found else None

    def packed(self) -> list[StoredManifest]:
        """The images that were packed into the folder: what was copied there says of itself what it likes."""
        return [self.manifest(str(entry["digest"])) for entry in self._listed() if layout_names.is_packed(entry)]

    def referrers(self, digest: str) -> list[Listed]:
        """What the folder lists that is attached to the manifest."""
        return layout_attachments.listed(self._listed(), digest, self.manifest)

    def _content(self, digest: str) -> bytes:
        if self._path(digest).is_file() and self._path(digest).stat().st_size > MANIFEST_LIMIT_BYTES:
            raise ImageError(f"oci:{self.folder}: {digest} is no image: it is a layer, by its size")
        content = b"".join(self.read_blob(digest, -1))
        found = digest_of(content)
        if found != digest:
            raise DigestMismatchError(f"{self._path(digest)}: damaged: its digest is {found}: pack the image again")
        return content

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes, or those from `start` to `end`; a negative `size` means whatever is there."""
        path = self._path(digest)
        try:
            with path.open("rb", buffering=0) as file:
                there = os.fstat(file.fileno()).st_size
                if size >= 0 and there != size:
                    raise ImageError(f"{path}: damaged: {there} bytes where {size} belong: pack the image again")
                left = (there if end is None else end) - start
                file.seek(start)
                while left > 0 and (data := file.read(min(CHUNK_BYTES, left))):
                    left -= len(data)
                    yield data
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}: pack the image again") from error

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes:
        """A few bytes out of a blob."""
        return b"".join(self.read_blob(digest, size, start, end))

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def _listed(self) -> list[dict[str, Any]]:
        path = self.folder / _INDEX_FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"oci:{self.folder}: no image layout (there is no {_INDEX_FILE}): pack an image there first"
            ) from error
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            read_index(content, str(path))
        except ImageError as error:
            raise ImageError(
                f"{error}: the layout is damaged: repair the file, or remove the folder and write the image again"
            ) from error
        entries: list[dict[str, Any]] = json.loads(content)["manifests"]
        return entries


@final
class LayoutWriter(Layout):
    """An image layout folder as a place to write one image to; a context manager that holds the folder's lock.

    When the run fails, a folder that was made for it is removed again, and of an older one only the temporary files.

    Raises:
        InputError: on entry, when the folder holds something else than a layout.
        ImageError: on entry, when another run is writing there or the folder cannot be made.
    """

    def __enter__(self) -> "LayoutWriter":
        self._complete = False
        self._beside: list[dict[str, Any]] = []
        try:
            self._made = not self.folder.exists()
            if not self._made:
                self._check_is_layout()
        except OSError as error:
            raise ImageError(
                f"oci:{self.folder}: cannot be looked into: {error.strerror}: give another folder, or allow it "
                f"for this user"
            ) from error
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise ImageError(f"{self.folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ImageError(f"oci:{self.folder}: another run is writing there: wait for it") from error
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._sweep()
            if self._made and not self._complete:
                shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            os.close(self._lock)

    def _check_is_layout(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"oci:{self.folder}: a file is in the way: give a folder")
        names = {entry.name for entry in self.folder.iterdir()}
        # A killed run leaves blobs and no index: that is ours to complete.
        if names and not names & {_LAYOUT_FILE} and names != {"blobs"}:
            raise InputError(f"oci:{self.folder}: holds files and is no image layout: give an empty or a new folder")

    def _sweep(self) -> None:
        # Nobody else writes here while the lock is held: what has a temporary name is a killed run's.
        for folder in (self.folder, self._blobs):
            for path in folder.glob(f"{_TEMPORARY}*"):
                path.unlink(missing_ok=True)

    def prepare(self, blobs: Sequence[tuple[str | None, int]]) -> None:
        """Check that the folder's index is whole, and that the disk has room for the blobs that are not there yet."""
        self._former("")
        needed = sum(size for digest, size in blobs if digest is None or not self.has_blob(digest, size))
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise ImageError(
                f"oci:{self.folder}: the disk has {readable(free)} free and the image needs up to {readable(needed)} "
                f"more: make room, or give a folder on another disk"
            )

    def has_blob(self, digest: str, size: int) -> bool:
        """Tell whether the blob is there: its name is given only to whole files."""
        try:
            return self._path(digest).stat().st_size == size
        except OSError:
            return False

    def write_blob(self, blob: Blob) -> Written:
        """Write a blob; nobody else checks it, so it is hashed even where its digest is known."""
        if blob.digest is not None and self.has_blob(blob.digest, blob.size):
            return Written(blob.digest, uploaded=False)
        passed = HashedPass(blob)
        with _writing(self._blobs, blob.title) as (file, temporary):
            for chunk in passed:
                file.write(chunk)
            if blob.digest is not None and passed.digest != blob.digest:
                raise DigestMismatchError(f"{blob.title}: its digest is {passed.digest}, not {blob.digest}")
            fresh = not self.has_blob(passed.digest, blob.size)
            self._publish(file, temporary, self._path(passed.digest))
        return Written(passed.digest, uploaded=fresh)

    def write_child(self, manifest: StoredManifest) -> None:
        """Write a manifest as a blob and read it back; the folder's image stays the one that it was."""
        self.write_blob(Blob.of("the manifest", manifest.content))
        self._content(manifest.digest)

    def attach(self, manifests: Sequence[StoredManifest], subject: str) -> None:  # noqa: ARG002 - they say it
        """Write manifests that are attached to another, and list them."""
        for manifest in manifests:
            self.write_child(manifest)
        self._list([entry_of(manifest) for manifest in manifests])

    def write_tag(self, manifest: StoredManifest, tag: str) -> None:
        """List a manifest under a name, which it takes from whatever had it."""
        self.write_child(manifest)
        self._list([layout_names.named(entry_of(manifest), tag)], tag)

    def _list(self, entries: Sequence[dict[str, Any]], name: str | None = None) -> None:
        new = {entry["digest"] for entry in entries}
        others = [entry for entry in self._listed() if entry["digest"] not in new]
        stay = [entry for entry in others if layout_names.name_of(entry) != name]
        self._write_index([*stay, *entries])

    def write_manifest(self, manifest: StoredManifest, tags: tuple[str, ...]) -> None:
        """Write a manifest and make it the folder's image; then remove what only the former image needed.

        There are no tags here; that of a packed image becomes a mark of its entry.
        """
        self.write_child(manifest)
        kept, replaced = self._former(manifest.digest)
        own = {entry["digest"] for entry in self._beside}
        kept = [*(entry for entry in kept if entry["digest"] not in own), *self._beside]
        packed = packed_tag(manifest.digest) in tags
        entry = layout_names.entry(manifest, self.folder, self._platform(manifest), kept, packed=packed)
        self._write_file(_LAYOUT_FILE, _LAYOUT_VERSION)
        self._write_index([entry, *kept])
        self._write_docker_file(manifest)
        self._complete = True
        needed = self._needed_by((str(stays["digest"]), str(stays["mediaType"])) for stays in (entry, *kept))
        for digest in self._needed_by(replaced) - needed:
            self._path(digest).unlink(missing_ok=True)

    def write_beside(self, manifest: StoredManifest, name: str, tags: tuple[str, ...]) -> None:  # noqa: ARG002
        """Write an artifact's manifest beside the folder's next image, as `name`: it comes and goes with that."""
        self.write_child(manifest)
        self._beside = [layout_names.entry_beside(manifest, name)]

    def _platform(self, manifest: StoredManifest) -> dict[str, str] | None:
        """What the image runs on; None where it is several."""
        if manifest.media_type in INDEX_TYPES:
            return None
        config = read_manifest(manifest.content, manifest.digest).config
        said = read_config(self._content(config.digest), config.digest)
        return {"os": said.os, "architecture": said.architecture}

    def _write_index(self, entries: Sequence[dict[str, Any]]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
        self._write_file(_INDEX_FILE, json.dumps(index, indent=2).encode() + b"\n")

    def _write_docker_file(self, manifest: StoredManifest) -> None:
        """Write what `docker load` reads of one image; for several platforms there is no such form."""
        if manifest.media_type in INDEX_TYPES:
            (self.folder / _DOCKER_FILE).unlink(missing_ok=True)
            return
        image = read_manifest(manifest.content, manifest.digest)
        config, *layers = (
            self._path(blob.digest).relative_to(self.folder).as_posix() for blob in (image.config, *image.layers)
        )
        described = [{"Config": config, "RepoTags": [layout_names.full_name(self.folder)], "Layers": layers}]
        self._write_file(_DOCKER_FILE, json.dumps(described, indent=2).encode() + b"\n")

    def _former(self, digest: str) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
        """The entries of other tools, which stay, and our former images (digest, media type), which go."""
        try:
            listed = self._listed()
        except NotFoundError:
            return [], []
        # What another tool has called this very image is its name for it, and stays.
        same = [entry for entry in listed if entry["digest"] == digest and not layout_names.is_named_otherwise(entry)]
        others = [entry for entry in listed if not layout_names.is_named_by_us(entry) and entry not in same]
        kept = layout_attachments.staying(others, digest, self.manifest)
        gone = [entry for entry in listed if entry not in kept and entry["digest"] != digest]
        return kept, [(str(entry["digest"]), str(entry["mediaType"])) for entry in gone]

    def _needed_by(self, entries: Iterable[tuple[str, str]]) -> set[str]:
        """The digests of all that images (digest, media type where their list tells it) are made of."""
        needed: set[str] = set()
        for digest, media_type in entries:
            needed.add(digest)
            # A former image that is damaged must not keep the new one from being finished.
            with suppress(ImageError, ValueError):
                stored = self.manifest(digest)
                if (stored.media_type or media_type) in INDEX_TYPES:
                    children = read_index(stored.content, digest).manifests
                    needed |= self._needed_by((child.digest, child.media_type) for child in children)
                else:
                    manifest = read_manifest(stored.content, digest)
                    needed |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
        return needed

    def _write_file(self, name: str, content: bytes) -> None:
        with _writing(self.folder, name) as (file, temporary):
            file.write(content)
            self._publish(file, temporary, self.folder / name)

    def _publish(self, file: BinaryIO, temporary: Path, final: Path) -> None:
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut may undo the rename and keep a later one
        finally:
            os.close(folder)


@contextmanager
def _writing(folder: Path, title: str) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file that is gone afterwards unless it was renamed, with the disk's errors put into words."""
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_TEMPORARY)
        path, file = Path(name), os.fdopen(descriptor, "wb")
        try:
            os.fchmod(descriptor, 0o644)
            yield file, path
        finally:
            with suppress(OSError):
                file.close()
            path.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        remedy = "make room, or give a folder on another disk" if full else "check the folder's permissions"
        raise ImageError(f"{title}: writing below {folder} failed: {error.strerror}: {remedy}") from error
