"""Lists of what is attached to an image: read by the Referrers API or by tag, and kept right where a client must do it.

A registry that has the API lists by itself (it answers a push with `OCI-Subject`). In one that has not, the list is an
index under the tag `sha256-<hex>` that the clients merge into (distribution-spec v1.1, "Listing Referrers",
"Pushing Manifests with Subject", "Referrers Tag Schema").
"""

import random
from collections.abc import Callable, Sequence
from typing import final

import httpx

from modelimage.attachments import entry_of, listed_in, merged
from modelimage.documents import INDEX_TYPE
from modelimage.errors import CancelledError, NotFoundError
from modelimage.patience import Patience
from modelimage.refusals import RegistryError
from modelimage.stores import MANIFEST_LIMIT_BYTES, Listed, StoredManifest
from modelimage.streams import digest_of
from modelimage.transport import Transport
from oci_model_serving.reference import RegistryReference, referrers_tag

LISTED_LIMIT = 1000
"""Of one image's referrers, how many are looked at."""
_PAGES = 100
_RACES = 6
_SETTLE_SECONDS = 0.5
"""How long another client may take from reading a list to writing it: who read it before we wrote overwrites ours."""
_API_TRIES = 3
_UNKNOWN = (400, 401, 403, 404, 405, 406, 410, 415, 501)
"""What registries without the API answer: the specification's 404, and what others do (Artifactory: 406)."""


@final
class ReferrerLists:
    """The lists in one repository. `manifest` reads by digest or tag; `scopes` are those to read and to write."""

    def __init__(
        self,
        http: Transport,
        place: RegistryReference,
        scopes: tuple[str, str],
        patience: Patience,
        manifest: Callable[[str], StoredManifest],
    ) -> None:
        self._http, self._place, self._patience = http, place, patience
        self._pull, self._push = scopes
        self._manifest = manifest
        self._root = f"/v2/{place.repository}"
        self._api = True

    def read(self, digest: str) -> list[Listed]:
        """What is attached to the manifest, by either way; at most LISTED_LIMIT entries."""
        found = self._by_api(digest) if self._api else None
        if found is None:
            self._api = False
        # Some registries answer what they do not know with an empty list.
        entries = found or self._by_tag(digest)
        return list({entry.digest: entry for entry in entries}.values())[:LISTED_LIMIT]

    def _by_api(self, digest: str) -> list[Listed] | None:
        url: httpx.URL | None = self._http.url(f"{self._root}/referrers/{digest}")
        found: list[Listed] = []
        for _ in range(_PAGES):
            if url is None or len(found) >= LISTED_LIMIT:
                break
            answer = self._http.call(
                "GET",
                url,
                doing=f"listing what is attached to {digest} in {self._place.name}",
                scope=self._pull,
                accept=(200, *_UNKNOWN),
                headers={"Accept": INDEX_TYPE},
                patience=self._patience.at_most(_API_TRIES),
            )
            page = listed_in(answer.content) if answer.status_code == httpx.codes.OK else None
            if page is None:
                return None
            found += page
            url = self._http.located(answer, answer.links.get("next", {}).get("url"))
        return found

    def _by_tag(self, digest: str) -> list[Listed]:
        try:
            stored = self._manifest(referrers_tag(digest))
        except NotFoundError:
            return []
        # Up to version 0.1.0 this tag was the image's own, and GitLab takes it for the digest (oras-go #1396).
        if stored.digest == digest or stored.media_type != INDEX_TYPE:
            return []
        return listed_in(stored.content) or []

    def add(self, subject: str, manifests: Sequence[StoredManifest]) -> None:
        """Have manifests, which are there, in the list under the tag; what others have put there stays.

        Registries without the API take the last writer's list, so it is read again a little later, until it holds ours
        too; those that know conditions are asked to refuse what would overwrite another's.

        Raises:
            RegistryError: the tag is something else, or may not be written, or others kept replacing it.
        """
        entries = [entry_of(manifest) for manifest in manifests]
        tag = referrers_tag(subject)
        for attempt in range(_RACES):
            if attempt and self._patience.stop.wait(_SETTLE_SECONDS * random.uniform(1, 1 + attempt)):  # noqa: S311
                raise CancelledError(f"writing {tag}: stopped")
            current, condition = self._current(tag, subject)
            content = merged(current, entries)
            if content is None:
                return
            if len(content) > MANIFEST_LIMIT_BYTES:
                raise RegistryError(f"{self._place.name}:{tag}: the list of referrers would be too long: remove some")
            self._http.call(
                "PUT",
                f"{self._root}/manifests/{tag}",
                doing=f"writing the list of referrers {self._place.name}:{tag}",
                scope=self._push,
                accept=(200, 201, 202, 412),
                headers={"Content-Type": INDEX_TYPE, **condition},
                content=content,
            )
        raise RegistryError(
            f"{self._place.name}:{tag}: others kept replacing the list of referrers: run again when they are done"
        )

    def _current(self, tag: str, subject: str) -> tuple[bytes | None, dict[str, str]]:
        """The list as it is, and the condition that it is still that when it is written."""
        answer = self._http.call(
            "GET",
            f"{self._root}/manifests/{tag}",
            doing=f"reading the list of referrers {self._place.name}:{tag}",
            scope=self._push,
            accept=(200, 404),
            headers={"Accept": INDEX_TYPE},
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None, {"If-None-Match": "*"}
        stored = StoredManifest.read(tag, answer.headers.get("content-type", "").split(";")[0], answer.content)
        if stored.media_type != INDEX_TYPE or listed_in(stored.content) is None or digest_of(stored.content) == subject:
            raise RegistryError(
                f"{self._place.name}:{tag} is no list of referrers (up to version 0.1.0 images had such a tag of their "
                "own): remove that tag once nothing is served by it, then copy again"
            )
        etag = answer.headers.get("etag")
        return stored.content, {"If-Match": etag} if etag else {}
