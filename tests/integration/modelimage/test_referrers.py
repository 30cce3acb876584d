"""Signatures and other referrers beside an image, in a registry that knows no Referrers API: nobody's tag is lost.

Such a registry (Debian's docker-registry is 2.8) has the list of an image's referrers under the tag `sha256-<hex>`
(distribution-spec v1.1, "Referrers Tag Schema"), which clients write anew at each change.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelimage import ImageError, copy, inspect, pack, tag
from modelimage.documents import INDEX_TYPE, MANIFEST_TYPE
from oci_model_serving.errors import InputError
from oci_model_serving.reference import digest_tag, packed_tag, referrers_tag
from tests.registry import RegistryServer

pytestmark = pytest.mark.integration

EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": f"sha256:{hashlib.sha256(b'{}').hexdigest()}",
    "size": 2,
}


def referrer_of(registry: RegistryServer, digest: str, said: str) -> bytes:
    """The manifest of an artifact that has the image as its subject."""
    subject = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(registry.manifest("models", digest).content)}
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": "application/vnd.example.note",
            "config": EMPTY,
            "layers": [EMPTY],
            "subject": subject,
            "annotations": {"said": said},
        }
    ).encode()


def put(registry: RegistryServer, path: str, content: bytes, media_type: str) -> None:
    answer = httpx.put(
        f"http://{registry.host}/v2/models/{path}", content=content, headers={"Content-Type": media_type}
    )
    assert answer.status_code == 201, answer.text


def by_hand(registry: RegistryServer, digest: str, folder: Path) -> None:
    """Attach as the specification tells clients to: the manifest by its digest, then the list under the tag."""
    where = httpx.post(f"http://{registry.host}/v2/models/blobs/uploads/").headers["location"]
    place = httpx.URL(where).copy_merge_params({"digest": str(EMPTY["digest"])})
    httpx.put(place, content=b"{}").raise_for_status()
    content = referrer_of(registry, digest, "by hand")
    name = f"sha256:{hashlib.sha256(content).hexdigest()}"
    put(registry, f"manifests/{name}", content, MANIFEST_TYPE)
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": name,
        "size": len(content),
        "artifactType": "application/vnd.example.note",
    }
    listed = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}).encode()
    put(registry, f"manifests/{referrers_tag(digest)}", listed, INDEX_TYPE)


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr


def by_oras(registry: RegistryServer, digest: str, folder: Path) -> None:
    if not shutil.which("oras"):
        pytest.skip("oras is not installed (Go: oras.land/oras/cmd/oras)")
    (folder / "note.txt").write_text("attached by oras")
    kind = ["--artifact-type", "application/vnd.example.note"]
    run("oras", "attach", "--plain-http", *kind, f"{registry.host}/models@{digest}", "note.txt", folder=folder)


def by_crane(registry: RegistryServer, digest: str, folder: Path) -> None:
    """go-containerregistry adds what it pushes to the list of its subject."""
    if not shutil.which("crane"):
        pytest.skip("crane is not installed (Go: github.com/google/go-containerregistry/cmd/crane)")
    layout = folder / "referrer"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    content = referrer_of(registry, digest, "by crane")
    for blob in (content, b"{}"):
        (blobs / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    run("crane", "push", "--insecure", layout, f"{registry.host}/models:note", folder=folder)


WAYS = [by_hand, by_oras, by_crane]


def listed(registry: RegistryServer, digest: str) -> bytes:
    """The list of the image's referrers, which is there."""
    address = f"http://{registry.host}/v2/models/manifests/{referrers_tag(digest)}"
    answer = httpx.get(address, headers={"Accept": INDEX_TYPE})
    assert answer.headers["content-type"] == INDEX_TYPE, answer.text
    return answer.content


@pytest.mark.parametrize("attach", WAYS)
def test_what_is_attached_to_an_image_leaves_it_and_its_tag_as_they_are(
    registry: RegistryServer, tmp_path: Path, model: Path, attach: Callable[[RegistryServer, str, Path], None]
) -> None:
    image = pack(str(model), f"{registry.host}/models:v1")
    before = registry.manifest("models", image.digest).content
    attach(registry, image.digest, tmp_path)
    referrers = listed(registry, image.digest)
    for name in (image.digest, digest_tag(image.digest), "v1"):
        assert registry.manifest("models", name).content == before
    assert inspect(image.reference, require_digest_tag=True, files=True).unread == ()
    assert copy(image.reference, f"oci:{tmp_path / 'pulled'}").digest == image.digest
    # What we write ourselves leaves the list as it is.
    tag(image.reference)
    pack(str(model), f"{registry.host}/models:v2")
    copy(image.reference, f"{registry.host}/models:v3")
    assert listed(registry, image.digest) == referrers


