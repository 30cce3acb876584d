"""Shares of an image in a real registry: whoever is last makes the image that one machine makes, and nothing twice."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelimage import ImageError, inspect, pack, reshard
from modelimage.patience import RetryPolicy
from modelimage.shares import RECORD_TYPE, PackedShare, pack_share
from oci_model_serving.errors import InputError
from oci_model_serving.reference import SHARE_TAG_PREFIX, digest_tag, packed_tag
from oms.main import main
from tests.hub import COMMIT, FakeHub
from tests.integration.modelimage.proxy import Fault, FaultProxy
from tests.registry import RegistryServer

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(attempts=4, first_seconds=0.01)
HUB = f"hf://org/name@{COMMIT}"


def shard(number: int) -> bytes:
    """A safetensors file of so many tensors of 90 kB, each of other bytes."""
    header = {
        f"w{number}.{k}": {"dtype": "U8", "shape": [90_000], "data_offsets": [90_000 * k, 90_000 * (k + 1)]}
        for k in range(number)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(bytes([16 * number + k]) * 90_000 for k in range(number))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    files = {f"model-{n:05d}-of-00005.safetensors": shard(n) for n in range(1, 6)}
    index = {"weight_map": {f"w{n}.{k}": name for n, name in enumerate(files, 1) for k in range(n)}}
    with FakeHub() as fake:
        fake.add(
            "org/name",
            {**files, "config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()},
        )
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


@pytest.fixture
def share(registry: RegistryServer, tmp_path: Path) -> Callable[..., PackedShare]:
    """Packs a share as a machine of its own does: with no memory."""
    machines = iter(range(1000))

    def run(text: str, source: str = HUB, **how: Any) -> PackedShare:
        cache = tmp_path / f"machine-{next(machines)}"
        return pack_share(source, f"{registry.host}/models/m", text, cache=cache, **{"policy": QUICK, **how})

    return run


def records(registry: RegistryServer) -> list[str]:
    return [tag for tag in registry.tags("models/m") if tag.startswith(SHARE_TAG_PREFIX)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_make_the_image_that_one_machine_makes(
    registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare], tmp_path: Path, count: int
) -> None:
    whole = pack(HUB, f"oci:{tmp_path / 'whole'}", policy=QUICK)

    done = [share(f"{number}/{count}") for number in range(1, count + 1)]

    assert [one.image is not None for one in done] == [False] * (count - 1) + [True]
    assert done[-1].image
    assert done[-1].image.digest == whole.digest
    assert done[-1].image.traits == whole.traits
    assert inspect(f"{registry.host}/models/m@{whole.digest}", require_digest_tag=True, files=True).files
    *layers, _ = whole.layers  # the last one holds the chunk lists of all
    assert sum(one.layers for one in done) == len(layers)
    assert sum(one.uploaded_bytes for one in done) == sum(layer.size_bytes for layer in layers)
    assert len(records(registry)) == count


def test_shares_are_packed_side_by_side_and_in_any_order(
    hub: FakeHub, share: Callable[..., PackedShare], tmp_path: Path
) -> None:
    whole = pack(HUB, f"oci:{tmp_path / 'whole'}", policy=QUICK)
    with ThreadPoolExecutor(4) as machines:
        done = list(machines.map(share, ["4/4", "2/4", "1/4", "3/4"]))
    images = {one.image.digest for one in done if one.image}
    assert images == {whole.digest}


def test_each_share_reads_its_own_weights_only(hub: FakeHub, share: Callable[..., PackedShare]) -> None:
    read: list[set[str]] = []
    for number in (1, 2, 3):
        hub.forget()
        share(f"{number}/3")
        # A header is a read of a few kB, which the plan needs.
        read.append({one.path.partition("?")[0] for one in hub.elsewhere if "range" not in one.headers})
    assert sum(map(len, read)) == len(set.union(*read)) == 5


def test_the_parts_of_a_file_that_is_cut_have_the_same_digests_and_their_checksum(
    registry: RegistryServer,
    hub: FakeHub,
    share: Callable[..., PackedShare],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(reshard, "GB", 100_000)
    whole = pack(HUB, f"oci:{tmp_path / 'whole'}", policy=QUICK, shard_gb=1)
    assert len(whole.layers) > 8

    done = [share(f"{number}/3", shard_gb=1) for number in (1, 2, 3)]

    assert done[-1].image
    assert done[-1].image.digest == whole.digest


def test_a_file_that_is_not_what_the_hub_lists_leaves_no_record_of_its_share(
    registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare]
) -> None:
    name = "model-00005-of-00005.safetensors"
    hub.lie[name] = shard(5)[:-1] + b"\x00"
    with pytest.raises(ImageError, match=name):
        share("1/2")  # which has the largest file
    assert records(registry) == []

    hub.lie.clear()
    share("1/2")
    assert share("2/2").image


def test_upon_a_base(registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare], tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "config.json").write_text('{"below": 1}')
    base = pack(str(tmp_path / "below"), f"{registry.host}/base").reference
    whole = pack(HUB, f"oci:{tmp_path / 'whole'}", policy=QUICK, base=base)

    share("1/2", base=base)
    done = share("2/2", base=base)

    assert done.image
    assert done.image.digest == whole.digest


def test_a_share_that_failed_is_repeated_alone(
    registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare], tmp_path: Path
) -> None:
    whole = pack(HUB, f"oci:{tmp_path / 'whole'}", policy=QUICK)
    with FaultProxy(registry.host) as proxy:
        proxy.faults.append(Fault("PATCH", "/blobs/uploads/", times=100, reset_after=10_000))
        with pytest.raises(ImageError):
            pack_share(HUB, f"{proxy.host}/models/m", "2/3", cache=tmp_path / "broken", policy=QUICK)
    first, third = share("1/3"), share("3/3")
    assert (first.waiting_for, third.waiting_for) == ((2, 3), (2,))
    assert registry.tags("models/m") == records(registry)

    again = share("2/3")

    assert again.image
    assert again.image.digest == whole.digest
    layers = sum(layer.size_bytes for layer in whole.layers[:-1])  # without the chunk lists
    assert again.uploaded_bytes == again.size_bytes == layers - first.size_bytes - third.size_bytes


def test_a_share_that_is_there_is_neither_read_nor_sent_again_and_the_image_is_made_again(
    registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare]
) -> None:
    done = [share(f"{number}/2") for number in (1, 2)]
    before = registry.tags("models/m")
    hub.forget()

    again = [share(f"{number}/2") for number in (1, 2)]

    assert [one.record for one in again] == [one.record for one in done]
    assert [one.uploaded_bytes for one in again] == [0, 0]
    assert [one.image.digest for one in again if one.image] == [done[1].image.digest] * 2  # type: ignore[union-attr]
    assert hub.elsewhere == [] or all("range" in one.headers for one in hub.elsewhere)
    assert registry.tags("models/m") == before


def test_records_of_another_commit_or_another_number_of_shares_are_none(
    hub: FakeHub, share: Callable[..., PackedShare]
) -> None:
    share("1/2")
    hub.models["org/name"].files["config.json"] = b'{"changed": 1}'
    assert share("2/2").waiting_for == (1,)
    assert share("2/3").waiting_for == (1, 3)
    assert share("1/2").image


def write_record(registry: RegistryServer, tag: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Replace a record by a changed one, as nobody who may not push can."""
    document = registry.manifest("models/m", tag).json()
    change(document)
    answer = httpx.put(
        f"http://{registry.host}/v2/models/m/manifests/{tag}",
        content=json.dumps(document),
        headers={"Content-Type": document["mediaType"]},
        trust_env=False,
    )
    assert answer.is_success, answer.text


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["annotations"].update({"oci-model-serving.plan": "another"}),
        lambda record: record.update(artifactType="application/vnd.other"),
        lambda record: record["layers"].reverse(),
        lambda record: record["layers"].pop(),
        lambda record: [layer.pop("annotations") for layer in record["layers"]],
    ],
    ids=["plan", "type", "order", "fewer", "keys"],
)
def test_what_is_no_record_of_the_share_is_refused(
    registry: RegistryServer,
    hub: FakeHub,
    share: Callable[..., PackedShare],
    change: Callable[[dict[str, Any]], object],
) -> None:
    share("2/2")
    write_record(registry, records(registry)[0], change)

    with pytest.raises(ImageError, match=f"{SHARE_TAG_PREFIX}.*: is no record of this share.*: delete the tag"):
        share("1/2")

    assert not any(tag.startswith("digest-") for tag in registry.tags("models/m"))


