"""A repository of a registry, over the OCI distribution API (distribution-spec v1.1)."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

import httpx

from modelimage.answers import moving
from modelimage.attachments import digest_of_cosign_tag
from modelimage.credentials import Credentials
from modelimage.documents import INDEX_TYPES, MANIFEST_TYPES
from modelimage.errors import CancelledError, DigestMismatchError, ImageError, NotFoundError
from modelimage.patience import Patience, TransientError
from modelimage.referrer_lists import ReferrerLists
from modelimage.refusals import RegistryError
from modelimage.source import CHUNK_BYTES
from modelimage.stores import MANIFEST_LIMIT_BYTES, Listed, StoredManifest
from modelimage.streams import Blob, Written, at_most, digest_of, no_more_than, resumed, without_start
from modelimage.transport import Transport
from modelimage.uploads import Uploads
from oci_model_serving.reference import RegistryReference

_AS_STORED = {"Accept-Encoding": "identity"}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-")
_REACH_TRIES = 3  # a registry that has not answered once is likely none: tell it soon
_TAGS_A_PAGE = 100
_TAGS_PAGE_BYTES = 1 << 20
_WHOLE_PAGE_BYTES = 16 << 20  # Google's registries list each manifest beside the tags
_WHOLE_PAGES = 1000
_DANGLING = "GOOGLE_MANIFEST_DANGLING_TAG"


@final
class Registry:
    """One repository as a place to read images from and write them to.

    `own` says whether the credentials of the environment are meant for this host, unless others are given; `sources`
    looks up other repositories that hold a blob, to be mounted from there instead of sent.
    """

    def __init__(
        self,
        place: RegistryReference,
        *,
        own: bool = True,
        patience: Patience | None = None,
        sources: Callable[[str], list[str]] = lambda _: [],
        credentials: Credentials | None = None,
    ) -> None:
        self.place = place
        self._sources = sources
        self._patience = patience or Patience()
        credentials = credentials or Credentials(place.host, place.repository, use_environment=own)
        self._http = Transport(place.host, credentials, self._patience)
        self._reached = False
        self._root = f"/v2/{place.repository}"
        self._pull = f"repository:{place.repository}:pull"
        self._push = f"repository:{place.repository}:pull,push"
        self._delete = f"repository:{place.repository}:pull,push,delete"
        self._lists = ReferrerLists(self._http, place, (self._pull, self._push), self._patience, self.manifest)
        self._uploads = Uploads(self._http, place, self._push, self._patience, self.has_blob)

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def address(self) -> httpx.URL:
        """Where the registry was found to be: a local one speaks TLS or not."""
        return self._http.base

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
        stored = self.tagged(tag)
        return stored.digest if stored else None

    def tagged(self, tag: str) -> StoredManifest | None:
        """What a tag points to; None if there is no such tag."""
        try:
            return self.manifest(tag)
        except NotFoundError:
            return None

    def tags(self, limit: int) -> list[str]:
        """The repository's tags in the registry's order, `limit` at most.

        Raises:
            ImageError: the registry does not tell them, by one request each: nobody waits for this list.
        """
        doing = f"listing the tags of {self.place.name}"
        found: list[str] = []
        url: str | None = f"{self._root}/tags/list?n={min(limit, _TAGS_A_PAGE)}"
        for _ in range(-(-limit // _TAGS_A_PAGE)):
            if url is None or len(found) >= limit:
                break
            content, following, near = self._tag_page(url, _TAGS_PAGE_BYTES, doing)
            url = str(following) if following and near else None
            found += _tags_in(content, doing)
        return found[:limit]

    def all_tags(self, limit: int) -> tuple[list[str], dict[str, float]]:
        """All tags, and when manifests were pushed (seconds of the epoch), which Google's registries alone tell.

        Raises:
            ImageError: the registry does not tell them all, or there are more than `limit`.
        """
        doing = f"listing the tags of {self.place.name}"
        found: dict[str, None] = {}
        pushed: dict[str, float] = {}
        url: httpx.URL | None = self._http.url(f"{self._root}/tags/list?n={_TAGS_A_PAGE}")
        for _ in range(_WHOLE_PAGES):
            content, url, near = self._tag_page(str(url), _WHOLE_PAGE_BYTES, doing)
            if not near:
                raise RegistryError(f"{doing}: the list goes on at another host, where it is not followed")
            found |= dict.fromkeys(_tags_in(content, doing))
            pushed |= _pushed_in(content)
            if len(found) > limit:
                raise ImageError(f"{doing}: there are more than {limit}")
            if url is None:
                return list(found), pushed
        raise ImageError(f"{doing}: the list has no end within {_WHOLE_PAGES} pages")

    def _tag_page(self, url: str, limit: int, doing: str) -> tuple[bytes, httpx.URL | None, bool]:
        """A page of the list of tags, where the list goes on, and whether that is at the same host."""
        with self._http.stream(url, doing=doing, scope=self._pull, headers=_AS_STORED) as response:
            content = b"".join(at_most(limit, moving(response, CHUNK_BYTES, doing)))
            link = response.links.get("next", {}).get("url")
            following = response.url.join(link) if link else None
            return content, following, following is None or following.netloc == response.url.netloc

    def remove(self, digest: str, tags: Sequence[str]) -> None:
        """Remove a manifest with its tags; one that is gone already is fine."""
        try:
            self._remove(digest)
        except RegistryError as error:
            if _DANGLING not in error.codes:
                raise
            # Google's registries want these gone first, and keep them where they are immutable.
            try:
                for tag in tags:
                    self._remove(tag)
            except RegistryError as refused:
                raise RegistryError(
                    f"{refused}: where tags are immutable no tagged image can be removed: `gcloud artifacts "
                    "repositories update REPOSITORY --no-immutable-tags`, prune, and --immutable-tags again",
                    status=refused.status,
                    codes=refused.codes,
                ) from refused
            self._remove(digest)

    def _remove(self, name: str) -> None:
        answer = self._http.call(
            "DELETE",
            f"{self._root}/manifests/{name}",
            doing=f"removing {self.place.name} {name}",
            scope=self._delete,
            accept=(200, 202, 204, 404, 405),
        )
        if answer.status_code == httpx.codes.METHOD_NOT_ALLOWED:
            raise RegistryError(
                f"{self.place.name}: the registry removes nothing (405): allow it there (docker-registry: "
                "REGISTRY_STORAGE_DELETE_ENABLED=true), or remove with the registry's own tool",
                status=405,
            )

    def referrers(self, digest: str) -> list[Listed]:
        """What is attached to a manifest: as the registry lists it, or as its clients do."""
        return self._lists.read(digest)

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes, or those from `start` to `end`; a broken connection is taken up where it broke."""
        doing = f"reading {self.place.name} {digest}"
        count = (size if end is None else end) - start
        chunks = resumed(self._patience, count, doing, lambda done: self._blob_from(digest, start + done, end, doing))
        return no_more_than(size, chunks, doing) if end is None else at_most(count, chunks)

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes | None:
        """A few bytes out of a blob; None where the registry, or the storage that it sends to, knows no ranges."""
        doing = f"reading {self.place.name} {digest}"
        for attempt in self._patience.retrying():
            with attempt:
                with self._ranged(digest, start, end, doing) as response:
                    if response.status_code == httpx.codes.OK and (start, end) != (0, size):
                        return None
                    data = b"".join(at_most(end - start, moving(response, CHUNK_BYTES, doing)))
                if len(data) < end - start:
                    raise TransientError(f"{doing}: the answer ended after {len(data)} of {end - start} bytes")
                return data
        raise CancelledError(f"{doing}: stopped")

    def _blob_from(self, digest: str, start: int, end: int | None, doing: str) -> Iterator[bytes]:
        with self._ranged(digest, start, end, doing) as response:
            ranged = response.status_code != httpx.codes.OK
            yield from without_start(moving(response, CHUNK_BYTES, doing), 0 if ranged else start)

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
        if blob.digest is not None and (
            self.has_blob(blob.digest, blob.size)
            or self._uploads.mounted(blob, blob.digest, self._sources(blob.digest))
        ):
            return Written(blob.digest, uploaded=False)
        return Written(self._uploads.send(blob), uploaded=True)

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

    def write_beside(self, manifest: StoredManifest, name: str, tags: tuple[str, ...]) -> None:  # noqa: ARG002
        """As an image's: in a registry its tags are its names."""
        self.write_manifest(manifest, tags)

    def write_tag(self, manifest: StoredManifest, tag: str) -> None:
        """Point a tag to a manifest that is there; immutable tags that point to it already are fine."""
        if self.digest_of_tag(tag) == manifest.digest:
            return
        try:
            self._put_manifest(manifest, tag)
        except RegistryError as error:
            raise RegistryError(
                f"{error}: {_kind(manifest, tag)} itself is pushed, as {self.place.at(manifest.digest)}; where "
                f"tags are immutable, give one that is new, or none",
                status=error.status,
                codes=error.codes,
            ) from error

    def attach(self, manifests: Sequence[StoredManifest], subject: str) -> None:
        """Push manifests by digest that are attached to another, and see that they are listed."""
        unlisted = [
            manifest
            for manifest in manifests
            if "oci-subject" not in self._put_manifest(manifest, manifest.digest).headers
        ]
        if unlisted:
            self._lists.add(subject, unlisted)

    def _put_manifest(self, manifest: StoredManifest, name: str) -> httpx.Response:
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
        return answer


def _kind(manifest: StoredManifest, tag: str) -> str:
    """What a manifest is of, in words; what cosign makes says nothing of its type but in its tag."""
    is_artifact = json.loads(manifest.content).get("artifactType") or digest_of_cosign_tag(tag)
    return "the artifact" if is_artifact else "the image"


def _tags_in(content: bytes, doing: str) -> list[str]:
    try:
        tags = json.loads(content)["tags"] or []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RegistryError(f"{doing}: the answer is no list of tags") from error
    if not isinstance(tags, list):
        raise RegistryError(f"{doing}: the answer is no list of tags")
    return [tag for tag in tags if isinstance(tag, str)]


def _pushed_in(content: bytes) -> dict[str, float]:
    """When manifests were pushed, as Google's registries say beside the tags (`manifest.DIGEST.timeUploadedMs`)."""
    told = json.loads(content).get("manifest")
    found: dict[str, float] = {}
    for digest, said in told.items() if isinstance(told, dict) else ():
        milliseconds = said.get("timeUploadedMs") if isinstance(said, dict) else None
        if isinstance(milliseconds, str) and re.fullmatch(r"[1-9][0-9]{0,15}", milliseconds):
            found[digest] = int(milliseconds) / 1000
    return found
