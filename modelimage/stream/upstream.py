"""Ranges of an image's layers from its registry: who we are, where it sends, and what its answers mean.

An address that a registry sends to is asked for the next ranges too, until it no longer holds. Our Authorization goes
to the registry's own address and nowhere else.
"""

import http.client
import re
import threading
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urljoin

import httpx

from modelimage.answers import ERROR_LIMIT_BYTES, SILENCE_SECONDS
from modelimage.credentials import Credentials
from modelimage.documents import Descriptor
from modelimage.errors import ImageError
from modelimage.patience import Patience, StalledError, TransientError
from modelimage.reach import unreachable
from modelimage.refusals import error_of
from modelimage.stream.connections import Connections, Exchange, place_of
from modelimage.stream.counters import Count, Counters
from modelimage.stream.faults import CorruptFault, StreamFault, ignored_ranges, refused
from modelimage.stream.redirects import Redirects
from modelimage.transport import Transport
from oci_model_serving.foreign import in_line
from oci_model_serving.reference import RegistryReference

_LEAST_BYTES = 64 << 10
"""What moves in a minute at least (`answers`)."""
_PIECE_BYTES = 256 << 10
_SKIPPED_BYTES = 1 << 20
"""Of an answer under way, what is read for nothing rather than that its connection is given up."""
_DRAIN_SECONDS = 0.1
_NOTE_SECONDS = 10.0
_REDIRECTS = 10
_LOGINS = 2  # a token may have expired, and its successor be fetched with a credential that has too
_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")