def test_a_record_whose_layers_are_gone_is_packed_again(
    registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare]
) -> None:
    share("1/2")
    layer = registry.manifest("models/m", records(registry)[0]).json()["layers"][0]["digest"]
    httpx.delete(f"http://{registry.host}/v2/models/m/blobs/{layer}", trust_env=False).raise_for_status()

    assert share("2/2").waiting_for == (1,)
    done = share("1/2")

    assert done.uploaded_bytes > 0
    assert done.image


def test_copies_of_a_folder_make_one_image(
    registry: RegistryServer, share: Callable[..., PackedShare], tmp_path: Path, model: Path
) -> None:
    whole = pack(str(model), f"oci:{tmp_path / 'whole'}")
    for number in (1, 2, 3):
        shutil.copytree(model, tmp_path / f"copy-{number}", copy_function=shutil.copy)  # with times of its own
    done = [share(f"{number}/3", str(tmp_path / f"copy-{number}")) for number in (1, 2, 3)]
    assert [one.waiting_for for one in done] == [(2, 3), (3,), ()]
    assert done[-1].image
    assert done[-1].image.digest == whole.digest


def test_a_fresh_share_is_read_anew_and_those_of_others_count(
    registry: RegistryServer, hub: FakeHub, share: Callable[..., PackedShare]
) -> None:
    done = [share(f"{number}/2") for number in (1, 2)]
    hub.forget()
    again = share("1/2", fresh=True)
    assert any("range" not in one.headers for one in hub.elsewhere)
    assert again.record == done[0].record
    assert again.image