@pytest.mark.parametrize("attach", WAYS)
def test_an_image_with_the_tags_former_name_alone_is_read_and_gets_the_new_one(
    registry: RegistryServer, tmp_path: Path, model: Path, attach: Callable[[RegistryServer, str, Path], None]
) -> None:
    image = pack(str(model), f"{registry.host}/models")
    content = registry.manifest("models", image.digest).content
    tags = registry.storage / "docker/registry/v2/repositories/models/_manifests/tags"
    shutil.rmtree(tags / digest_tag(image.digest))
    shutil.rmtree(tags / packed_tag(image.digest))
    put(registry, f"manifests/{referrers_tag(image.digest)}", content, MANIFEST_TYPE)
    assert registry.tags("models") == [referrers_tag(image.digest)]
    assert inspect(f"{registry.host}/models:{referrers_tag(image.digest)}").digest == image.digest
    assert inspect(image.reference).digest_tag is False
    with pytest.raises(ImageError, match=r"tag digest-sha256-.* does not point to it: `oms image tag .*` writes it"):
        inspect(image.reference, require_digest_tag=True)
    # This is what took the former tag from the image.
    attach(registry, image.digest, tmp_path)
    referrers = listed(registry, image.digest)
    with pytest.raises(ImageError, match=rf"is a list of signatures and other referrers.*@{image.digest}"):
        inspect(f"{registry.host}/models:{referrers_tag(image.digest)}")
    assert tag(image.reference).digest_tag is True
    assert registry.manifest("models", digest_tag(image.digest)).content == content
    assert listed(registry, image.digest) == referrers


def test_no_image_goes_where_lists_of_referrers_are(registry: RegistryServer, model: Path) -> None:
    image = pack(str(model), f"{registry.host}/models")
    place = f"{registry.host}/models:{referrers_tag(image.digest)}"
    attempts: list[Callable[[], Any]] = [
        lambda: pack(str(model), place),
        lambda: pack(str(model), f"{place}.sig"),
        lambda: copy(image.reference, place),
    ]
    for attempt in attempts:
        with pytest.raises(InputError, match="tags that begin with sha256- are lists of signatures"):
            attempt()


# What is attached goes where the image goes


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RegistryServer]:
    """The registry that images are promoted to."""
    with RegistryServer(tmp_path / "other") as server:
        yield server


@pytest.mark.parametrize("attach", WAYS)
def test_what_is_attached_is_copied_with_the_image_and_listed_there(
    registry: RegistryServer,
    other: RegistryServer,
    tmp_path: Path,
    model: Path,
    attach: Callable[[RegistryServer, str, Path], None],
) -> None:
    image = pack(str(model), f"{registry.host}/models:v1")
    attach(registry, image.digest, tmp_path)
    copied = copy(image.reference, f"{other.host}/models:v1")
    assert copied.digest == image.digest
    assert copied.left_behind == ()
    before, after = (json.loads(listed(server, image.digest))["manifests"] for server in (registry, other))
    assert [entry["digest"] for entry in after] == [entry["digest"] for entry in before]
    assert [one.digest for one in copied.referrers] == [entry["digest"] for entry in before]
    for entry in after:
        assert other.manifest("models", entry["digest"]).content == registry.manifest("models", entry["digest"]).content
        assert (entry["artifactType"], "annotations" in entry) == ("application/vnd.example.note", True)
    assert inspect(f"{other.host}/models:v1", referrers=True).referrers == copied.referrers


def test_oras_finds_and_pulls_what_was_copied_through_a_layout(
    registry: RegistryServer, other: RegistryServer, tmp_path: Path, model: Path
) -> None:
    image = pack(str(model), f"{registry.host}/models:v1")
    by_oras(registry, image.digest, tmp_path)
    layout = copy(image.reference, f"oci:{tmp_path / 'layout'}")
    discover = ["oras", "discover", "--format", "json"]
    found = output(*discover, "--oci-layout", f"{tmp_path / 'layout'}@{image.digest}")
    assert [entry["digest"] for entry in entries(found)] == [one.digest for one in layout.referrers]
    copy(layout.reference, f"{other.host}/models")
    found = output(*discover, "--plain-http", f"{other.host}/models@{image.digest}")
    assert [entry["digest"] for entry in entries(found)] == [one.digest for one in layout.referrers]
    (tmp_path / "pulled").mkdir()
    name = f"{other.host}/models@{layout.referrers[0].digest}"
    run("oras", "pull", "--plain-http", name, folder=tmp_path / "pulled")
    assert (tmp_path / "pulled" / "note.txt").read_text() == "attached by oras"


def test_what_oras_copied_into_a_layout_is_taken_from_there(
    registry: RegistryServer, other: RegistryServer, tmp_path: Path, model: Path
) -> None:
    image = pack(str(model), f"{registry.host}/models:v1")
    by_oras(registry, image.digest, tmp_path)
    options = ["--recursive", "--from-plain-http", "--to-oci-layout"]
    run("oras", "copy", *options, f"{registry.host}/models:v1", f"{tmp_path / 'layout'}:v1", folder=tmp_path)
    copied = copy(f"oci:{tmp_path / 'layout'}@{image.digest}", f"{other.host}/models")
    assert len(copied.referrers) == 1
    assert (
        json.loads(listed(other, image.digest))["manifests"] == json.loads(listed(registry, image.digest))["manifests"]
    )


def output(*command: str) -> str:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def entries(discovered: str) -> list[dict[str, Any]]:
    """What `oras discover` prints, under either of the names that its versions give it."""
    document = json.loads(discovered)
    found: list[dict[str, Any]] = document.get("referrers") or document.get("manifests") or []
    return found