class Upstream:
    """The layers of one image in its registry, for one process. Safe to use from many threads; close it when done.

    Args:
        reference: the image, by its digest.
        layers: its layers, the lowest first.
        base: the registry's address, as the control path has found it (`Transport.base`).
        credentials: of the registry.
        patience: how long to try.
        counters: what is counted.
    """

    def __init__(
        self,
        reference: RegistryReference,
        layers: Sequence[Descriptor],
        base: httpx.URL,
        credentials: Credentials,
        *,
        patience: Patience,
        counters: Counters,
    ) -> None:
        self.reference, self.layers = reference, layers
        self.patience, self.counters = patience, counters
        self._transport = Transport(reference.host, credentials, patience)
        self._transport.base = base
        self._base = str(base).rstrip("/")
        self._scope = f"repository:{reference.repository}:pull"
        self._connections = Connections(self._transport.routes, patience.policy.silence_seconds)
        self._redirects = Redirects()
        self._one_logs_in = threading.Lock()
        self._noted = -_NOTE_SECONDS

    def close(self) -> None:
        """Close what is open at the control path; the process' end closes the rest."""
        self._transport.close()

    def body(self, layer: int, start: int, end: int) -> "Body":
        """The bytes of a layer from `start` to `end`, asked for once.

        Raises:
            TransientError: it failed in a manner that may pass.
            StreamFault: it failed for good.
            ImageError: so did what it takes to log in.
        """
        blob = self.layers[layer]
        doing = f"{self.reference}: reading layer {blob.digest}"
        try:
            exchange = self._answer(blob.digest, start, end, doing)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error, doing) from error
        try:
            self._check(exchange.response, blob, start, end)
        except BaseException:
            exchange.connection.close()
            raise
        self.counters.add(Count.FETCHES)
        return Body(self._connections, exchange, start, end)

    def broken(self, layer: int, error: Exception) -> ImageError:
        """What it means that an answer under way broke off."""
        return self._broken(error, f"{self.reference}: reading layer {self.layers[layer].digest}")

    def note(self, text: str) -> None:
        """Tell of a failure, now and then: there may be many at once."""
        now = time.monotonic()
        if now - self._noted >= _NOTE_SECONDS:
            self._noted = now
            self.patience.tell(text)

    def trickles(self, layer: int, count: int, seconds: float) -> StalledError:
        """What it means that next to nothing comes."""
        digest = self.layers[layer].digest
        return StalledError(f"{self.reference}: reading layer {digest}: {count} bytes came in {seconds:.0f} s")

    def _broken(self, error: Exception, doing: str) -> ImageError:
        if isinstance(error, TimeoutError):
            seconds = self.patience.policy.silence_seconds
            return StalledError(f"{doing}: {self.reference.host} said nothing for {seconds:.0f} s")
        if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
            return TransientError(f"{doing}: the answer broke off ({in_line(repr(error), 100)})")
        return unreachable(error, doing, self.reference.host, answered_before=True)

    def _answer(self, digest: str, start: int, end: int, doing: str) -> Exchange:
        own = f"{self._base}/v2/{self.reference.repository}/blobs/{digest}"
        known = self._redirects.find(digest)
        address, hops, logins = known or own, 0, 0
        challenge: str | None = None
        shown: str | None = None
        while True:
            ours = place_of(address) == place_of(self._base)
            headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity", "User-Agent": _AGENT}
            if ours and (header := self._login(challenge, shown, is_last=logins > 1)):
                headers["Authorization"] = header
            exchange = self._connections.ask(address, headers)
            response = exchange.response
            challenge = None
            if response.status in _FOLLOWED and (location := response.getheader("location")):
                hops += 1
                if hops > _REDIRECTS:
                    exchange.connection.close()
                    raise StreamFault(f"{doing}: {self.reference.host} sends from one address to the next")
                self._drain(exchange)
                address = self._located(address, location)
                continue
            if address == known and response.status not in _GOOD and response.status not in _PASSING:
                # It holds no longer, whatever it says: Google answers 400 then, Amazon and Azure 403.
                self._drain(exchange)
                self._redirects.forget(digest)
                address, known = own, None
                continue
            if response.status == 401 and ours and logins < _LOGINS:
                challenge, shown = response.getheader("www-authenticate"), headers.get("Authorization")
                if challenge:
                    self._drain(exchange)
                    logins += 1
                    continue
            if hops and response.status in _GOOD:
                self._redirects.keep(digest, address)
                self.counters.add(Count.REDIRECTS)
            if response.status not in _GOOD:
                raise self._refusal(exchange, headers, digest, doing)
            return exchange

    def _login(self, challenge: str | None, shown: str | None, *, is_last: bool) -> str | None:
        """The header that says who we are, after a challenge to the one that was `shown`.

        Many threads are challenged at once, and the first gets a new token for all.
        """
        if challenge is None:
            return self._transport.authorisation(self._scope, None, refresh=False)
        with self._one_logs_in:
            known = self._transport.authorisation(self._scope, None, refresh=False)
            if known and known != shown:
                return known
            self.counters.add(Count.LOGINS)
            return self._transport.authorisation(self._scope, challenge, refresh=is_last)

    def _located(self, address: str, location: str) -> str:
        """Where an answer leads. A registry behind a proxy that ends TLS may call itself by plain http."""
        try:
            found = urljoin(address, location)
        except ValueError as error:
            raise StreamFault(f"{self.reference.host} sends to an address that is none: {error}") from error
        if found.startswith("http://") and self._base.startswith("https://"):
            secure = f"https://{found.removeprefix('http://')}"
            if place_of(secure)[1] == place_of(self._base)[1]:
                return secure
        return found

    def _drain(self, exchange: Exchange) -> None:
        response = exchange.response
        if response.length is not None and response.length <= ERROR_LIMIT_BYTES:
            response.read()
            if not response.will_close:
                self._connections.give_back(exchange)
                return
        exchange.connection.close()

    def _refusal(self, exchange: Exchange, headers: Mapping[str, str], digest: str, doing: str) -> ImageError:
        response = exchange.response
        with_body = httpx.Response(
            response.status,
            headers=response.getheaders(),
            content=response.read(ERROR_LIMIT_BYTES),
            request=httpx.Request("GET", self._base, headers=dict(headers)),
        )
        exchange.connection.close()
        if fault := refused(str(self.reference), response.status, what=f"layer {digest}"):
            return fault
        error = error_of(with_body, doing)
        return error if isinstance(error, TransientError) else StreamFault(str(error))

    def _check(self, response: http.client.HTTPResponse, blob: Descriptor, start: int, end: int) -> None:
        """See that an answer is the part that was asked for, of a blob of the size that the manifest says."""
        where = f"{self.reference}: layer {blob.digest}"
        given = _CONTENT_RANGE.fullmatch(response.getheader("content-range", ""))
        if given and given[3] not in {"*", str(blob.size)}:
            raise CorruptFault(f"{where} ends after {given[3]} of {blob.size} bytes: it is not the one that was pushed")
        if response.status == 416:
            raise CorruptFault(
                f"{where} ends before byte {start} of {blob.size} bytes: it is not the one that was pushed"
            )
        if response.status == 200 and (start, end) != (0, blob.size):
            raise ignored_ranges(self.reference.host)
        if response.status == 206 and given and given[1] != str(start):
            raise StreamFault(f"{where}: asked for bytes from {start} on, the answer has those from {given[1]} on")


