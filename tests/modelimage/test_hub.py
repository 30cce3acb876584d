"""The hub as a source, against a hub on loopback that answers as the real one does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import huggingface_hub
import pytest

from modelimage import ImageError, copy, hub, hub_client, inspect, pack, write_context
from modelimage.hub_refusals import hub_errors
from modelimage.patience import GaveUpError, Patience, RetryPolicy, TransientError
from modelimage.source import Selection
from oci_model_serving.errors import InputError
from tests.hub import COMMIT, Account, FakeHub
from tests.modelimage.servers import Answer
from tests.weights import safetensors_bytes

QUICK = RetryPolicy(attempts=4, first_seconds=0.01)
SOURCE = f"hf://org/name@{COMMIT}"
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    shards = {f"model-0000{n}-of-00002.safetensors": safetensors_bytes(bytes([n]) * 3_000_000) for n in (1, 2)}
    index = {"weight_map": {str(number): name for number, name in enumerate(shards)}}
    files = {
        **shards,
        "config.json": b'{"model_type": "qwen2"}',
        "model.safetensors.index.json": json.dumps(index).encode(),
        "sub folder/notes.txt": b"notes",
        ".gitattributes": b"*.safetensors filter=lfs",
    }
    with FakeHub() as fake:
        fake.add("org/name", files)
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


def as_folder(fake: FakeHub, folder: Path) -> Path:
    for name, content in fake.models["org/name"].files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_commit_is_packed_with_the_layers_of_the_same_folder(fake: FakeHub, tmp_path: Path) -> None:
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    local = pack(str(as_folder(fake, tmp_path / "folder")), f"oci:{tmp_path / 'local'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]
    assert inspect(image.reference).annotations["org.opencontainers.image.revision"] == COMMIT


def test_only_what_the_public_hub_itself_listed_is_called_its_own(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored = inspect(pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK).reference)
    assert "org.opencontainers.image.source" not in mirrored.annotations
    listed = hub_client.files("org/name", COMMIT)
    monkeypatch.setattr(
        hub_client, "files", lambda *_: [entry for entry in listed if entry.path == "sub folder/notes.txt"]
    )
    for endpoint in (None, "https://huggingface.co", "https://huggingface.co/"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint) if endpoint else monkeypatch.delenv("HF_ENDPOINT")
        said = hub.open_source(SOURCE, Selection(), Patience(QUICK)).annotations
        assert said == {
            "org.opencontainers.image.source": "https://huggingface.co/org/name",
            "org.opencontainers.image.revision": COMMIT,
        }


def test_a_second_packing_reads_no_weights_from_the_hub(fake: FakeHub, tmp_path: Path) -> None:
    pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    fake.forget()
    again = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not any(layer.uploaded for layer in again.layers)
    assert fake.reads(".safetensors") == []


def test_nothing_lands_on_a_disk_but_the_image(fake: FakeHub, tmp_path: Path) -> None:
    pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "hub-cache").exists()


def test_a_branch_a_tag_and_no_revision_are_refused_with_the_commit_to_use(fake: FakeHub, tmp_path: Path) -> None:
    for source in ("hf://org/name@main", "hf://org/name"):
        with pytest.raises(InputError, match=f"it is at hf://org/name@{COMMIT} now"):
            pack(source, f"oci:{tmp_path / 'image'}")
    with pytest.raises(InputError, match=r"`oms image resolve hf://org/name@unknown` prints it"):
        pack("hf://org/name@unknown", f"oci:{tmp_path / 'image'}")
    with pytest.raises(InputError, match=r"write hf://org/name@<40-hex commit>"):
        pack("hf://name", f"oci:{tmp_path / 'image'}")


def test_patterns_choose_what_is_streamed(fake: FakeHub, tmp_path: Path) -> None:
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", ignore=["*.safetensors", "*.index.json"], policy=QUICK)
    assert len(image.layers) == 2  # the last one holds the chunk lists
    assert fake.reads(".safetensors") == []


def test_a_broken_connection_is_taken_up_where_it_broke(fake: FakeHub, tmp_path: Path) -> None:
    fake.cut = 1_500_000
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", jobs=1, policy=QUICK)
    assert {r.headers["range"] for r in fake.elsewhere if "range" in r.headers} == {"bytes=1048576-"}  # a whole chunk
    local = pack(str(as_folder(fake, tmp_path / "folder")), f"oci:{tmp_path / 'local'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]


def test_a_busy_hub_is_asked_again_and_one_that_stays_busy_is_told(fake: FakeHub, tmp_path: Path) -> None:
    fake.next = [Answer(503), Answer(429, headers={"RateLimit": '"api";r=0;t=0'}), Answer(500)]
    fake.next_elsewhere = [Answer(503), Answer(403, b"<Error><Code>AccessDenied</Code></Error>")]
    pack(SOURCE, f"oci:{tmp_path / 'image'}", jobs=1, policy=QUICK)
    fake.next = [Answer(503)] * 100
    with pytest.raises(ImageError, match=r"the hub failed: 503.*gave up after 4 attempts"):
        pack(SOURCE, f"oci:{tmp_path / 'other'}", jobs=1, policy=QUICK, cache=tmp_path / "fresh")
    assert len(fake.next) == 96  # each attempt is one request: the library below repeats none
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "86400"}, 86400),
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_busy_hub_asks_for_is_kept_within_bounds(
    fake: FakeHub, headers: dict[str, str], seconds: float | None
) -> None:
    fake.next = [Answer(429, headers=headers)]
    with pytest.raises(TransientError) as caught, hub_errors("listing"):
        hub_client.files("org/name", COMMIT)
    assert caught.value.retry_after == seconds
    policy = RetryPolicy()
    assert policy.wait_seconds(1, caught.value) <= policy.retry_after_limit_seconds


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "config.json"])
def test_content_that_is_not_what_the_hub_lists_is_refused(fake: FakeHub, tmp_path: Path, name: str) -> None:
    content = bytearray(fake.models["org/name"].files[name])
    content[-2] ^= 1
    fake.lie[name] = bytes(content)
    with pytest.raises(ImageError, match=r"what came is not what the hub lists"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_a_shard_that_is_broken_on_the_hub_is_refused(fake: FakeHub, tmp_path: Path) -> None:
    fake.models["org/name"].files["model-00001-of-00002.safetensors"] = b"version https://git-lfs.github.com/spec/v1\n"
    with pytest.raises(InputError, match=r"not a whole safetensors file"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_missing_shard_is_refused_before_anything_is_streamed(fake: FakeHub, tmp_path: Path) -> None:
    del fake.models["org/name"].files["model-00002-of-00002.safetensors"]
    with pytest.raises(InputError, match=r"it is not there"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert fake.reads(".safetensors") == []


def test_a_private_model_needs_the_token_which_stays_out_of_the_message(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.models["org/name"].private = True
    fake.accounts = {"hf_stranger": Account(), "hf_secret": Account(granted={"org/name"})}
    for token, said in (
        ("", "private: check the name, or set HF_TOKEN to your token"),
        ("hf_wrong", "does not know this token .Invalid credentials in Authorization header.: set HF_TOKEN"),
        ("hf_stranger", "private: check the name, or set HF_TOKEN to the token of an account that sees it"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(ImageError, match=said) as caught:
            pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
        assert "hf_" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fake.forget()
    pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert fake.requests
    assert fake.elsewhere
    assert all(request.headers.get("authorization") == "Bearer hf_secret" for request in fake.requests)


GATED = [
    (
        "",
        Account(),
        "the model is gated: accept its terms at https://huggingface.co/org/name, .* HF_TOKEN, .* hubToken",
    ),
    (
        "hf_x",
        Account(),
        "token's account may not read it .*not in the authorized list.*terms at https://huggingface.co/org",
    ),
    ("hf_x", Account(pending={"org/name"}), "awaiting a review.*wait until they are granted"),
    ("hf_x", Account(granted={"org/name"}, reads_gated=False), "enable access to public gated.*give it the permission"),
]


@pytest.mark.parametrize(("token", "account", "said"), GATED)
def test_what_a_gated_model_waits_for_is_told(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, account: Account, said: str
) -> None:
    fake.models["org/name"].gated = True
    fake.accounts = {"hf_x": account}
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ImageError, match=said) as caught:
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "SIGNED" not in str(caught.value)
    assert not (tmp_path / "image").exists()


def test_a_token_stays_with_the_hub_when_files_are_elsewhere(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.models["org/name"].gated = True
    fake.accounts = {"hf_secret": Account(granted={"org/name"})}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for xet in (True, False):
        fake.models["org/name"].xet = xet
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / f"cache-{xet}")
    write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    assert {request.path.split("/")[1] for request in fake.elsewhere} == {"xet-bridge-us", "repos"}
    assert not any("authorization" in request.headers for request in fake.elsewhere)


def test_a_listing_that_goes_on_elsewhere_takes_no_token_there(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.page_size, fake.link_host = 2, fake.cdn
    fake.accounts = {"hf_secret": Account()}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(ImageError, match=r"goes on at localhost, which is not its own host"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not fake.elsewhere
    # The library's own listing follows the link, and finds that the token has stayed behind.
    api = huggingface_hub.HfApi(endpoint=fake.address)
    with suppress(OSError, ValueError, KeyError):  # what comes from there is no listing
        list(api.list_repo_tree("org/name", revision=COMMIT, recursive=True))
    assert fake.elsewhere
    assert not any("authorization" in request.headers for request in fake.elsewhere)


@pytest.mark.parametrize("endpoint", ["http://mirror.invalid", "http://mirror.invalid:8080/hf"])
def test_a_token_is_not_sent_without_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(InputError, match=r"a token is not sent without TLS: write its https:// address") as caught:
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "hf_secret" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(ImageError, match=r"mirror.invalid cannot be resolved"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_hub_that_leads_to_plain_http_is_not_followed(fake: FakeHub, tmp_path: Path) -> None:
    fake.next = [Answer(302, headers={"Location": "http://elsewhere.invalid/api/models/org/name"})]
    with pytest.raises(ImageError, match=r"refused to follow the hub to elsewhere.invalid over plain http"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_long_listing_is_read_page_by_page(fake: FakeHub, tmp_path: Path) -> None:
    whole = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    fake.page_size = 2
    fake.forget()
    assert pack(SOURCE, f"oci:{tmp_path / 'paged'}", policy=QUICK).digest == whole.digest
    assert sum("/tree/" in request.path for request in fake.requests) == 4


def test_a_listing_without_an_end_is_given_up(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    endless = Answer(200, b"[]", {"Link": f'<{fake.address}/api/models/org/name/tree/x?cursor=1>; rel="next"'})
    fake.next = [endless] * 1000
    with pytest.raises(ImageError, match=r"has no end"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)


NO_LISTINGS = [
    Answer(200, b"<html>", {"Content-Type": "text/html"}),
    Answer(200, b'{"error": "no"}'),
    Answer(200, b'[{"type": "file", "path": "a"}]'),
    Answer(200, b'[{"type": "file", "path": "a", "size": -1, "oid": "x"}]'),
    Answer(200, b'["a"]'),
    Answer(302, headers={"Location": "/api/models/org/name/tree/x"}),
    Answer(418, b"teapot"),
]


@pytest.mark.parametrize("answer", NO_LISTINGS)
def test_what_is_no_listing_is_one_error(fake: FakeHub, tmp_path: Path, answer: Answer) -> None:
    fake.next = [answer] * 50
    with pytest.raises(ImageError, match=r"check .*HF_ENDPOINT") as caught:
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "\n" not in str(caught.value)


def test_a_refusal_is_read_no_further_than_it_is_worth(fake: FakeHub, tmp_path: Path) -> None:
    fake.next = [Answer(404, b'{"error": "' + b"x" * 5_000_000, {"Content-Type": "application/json"})]
    with pytest.raises(ImageError, match=r"the hub refused: 404") as caught:
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert len(str(caught.value)) < 1000


def test_a_renamed_model_is_found_under_its_old_name(fake: FakeHub, tmp_path: Path) -> None:
    fake.renamed["old/name"] = "org/name"
    fake.accounts = {"hf_secret": Account()}
    image = pack(f"hf://old/name@{COMMIT}", f"oci:{tmp_path / 'old'}", policy=QUICK)
    assert image.layers == pack(SOURCE, f"oci:{tmp_path / 'new'}", policy=QUICK, cache=tmp_path / "fresh").layers


def test_a_name_that_does_not_resolve_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for ask in (
        lambda: pack(SOURCE, f"oci:{tmp_path / 'image'}"),
        lambda: write_context(SOURCE, str(tmp_path / "context")),
    ):
        with pytest.raises(ImageError, match=r"hub.invalid cannot be resolved .*: check the name") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_name_server_that_is_silent_is_given_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def resolve(*arguments: object, **_: object) -> None:
        asked.append(arguments[0])
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("HF_ENDPOINT", "https://silent.example")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(GaveUpError, match=r"silent.example cannot be resolved .*gave up after 3 attempts"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=RetryPolicy(first_seconds=0.01))
    assert len(asked) == 3


def test_offline_is_said_and_a_fetched_model_is_used_all_the_same(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    with pytest.raises(ImageError, match=r"HF_HUB_OFFLINE is set"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)


@pytest.mark.parametrize("endpoint", ["hub.example", "ftp://hub.example", "https://", "https://u:secret@hub.example"])
def test_an_endpoint_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(InputError, match=r"HF_ENDPOINT") as caught:
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "secret" not in str(caught.value)


def test_an_unknown_model_is_told(fake: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no such model"):
        pack(f"hf://org/other@{COMMIT}", f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_build_context_links_the_weights_of_the_hubs_cache(fake: FakeHub, tmp_path: Path) -> None:
    context = write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    shard = tmp_path / "context" / "layer-01" / "models" / "model-00001-of-00002.safetensors"
    assert shard.read_bytes() == fake.models["org/name"].files[shard.name]
    assert shard.stat().st_nlink == 2
    assert context.fingerprint
    fake.forget()
    write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    assert fake.reads(".safetensors") == []


def test_an_image_made_from_the_hub_can_be_copied(fake: FakeHub, tmp_path: Path) -> None:
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert copy(image.reference, f"oci:{tmp_path / 'copy'}").digest == image.digest
