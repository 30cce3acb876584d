"""How a blob gets into a repository: mounted, sent in one request, sent while it is hashed, or continued.

An upload is opened with POST, and is then one PUT with the bytes (their digest is known), or one streaming PATCH and a
closing PUT. One that broke is continued where the registry says how much it has (distribution-spec v1.1, "Pushing a
blob in chunks"), but never at Artifact Registry, which documents that it takes uploads as a whole only. Bytes are
never sent again into the same upload without asking: a registry that lost only its answer would have them twice.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import final

import httpx

from modelimage.errors import CancelledError, DigestMismatchError
from modelimage.patience import GaveUpError, Patience, TransientError
from modelimage.progress import readable
from modelimage.refusals import RegistryError
from modelimage.reshard import GB, LEAST_GB
from modelimage.streams import Blob, HashedPass, without_start
from modelimage.transport import Transport
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import RegistryReference, is_google

_MOUNT_TRIES = 3  # registries that do not mount refuse each time: do not ask for long
_CLOSING_TRIES = 4
_KEPT = re.compile(r"(?:bytes=)?0-(\d{1,20})")
_LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UNKNOWN"})
"""What registries of several replicas, and those that tidied up, answer for an upload that they opened themselves."""
_SMALLER = ": weights are packed in smaller ones with --shard-gb N (a stack: files.shardGb)"
_OUT_OF_STEP = frozenset({400, 404, 409, 416})


@dataclass
class _Course:
    """How the upload of one blob has gone so far: where it is open, and what must not happen a second time."""

    location: httpx.URL | None = None
    damaged: bool = False
    whole_only: bool = False


@final
class Uploads:
    """The uploads to one repository; `has_blob` asks whether a blob is there."""

    def __init__(
        self,
        http: Transport,
        place: RegistryReference,
        scope: str,
        patience: Patience,
        has_blob: Callable[[str, int], bool],
    ) -> None:
        self._http, self._place, self._scope, self._patience = http, place, scope, patience
        self._has_blob = has_blob
        self._path = f"/v2/{place.repository}/blobs/uploads/"

    def mounted(self, blob: Blob, digest: str, names: list[str]) -> bool:
        """Have the registry take the blob out of one of its repositories among `names`; tell whether it did."""
        host = f"{self._place.host}/"
        others = [name for name in names if name.startswith(host) and name != self._place.name]
        for name in others[:_MOUNT_TRIES]:
            other = name.removeprefix(host)
            # A registry that cannot or will not mount opens an upload instead, which is then given up.
            with suppress(RegistryError, GaveUpError):
                response = self._http.call(
                    "POST",
                    self._http.url(self._path).copy_merge_params({"mount": digest, "from": other}),
                    doing=f"mounting {blob.title} from {name}",
                    scope=f"{self._scope} repository:{other}:pull",
                    accept=(201, 202),
                    headers={"Content-Length": "0"},
                )
                if response.status_code == httpx.codes.CREATED:
                    return True
                self._give_up(self._location(response))
        return False

    def send(self, blob: Blob) -> str:
        """Send a blob and return its digest.

        Raises:
            DigestMismatchError: what was read or arrived has another digest than `blob.digest`, or what arrived twice
                another than was sent.
            RegistryError: the registry refuses; a GaveUpError where it kept failing.
        """
        course = _Course()
        try:
            for attempt in self._patience.retrying():
                with attempt:
                    # A repeated attempt may find that the last one did arrive: only its answer was lost.
                    again = attempt.retry_state.attempt_number > 1
                    if again and blob.digest and self._has_blob(blob.digest, blob.size):
                        return blob.digest
                    return self._attempt(blob, course)
        except (OmsError, KeyboardInterrupt):
            if course.location:
                self._give_up(course.location)
            raise
        raise CancelledError(f"pushing {blob.title}: stopped")

    def _attempt(self, blob: Blob, course: _Course) -> str:
        doing = f"pushing {blob.title}"
        start = self._kept(course, blob.size)
        if course.location is None:
            opened = self._http.call(
                "POST", self._path, doing=doing, scope=self._scope, accept=(202,), headers={"Content-Length": "0"}
            )
            course.location = self._location(opened)
        try:
            if blob.digest is not None and not start:
                return self._send_known(blob, blob.digest, course.location, doing)
            return self._send_hashing(blob, course, start, doing)
        except RegistryError as error:
            raise self._meaning(error, blob, course, start) from error

    def _meaning(self, error: RegistryError, blob: Blob, course: _Course, start: int) -> Exception:
        """What a refusal means for this upload: another attempt from the start, or the end."""
        doing = f"pushing {blob.title}"
        if "DIGEST_INVALID" in error.codes:
            return self._mismatch(error, blob, course)
        if start and error.status in _OUT_OF_STEP:
            course.location, course.whole_only = None, True
            return TransientError(f"{doing}: the registry does not go on with the upload: {error}")
        if error.status == httpx.codes.NOT_FOUND and _LOST & set(error.codes):
            course.location = None
            return TransientError(f"{doing}: the registry lost the upload: {error}")
        if error.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return RegistryError(
                f"{error} (nginx: client_max_body_size 0), or push to the registry past that proxy; {blob.title} is a "
                f"layer of {readable(blob.size)}{_SMALLER if blob.size > LEAST_GB * GB else ''}",
                status=error.status,
                codes=error.codes,
            )
        return error

    def _mismatch(self, error: RegistryError, blob: Blob, course: _Course) -> Exception:
        location, course.location = course.location, None
        if location:
            self._give_up(location)
        what = f"{blob.title}: what arrived has another digest than was expected"
        if blob.digest is not None:
            return DigestMismatchError(f"{what}: {error}")
        if course.damaged:
            return DigestMismatchError(
                f"{what}, twice: something on the way changes bytes (a proxy, a disk, memory): {error}"
            )
        course.damaged = course.whole_only = True
        return TransientError(f"{what}: {error}: reading and sending it afresh", retry_after=0)

    def _kept(self, course: _Course, size: int) -> int:
        """How many bytes the registry has of an upload that broke; an upload that cannot go on is given up."""
        location, course.location = course.location, None
        if location is None:
            return 0
        if not (course.whole_only or is_google(self._place.host)):
            with suppress(OmsError):
                told = self._http.once(
                    "GET", location, doing="asking how far an upload is", scope=self._scope, accept=(200, 204)
                )
                kept = _KEPT.fullmatch(told.headers.get("range", "").strip())
                # `0-0` is said of one byte and, by some, of none.
                if kept and 0 < int(kept[1]) < size:
                    course.location = self._http.located(told) or location
                    return int(kept[1]) + 1
        self._give_up(location)
        return 0

    def _send_known(self, blob: Blob, digest: str, location: httpx.URL, doing: str) -> str:
        self._http.once(
            "PUT",
            _with_digest(location, digest),
            doing=doing,
            scope=self._scope,
            accept=(201,),
            headers=_octets(blob.size),
            content=blob.chunks,
            pending=blob.size,
        )
        return digest

    def _send_hashing(self, blob: Blob, course: _Course, start: int, doing: str) -> str:
        passes: list[HashedPass] = []

        def fresh() -> Iterator[bytes]:
            passes.append(HashedPass(blob))
            return without_start(passes[-1], start)

        location = course.location
        if location is None:
            raise TransientError(f"{doing}: the upload is not open")
        if start < blob.size:
            sent = self._http.once(
                "PATCH",
                location,
                doing=doing,
                scope=self._scope,
                accept=(200, 201, 202, 204),
                headers=_octets(blob.size - start, f"{start}-{blob.size - 1}" if start else None),
                content=fresh,
                pending=blob.size,
            )
            location = course.location = self._http.located(sent) or location
        else:
            for _ in fresh():
                pass
        digest = passes[-1].digest
        # A registry closes an upload by whatever digest it is told: what is known must be held against it here.
        if blob.digest not in (None, digest):
            raise DigestMismatchError(
                f"{blob.title}: what was read has another digest than was expected: {digest} and not {blob.digest}"
            )
        self._close(blob, digest, location, doing, course)
        return digest

    def _close(self, blob: Blob, digest: str, location: httpx.URL, doing: str, course: _Course) -> None:
        """End an upload whose bytes are all there: a hiccup must not send them again."""
        try:
            self._http.call(
                "PUT",
                _with_digest(location, digest),
                doing=doing,
                scope=self._scope,
                accept=(201, 204),
                headers={"Content-Length": "0"},
                patience=self._patience.at_most(_CLOSING_TRIES),
                pending=blob.size,
            )
        except (RegistryError, GaveUpError) as error:
            # The answer to the first closing request may be all that was lost (jib #4301).
            if self._has_blob(digest, blob.size):
                return
            if isinstance(error, GaveUpError) or error.status == httpx.codes.NOT_FOUND:
                course.location, course.whole_only = None, True
                raise TransientError(f"{doing}: the registry lost the upload: {error}") from error
            raise

    def _location(self, response: httpx.Response) -> httpx.URL:
        location = self._http.located(response)
        if location is None:
            raise RegistryError(f"{self._place.host} opened an upload without saying where (no Location header)")
        return location

    def _give_up(self, location: httpx.URL) -> None:
        # Registries drop forgotten uploads by themselves after days; this only spares them the room until then.
        with suppress(OmsError):
            self._http.once("DELETE", location, doing="giving up an upload", scope=self._scope, accept=(202, 204, 404))


def _octets(size: int, part: str | None = None) -> dict[str, str]:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    return {**headers, **({"Content-Range": part} if part else {})}


def _with_digest(location: httpx.URL, digest: str) -> httpx.URL:
    """The closing address; what the registry has written there stays as it is, letter by letter: it may be signed."""
    query = location.query + (b"&" if location.query else b"") + f"digest={digest}".encode()
    return location.copy_with(query=query)