def test_an_image_as_a_source_is_refused(share: Callable[..., PackedShare]) -> None:
    with pytest.raises(InputError, match="each machine would read the whole image: pack it without --share"):
        share("1/2", f"oci://registry.example/m@sha256:{'a' * 64}")


def test_more_shares_than_layers_are_empty_ones(
    registry: RegistryServer, share: Callable[..., PackedShare], tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text("{}")
    done = [share(f"{number}/3", str(tmp_path / "small")) for number in (1, 2, 3)]
    assert [one.layers for one in done] == [1, 0, 0]
    assert done[-1].image
    documents = [registry.manifest("models/m", tag).json() for tag in records(registry)]
    assert {document["artifactType"] for document in documents} == {RECORD_TYPE}


def test_the_image_has_its_tags_and_the_one_asked_for(registry: RegistryServer, hub: FakeHub, tmp_path: Path) -> None:
    for number in (1, 2):
        done = pack_share(
            HUB, f"{registry.host}/models/m:v1", f"{number}/2", cache=tmp_path / str(number), policy=QUICK
        )
    assert done.image
    images = [tag for tag in registry.tags("models/m") if not tag.startswith(SHARE_TAG_PREFIX)]
    assert images == sorted(["v1", digest_tag(done.image.digest), packed_tag(done.image.digest)])


def test_a_source_that_is_none_is_refused_as_when_it_is_packed_whole(
    registry: RegistryServer, share: Callable[..., PackedShare], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no such folder"):
        share("1/2", str(tmp_path / "nothing"))


def test_the_command_says_what_is_missing_and_then_the_digest(
    registry: RegistryServer, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(number: int, *more: str) -> str:
        words = ["image", "pack", HUB, f"{registry.host}/models/m", "--cache", str(tmp_path / str(number))]
        assert main([*words, "--share", f"{number}/2", *more]) == 0
        return capsys.readouterr().out

    missing = json.loads(run(1, "--json"))
    assert missing["waiting_for"] == [2]
    assert not {"digest", "reference", "size_bytes"} & missing.keys()
    shown = run(2)
    digest = pack(HUB, f"oci:{tmp_path / 'whole'}").digest
    assert f"digest: {digest}" in shown
    assert "share: 2/2" in shown
