"""What uploads do with a registry's answers, one request after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from modelimage import uploads
from modelimage.errors import DigestMismatchError, ImageError
from modelimage.patience import GaveUpError, Patience, RetryPolicy
from modelimage.refusals import RegistryError
from modelimage.registry import Registry
from modelimage.streams import Blob, digest_of
from oci_model_serving.reference import RegistryReference
from tests.modelimage.servers import Answer, Request, serving

QUICK = RetryPolicy(attempts=4, first_seconds=0.001)
CONTENT = bytes(range(256)) * 40
KNOWN = Blob.of("a blob", CONTENT)
STREAM = Blob("a blob", len(CONTENT), lambda: iter((CONTENT[:5000], CONTENT[5000:])))


class Uploading:
    """A registry that takes one blob; `answers` overrules it by method, each answer once."""

    def __init__(self, location: str = "/v2/models/blobs/uploads/1?state=a%2Bb%20c", **answers: list[Answer]) -> None:
        self.location, self.answers, self.asked = location, answers, list[Request]()
        self.received = bytearray()

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.answers.get(request.method):
            return self.answers[request.method].pop(0)
        if request.method == "PATCH":
            self.received += request.body
        status = {"POST": 202, "PATCH": 202, "PUT": 201, "DELETE": 204, "HEAD": 404}[request.method]
        return Answer(status, headers={"Location": self.location} if request.method in {"POST", "PATCH"} else {})

    def sent(self, method: str) -> list[Request]:
        return [request for request in self.asked if request.method == method]


def push(blob: Blob, address: str, policy: RetryPolicy = QUICK) -> str:
    place = RegistryReference(address.removeprefix("http://"), "models")
    with Registry(place, patience=Patience(policy)) as registry:
        return registry.write_blob(blob).digest


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/artifacts-uploads/namespaces/x", "/artifacts-uploads/namespaces/x"),
        ("2?state=z", "/v2/models/blobs/uploads/2"),
        ("//{host}/elsewhere", "/elsewhere"),
        ("http://{host}/absolute", "/absolute"),
    ],
)
def test_a_location_of_any_form_is_understood(location: str, path: str) -> None:
    registry = Uploading()
    with serving(registry) as address:
        registry.location = location.format(host=address.removeprefix("http://"))
        assert push(STREAM, address) == digest_of(CONTENT)
    assert urlsplit(registry.sent("PATCH")[0].path).path == path


@pytest.mark.parametrize("blob", [KNOWN, STREAM])
def test_what_the_registry_wrote_into_its_location_stays_letter_by_letter(blob: Blob) -> None:
    # A signed address is worthless once its query is spelled in another way.
    registry = Uploading()
    with serving(registry) as address:
        push(blob, address)
    assert registry.sent("PUT")[0].path == f"/v2/models/blobs/uploads/1?state=a%2Bb%20c&digest={digest_of(CONTENT)}"


@pytest.mark.parametrize("location", ["http://[bad/x", "http://host:port/x", "ftp://host/x", "http://other.example/x"])
def test_a_location_that_cannot_be_followed_is_told_at_once(location: str) -> None:
    registry = Uploading(location)
    with serving(registry) as address, pytest.raises(RegistryError, match=r"address that is none|refused to speak"):
        push(STREAM, address)
    assert len(registry.sent("POST")) == 1


def test_a_registry_that_says_no_location_again_is_asked_where_it_was() -> None:
    registry = Uploading(PATCH=[Answer(202)])
    with serving(registry) as address:
        assert push(STREAM, address) == digest_of(CONTENT)
    assert registry.sent("PUT")[0].path.startswith("/v2/models/blobs/uploads/1?")


def test_an_upload_whose_answer_was_lost_is_not_sent_again_into_the_same_upload() -> None:
    # The registry has all bytes: as often as they come again it would have them twice (jib #4526).
    whole = Answer(204, headers={"Range": f"0-{len(CONTENT) - 1}", "Location": "/v2/models/blobs/uploads/1"})
    registry = Uploading(PATCH=[Answer(503)], GET=[whole])
    with serving(registry) as address:
        assert push(STREAM, address) == digest_of(CONTENT)
    assert [request.method for request in registry.asked] == ["POST", "PATCH", "GET", "PUT"]


def test_an_upload_goes_on_behind_what_is_there() -> None:
    part = Answer(204, headers={"Range": "0-4095"})
    registry = Uploading(PATCH=[Answer(503)], GET=[part])
    with serving(registry) as address:
        assert push(STREAM, address) == digest_of(CONTENT)
    assert bytes(registry.received) == CONTENT[4096:]
    assert registry.sent("PATCH")[1].headers["content-range"] == f"4096-{len(CONTENT) - 1}"
    assert registry.sent("PATCH")[1].headers["content-length"] == str(len(CONTENT) - 4096)


def test_a_known_blob_goes_on_too() -> None:
    registry = Uploading(PUT=[Answer(503)], GET=[Answer(204, headers={"Range": "bytes=0-99"})])
    with serving(registry) as address:
        assert push(KNOWN, address) == KNOWN.digest
    assert bytes(registry.received) == CONTENT[100:]
    assert registry.sent("PUT")[1].path.endswith(f"digest={KNOWN.digest}")


@pytest.mark.parametrize("kept", [99, len(CONTENT) - 1])
def test_a_known_blob_that_goes_on_is_held_to_its_digest(kept: int) -> None:
    # The registry would take the bytes by their own digest, and a manifest name a blob that is nowhere.
    flipped = replace(KNOWN, chunks=lambda: iter((CONTENT[:-1], bytes([CONTENT[-1] ^ 1]))))
    registry = Uploading(PUT=[Answer(503)], GET=[Answer(204, headers={"Range": f"0-{kept}"})])
    with serving(registry) as address, pytest.raises(DigestMismatchError, match="a blob: what was read has another"):
        push(flipped, address)
    assert len(registry.sent("PUT")) == 1
    assert [request.path for request in registry.sent("DELETE")] == [urlsplit(registry.location).geturl()]


@pytest.mark.parametrize(
    "told",
    [
        Answer(404),
        Answer(405),
        Answer(204),
        Answer(204, headers={"Range": "0-0"}),  # of one byte, or of none
        Answer(204, headers={"Range": "5-9"}),
        Answer(204, headers={"Range": "0-99999999999999999999999"}),
        Answer(204, headers={"Range": f"0-{len(CONTENT)}"}),
        Answer(200, b"<html>", {"Content-Type": "text/html"}),
    ],
)
def test_an_upload_that_the_registry_cannot_tell_of_begins_anew(told: Answer) -> None:
    registry = Uploading(PATCH=[Answer(503)], GET=[told])
    with serving(registry) as address:
        assert push(STREAM, address) == digest_of(CONTENT)
    assert bytes(registry.received) == CONTENT
    assert len(registry.sent("POST")) == 2
    assert len(registry.sent("DELETE")) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 416])
def test_a_registry_that_does_not_go_on_after_all_gets_the_whole(status: int) -> None:
    registry = Uploading(PATCH=[Answer(503), Answer(status)], GET=[Answer(204, headers={"Range": "0-4095"})])
    with serving(registry) as address:
        assert push(STREAM, address) == digest_of(CONTENT)
    assert bytes(registry.received) == CONTENT
    assert [request.method for request in registry.asked] == ["POST", "PATCH", "GET", "PATCH", "POST", "PATCH", "PUT"]


INVALID = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}'


def test_a_stream_that_arrived_damaged_is_read_and_sent_afresh_once() -> None:
    registry = Uploading(PUT=[Answer(400, INVALID)])
    with serving(registry) as address:
        assert push(STREAM, address) == digest_of(CONTENT)
    assert bytes(registry.received) == CONTENT * 2
    twice = Uploading(PUT=[Answer(400, INVALID), Answer(400, INVALID)])
    with serving(twice) as address, pytest.raises(DigestMismatchError, match="twice: something on the way changes"):
        push(STREAM, address)
    assert len(twice.sent("PATCH")) == 2


def test_a_digest_that_was_known_wrong_is_told_at_once() -> None:
    registry = Uploading(PUT=[Answer(400, INVALID)])
    with serving(registry) as address, pytest.raises(DigestMismatchError):
        push(KNOWN, address)
    assert len(registry.sent("PUT")) == 1


def test_an_upload_that_keeps_getting_lost_has_an_end() -> None:
    lost = Answer(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown"}]}')
    registry = Uploading(PATCH=[lost] * 9)
    with serving(registry) as address, pytest.raises(GaveUpError, match=r"lost the upload.*gave up after 4 attempts"):
        push(STREAM, address)


@pytest.mark.parametrize("helps", [False, True])
def test_a_refused_size_is_told_of_any_blob_and_smaller_layers_where_they_help(
    helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if helps:
        monkeypatch.setattr(uploads, "LEAST_GB", 0.000_01)
    registry = Uploading(PUT=[Answer(413, b"<html>", {"Content-Type": "text/html"})])
    with serving(registry) as address, pytest.raises(ImageError, match=r"a blob is a layer of 10\.2 kB") as caught:
        push(KNOWN, address)
    assert ("--shard-gb" in str(caught.value)) is helps


def redirecting(to: Callable[[], str], status: int = 307) -> Callable[[Request], Answer]:
    return lambda request: Answer(status, headers={"Location": to() + request.path})


def test_a_registry_that_has_moved_for_good_is_told_with_its_new_name() -> None:
    with (
        serving(lambda request: Answer(301, headers={"Location": f"https://new.example{request.path}"})) as address,
        pytest.raises(RegistryError, match=r"301 .*leads to 'https://new.example/v2/.*name the host"),
        Registry(RegistryReference(address.removeprefix("http://"), "models"), patience=Patience(QUICK)) as registry,
    ):
        registry.write_blob(STREAM)


def test_a_redirect_that_ends_tls_is_not_followed() -> None:
    with (
        serving(redirecting(lambda: "http://other.example")) as address,
        pytest.raises(RegistryError, match=r"refused to speak plain http to other\.example"),
    ):
        push(STREAM, address)