_AGENT = "oci-model-serving"
_GOOD = frozenset({200, 206, 416})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Body:
    """An answer under way: bytes from `position` on, up to `end`."""

    def __init__(self, connections: Connections, exchange: Exchange, position: int, end: int) -> None:
        self._connections, self._exchange = connections, exchange
        self._response = exchange.response
        self.position, self.end = position, end

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes; 0 where the answer ended.

        Raises:
            OSError: the connection broke or fell silent.
            http.client.HTTPException: the answer is damaged.
        """
        count = self._response.readinto(view[: self.end - self.position])
        self.position += count
        return count

    def drop(self) -> None:
        """Close the connection: what else it would bring is not to be trusted."""
        self._exchange.connection.close()

    def close(self) -> int:
        """Keep the connection where the answer was read to its end, or is nearly and at once; else close it.

        What was read for that is the result, in bytes.
        """
        before, deadline = self.position, time.monotonic() + _DRAIN_SECONDS
        sock = self._exchange.connection.sock
        try:
            if 0 < self.end - self.position <= _SKIPPED_BYTES and sock is not None:
                scratch = memoryview(bytearray(_PIECE_BYTES))
                silence = sock.gettimeout()
                sock.settimeout(_DRAIN_SECONDS)
                while self.position < self.end and time.monotonic() < deadline and self.readinto(scratch):
                    pass
                sock.settimeout(silence)
            # What is sent in pieces has an end of its own; more than was asked for is not waited for.
            whole = self.position == self.end and not self._response.will_close
            if whole and (self._response.isclosed() or (self._response.chunked and not self._response.read(1))):
                self._connections.give_back(self._exchange)
                return self.position - before
        except (OSError, http.client.HTTPException):
            pass
        self.drop()
        return self.position - before


class Run:
    """A stretch of a layer that is read forwards, over as many answers as it takes; one is asked for up to `end`."""

    def __init__(self, upstream: Upstream, layer: int, end: int) -> None:
        self._upstream, self._layer, self._end = upstream, layer, end
        self._body: Body | None = None

    def close(self) -> None:
        """Let go of the answer under way: the next bytes are asked for afresh."""
        if self._body is not None:
            self._upstream.counters.add(Count.FETCHED_BYTES, self._body.close())
            self._body = None

    def fill(self, view: memoryview, at: int) -> None:
        """Read what is at `at`, as much as `view` takes; taken up where it breaks off, while it gets on.

        Raises:
            ImageError: it failed for good, or too often without getting on.
        """
        policy, counters = self._upstream.patience.policy, self._upstream.counters
        done, failures, moved, since = 0, 0, 0, time.monotonic()
        while done < len(view):
            try:
                count = self._read(self._at(at + done, at + len(view)), view[done : done + _PIECE_BYTES])
                now = time.monotonic()
                if moved + count < _LEAST_BYTES and now - since > SILENCE_SECONDS:
                    raise self._upstream.trickles(self._layer, moved + count, now - since)
            except TransientError as error:
                if self._body is not None:
                    self._body.drop()
                    self._body = None
                failures += 1
                if policy.gives_up(failures, time.monotonic() - since, error):
                    raise StreamFault(f"{error}: gave up after {failures} attempts") from error
                counters.add(Count.RETRIES)
                self._upstream.note(f"{error}: trying again from there")
                self._upstream.patience.stop.wait(policy.wait_seconds(failures, error))
                moved, since = 0, time.monotonic()
                continue
            done += count
            counters.add(Count.FETCHED_BYTES, count)
            moved += count
            if moved >= _LEAST_BYTES:
                failures, moved, since = 0, 0, now

    def _at(self, at: int, end: int) -> Body:
        """The answer under way where it is at `at`, or near before it; else a new one, up to `end` at least."""
        body = self._body
        if body is not None and not 0 <= at - body.position <= min(_SKIPPED_BYTES, body.end - body.position - 1):
            self.close()
            body = None
        if body is None:
            body = self._body = self._upstream.body(self._layer, at, max(self._end, end))
        scratch = memoryview(bytearray(min(at - body.position, _PIECE_BYTES)))
        while body.position < at:
            self._upstream.counters.add(Count.FETCHED_BYTES, self._read(body, scratch[: at - body.position]))
        return body

    def _read(self, body: Body, view: memoryview) -> int:
        try:
            count = body.readinto(view)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._upstream.broken(self._layer, error) from error
        if not count:
            layer = self._upstream.layers[self._layer]
            raise TransientError(
                f"{self._upstream.reference}: layer {layer.digest} ends after {body.position} of {layer.size} bytes"
            )
        return count
