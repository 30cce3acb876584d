"""A repository of a registry, over the OCI distribution API (https://github.com/opencontainers/distribution-spec, 1.1).

Uploads are monolithic, the only kind that Artifact Registry documents: POST, then either one streaming PATCH and a
closing PUT (the digest is known only when the bytes have passed), or one PUT with the bytes (it is known beforehand).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import final

import httpx

from modelimage.credentials import Credentials
from modelimage.documents import INDEX_TYPES, MANIFEST_TYPES
from modelimage.errors import CancelledError, DigestMismatchError, ImageError, NotFoundError
from modelimage.patience import GaveUpError, Patience, TransientError
from modelimage.source import CHUNK_BYTES
from modelimage.stores import MANIFEST_LIMIT_BYTES, StoredManifest
from modelimage.streams import Blob, HashedPass, Written, at_most, digest_of, resumed, without_start
from modelimage.transport import RegistryError, Transport
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import RegistryReference

_AS_STORED = {"Accept-Encoding": "identity"}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-")
_REACH_TRIES = 3  # a registry that has not answered once is likely none: tell it soon
_MOUNT_TRIES = 3  # registries that do not mount refuse each time: do not ask for long


@final
class Registry:
    """One repository as a place to read images from and write them to.

    `own` says whether the credentials of the environment are meant for this host; `sources` looks up other
    repositories that hold a blob, to be mounted from there instead of sent.
    """

    def __init__(
        self,
        place: RegistryReference,
        *,
        own: bool = True,
        patience: Patience | None = None,
        sources: Callable[[str], list[str]] = lambda _: [],
    ) -> None:
        self.place = place
        self._sources = sources
        self._patience = patience or Patience()
        self._http = Transport(
            place.host, Credentials(place.host, place.repository, use_environment=own), self._patience
        )
        self._reached = False
        self._root = f"/v2/{place.repository}"
        self._pull = f"repository:{place.repository}:pull"
        self._push = f"repository:{place.repository}:pull,push"

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def prepare(self, blobs: Sequence[tuple[str | None, int]]) -> None:  # noqa: ARG002 - registries tell no free room
        """Check that the registry is there and lets us in; an unreachable one is told after three tries."""
        self._http.call(
            "GET",
            "/v2/",
            doing=f"reaching {self.place.host}",
            scope=self._push,
            accept=(200,),
            patience=self._patience.at_most(_REACH_TRIES),
        )
        self._reached = True

    def manifest(self, name: str | None) -> StoredManifest:
        """The manifest or index that a digest or tag names; the content is checked against the digest."""
        name = name or self.place.digest or self.place.tag
        if name is None:
            raise ImageError(f"{self.place} names no image: add a tag or, better, a digest")
        response = self._http.call(
            "GET",
            f"{self._root}/manifests/{name}",
            doing=f"reading {self.place.name} {name}",
            scope=self._pull,
            accept=(200, 404),
            headers={"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))},
            patience=self._patience if self._reached else self._patience.at_most(_REACH_TRIES),
        )
        self._reached = True
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFoundError(f"{self.place.name} has no image {name}: build and push it, or correct the reference")
        content = response.content
        digest = digest_of(content)
        if len(content) > MANIFEST_LIMIT_BYTES:
            raise RegistryError(f"{self.place.name} {name}: a manifest of {len(content)} bytes is none")
        if ":" in name and digest != name:
            raise DigestMismatchError(
                f"{self.place.name} answered {digest} when it was asked for {name}: do not use it"
            )
        media_type = response.headers.get("content-type", "").split(";")[0].strip()
        return StoredManifest.read(digest, media_type, content)

    def digest_of_tag(self, tag: str) -> str | None:
        """The digest that a tag points to, or None if there is no such tag."""
        try:
            return self.manifest(tag).digest
        except NotFoundError:
            return None

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes, or those from `start` to `end`; a broken connection is taken up where it broke."""
        doing = f"reading {self.place.name} {digest}"
        count = (size if end is None else end) - start
        chunks = resumed(self._patience, count, doing, lambda done: self._blob_from(digest, start + done, end, doing))
        return chunks if end is None else at_most(count, chunks)

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes | None:
        """A few bytes out of a blob; None where the registry, or the storage that it sends to, knows no ranges."""
        doing = f"reading {self.place.name} {digest}"
        for attempt in self._patience.retrying():
            with attempt:
                with self._ranged(digest, start, end, doing) as response:
                    if response.status_code == httpx.codes.OK and (start, end) != (0, size):
                        return None
                    data = b"".join(at_most(end - start, response.iter_raw(CHUNK_BYTES)))
                if len(data) < end - start:
                    raise TransientError(f"{doing}: the answer ended after {len(data)} of {end - start} bytes")
                return data
        raise CancelledError(f"{doing}: stopped")

    def _blob_from(self, digest: str, start: int, end: int | None, doing: str) -> Iterator[bytes]:
        with self._ranged(digest, start, end, doing) as response:
            ranged = response.status_code != httpx.codes.OK
            yield from without_start(response.iter_raw(CHUNK_BYTES), 0 if ranged else start)

    @contextmanager
    def _ranged(self, digest: str, start: int, end: int | None, doing: str) -> Iterator[httpx.Response]:
        # What is compressed for the way has another length than the blob, and is read as it comes.
        last = "" if end is None else end - 1
        headers = {**_AS_STORED, **({"Range": f"bytes={start}-{last}"} if start or end is not None else {})}
        with self._http.stream(
            f"{self._root}/blobs/{digest}", doing=doing, scope=self._pull, headers=headers
        ) as response:
            given = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
            if response.status_code == httpx.codes.PARTIAL_CONTENT and given and int(given[1]) != start:
                raise RegistryError(
                    f"{doing}: asked for bytes from {start} on, the answer has those from {given[1]} on"
                )
            yield response

    def has_blob(self, digest: str, size: int) -> bool:
        """Tell whether the repository holds the blob."""
        response = self._http.call(
            "HEAD",
            f"{self._root}/blobs/{digest}",
            doing=f"looking for {digest} in {self.place.name}",
            scope=self._push,
            accept=(200, 404),
            headers=_AS_STORED,
        )
        length = response.headers.get("content-length", str(size))
        return response.status_code == httpx.codes.OK and length == str(size)

    def write_blob(self, blob: Blob) -> Written:
        """Push a blob: not at all where it is there, by a mount where another repository has it, else as a stream."""
        if blob.digest is not None and (self.has_blob(blob.digest, blob.size) or self._mounted(blob, blob.digest)):
            return Written(blob.digest, uploaded=False)
        for attempt in self._patience.retrying():
            with attempt:
                # A repeated attempt may find that the last one did arrive: only its answer was lost.
                if attempt.retry_state.attempt_number > 1 and blob.digest and self.has_blob(blob.digest, blob.size):
                    return Written(blob.digest, uploaded=True)
                return Written(self._upload(blob), uploaded=True)
        raise CancelledError(f"pushing {blob.title}: stopped")

    def _mounted(self, blob: Blob, digest: str) -> bool:
        host = f"{self.place.host}/"
        names = [name for name in self._sources(digest) if name.startswith(host) and name != self.place.name]
        for name in names[:_MOUNT_TRIES]:
            other = name.removeprefix(host)
            # A registry that cannot or will not mount opens an upload instead, which is then given up.
            with suppress(RegistryError, GaveUpError):
                response = self._http.call(
                    "POST",
                    self._http.url(f"{self._root}/blobs/uploads/").copy_merge_params({"mount": digest, "from": other}),
                    doing=f"mounting {blob.title} from {name}",
                    scope=f"{self._push} repository:{other}:pull",
                    accept=(201, 202),
                    headers={"Content-Length": "0"},
                )
                if response.status_code == httpx.codes.CREATED:
                    return True
                self._give_up(self._location(response))
        return False

    def _upload(self, blob: Blob) -> str:
        doing = f"pushing {blob.title}"
        opened = self._http.call(
            "POST",
            f"{self._root}/blobs/uploads/",
            doing=doing,
            scope=self._push,
            accept=(202,),
            headers={"Content-Length": "0"},
        )
        location = self._location(opened)
        try:
            if blob.digest is not None:
                return self._send_known(blob, blob.digest, location, doing)
            return self._send_hashing(blob, location, doing)
        except (OmsError, KeyboardInterrupt):
            self._give_up(location)
            raise

    def _send_known(self, blob: Blob, digest: str, location: httpx.URL, doing: str) -> str:
        try:
            self._http.once(
                "PUT",
                location.copy_merge_params({"digest": digest}),
                doing=doing,
                scope=self._push,
                accept=(201,),
                headers=_octets(blob.size),
                content=blob.chunks(),
            )
        except RegistryError as error:
            raise _mismatch_or(error, blob.title) from error
        return digest

    def _send_hashing(self, blob: Blob, location: httpx.URL, doing: str) -> str:
        passed = HashedPass(blob)
        sent = self._http.once(
            "PATCH",
            location,
            doing=doing,
            scope=self._push,
            accept=(202, 204),
            headers=_octets(blob.size),
            content=iter(passed),
        )
        # The bytes are there: a hiccup of the closing request must not send them again.
        try:
            self._http.call(
                "PUT",
                self._location(sent).copy_merge_params({"digest": passed.digest}),
                doing=doing,
                scope=self._push,
                accept=(201,),
                headers={"Content-Length": "0"},
                patience=self._patience.at_most(4),
            )
        except (RegistryError, GaveUpError) as error:
            if not self.has_blob(passed.digest, blob.size):
                if isinstance(error, GaveUpError) or error.status == httpx.codes.NOT_FOUND:
                    raise TransientError(f"{doing}: the registry lost the upload") from error
                raise _mismatch_or(error, blob.title) from error
        return passed.digest

    def _location(self, response: httpx.Response) -> httpx.URL:
        location = response.headers.get("location")
        if not location:
            raise RegistryError(f"{self.place.host} opened an upload without saying where (no Location header)")
        return self._http.url(location)

    def _give_up(self, location: httpx.URL) -> None:
        # Registries drop forgotten uploads by themselves after days; this only spares them the room until then.
        with suppress(OmsError):
            self._http.once("DELETE", location, doing="giving up an upload", scope=self._push, accept=(202, 204, 404))

    def write_child(self, manifest: StoredManifest) -> None:
        """Push a manifest by its digest and read it back."""
        self._put_manifest(manifest, manifest.digest)
        if self.manifest(manifest.digest).content != manifest.content:
            raise RegistryError(
                f"{self.place.name} keeps another manifest than the one pushed: do not use {self.place}"
            )

    def write_manifest(self, manifest: StoredManifest, tags: tuple[str, ...]) -> None:
        """Push a manifest by its digest, read it back, then write the tags; a tag that is right already stays."""
        self.write_child(manifest)
        for tag in tags:
            self.write_tag(manifest, tag)

    def write_tag(self, manifest: StoredManifest, tag: str) -> None:
        """Point a tag to a manifest that is there; immutable tags that point to it already are fine."""
        if self.digest_of_tag(tag) == manifest.digest:
            return
        try:
            self._put_manifest(manifest, tag)
        except RegistryError as error:
            raise RegistryError(
                f"{error}: the image itself is pushed, as {self.place.at(manifest.digest)}; where tags are immutable, "
                f"give one that is new, or none",
                status=error.status,
                codes=error.codes,
            ) from error

    def _put_manifest(self, manifest: StoredManifest, name: str) -> None:
        answer = self._http.call(
            "PUT",
            f"{self._root}/manifests/{name}",
            doing=f"writing the manifest {self.place.name} {name}",
            scope=self._push,
            accept=(200, 201, 202),
            headers={"Content-Type": manifest.media_type},
            content=manifest.content,
        )
        said = answer.headers.get("docker-content-digest", manifest.digest)
        if said != manifest.digest:
            raise RegistryError(f"{self.place.name} stored the manifest as {said} and not as {manifest.digest}")


def _octets(size: int) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Length": str(size)}


def _mismatch_or(error: RegistryError, title: str) -> ImageError:
    if "DIGEST_INVALID" in error.codes:
        return DigestMismatchError(f"{title}: what arrived has another digest than was expected: {error}")
    return error
