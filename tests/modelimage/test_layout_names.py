"""What the index of an image layout calls our image, and whose entries it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelimage import NotFoundError, copy, inspect, pack
from tests.modelimage.test_platforms import ARM, INTEL, index_of

NAME = "org.opencontainers.image.ref.name"
FULL = "io.containerd.image.name"


def listed(layout: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return entries


def write(layout: Path, *entries: dict[str, Any]) -> None:
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def names(layout: Path) -> list[str | None]:
    return [(entry.get("annotations") or {}).get(NAME) for entry in listed(layout)]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("qwen", "qwen"),
        ("Qwen2.5-0.5B_Instruct", "qwen2-5-0-5b-instruct"),
        ("--a--", "a"),
        ("with space", "with-space"),
        ("äöü", "image"),
        ("..x", "x"),
    ],
)
def test_an_image_is_called_latest_and_in_other_stores_after_its_folder(
    tmp_path: Path, model: Path, folder: str, name: str
) -> None:
    pack(str(model), f"oci:{tmp_path / folder}")
    (entry,) = listed(tmp_path / folder)
    assert entry["annotations"][NAME] == "latest"
    assert entry["annotations"][FULL] == f"localhost/{name}:latest"
    (for_docker,) = json.loads((tmp_path / folder / "manifest.json").read_text())
    assert for_docker["RepoTags"] == [f"localhost/{name}:latest"]


def test_a_folder_without_a_name_of_its_own_is_called_as_where_it_is(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pack(str(model), "oci:.")
    assert listed(Path())[0]["annotations"][FULL] == "localhost/here:latest"


def test_the_name_changes_no_digest(tmp_path: Path, model: Path) -> None:
    one, two = (pack(str(model), f"oci:{tmp_path / name}") for name in ("one", "two"))
    assert one.digest == two.digest


def test_what_docker_loads_is_what_the_manifest_names(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    (described,) = json.loads((tmp_path / "image" / "manifest.json").read_text())
    assert [path.rpartition("/")[2] for path in described["Layers"]] == [layer.digest[7:] for layer in image.layers]
    assert all((tmp_path / "image" / path).is_file() for path in (described["Config"], *described["Layers"]))


def test_an_entry_of_ours_is_replaced_whether_it_has_a_name_or_is_an_earlier_versions(
    tmp_path: Path, model: Path
) -> None:
    layout = tmp_path / "image"
    for named in (True, False):
        former = pack(str(model), f"oci:{layout}")
        if not named:
            write(layout, {key: value for key, value in listed(layout)[0].items() if key != "annotations"})
        (model / "config.json").write_text(json.dumps({"named": named}))
        image = pack(str(model), f"oci:{layout}")
        assert image.digest != former.digest
        assert [entry["digest"] for entry in listed(layout)] == [image.digest]
        assert names(layout) == ["latest"]
        assert not (layout / "blobs" / "sha256" / former.digest[7:]).exists()


def test_the_same_image_is_listed_once_with_its_name(tmp_path: Path, model: Path) -> None:
    layout = tmp_path / "image"
    pack(str(model), f"oci:{layout}")
    write(layout, {key: value for key, value in listed(layout)[0].items() if key != "annotations"})
    pack(str(model), f"oci:{layout}")
    assert names(layout) == ["latest"]


def test_our_entry_under_a_name_that_another_tool_gave_it_is_that_tools(tmp_path: Path, model: Path) -> None:
    layout = tmp_path / "image"
    former = pack(str(model), f"oci:{layout}")
    # `umoci tag` copies an entry with all that is noted in it.
    (entry,) = listed(layout)
    write(layout, entry, {**entry, "annotations": {**entry["annotations"], NAME: "mine"}})
    assert inspect(f"oci:{layout}").digest == former.digest
    pack(str(model), f"oci:{layout}")
    assert names(layout) == ["latest", "mine"]
    (model / "config.json").write_text("{}")
    image = pack(str(model), f"oci:{layout}")
    assert {entry["digest"]: name for entry, name in zip(listed(layout), names(layout), strict=True)} == {
        image.digest: "latest",
        former.digest: "mine",
    }
    assert inspect(former.reference).digest == former.digest
    with pytest.raises(NotFoundError, match="holds 2 images"):
        inspect(f"oci:{layout}")


def test_a_name_that_another_tool_has_taken_is_left_to_it(tmp_path: Path, model: Path) -> None:
    layout = tmp_path / "image"
    other = pack(str(model), f"oci:{layout}")
    entry = listed(layout)[0]
    write(layout, {**entry, "annotations": {NAME: "latest"}})
    (model / "config.json").write_text("{}")
    image = pack(str(model), f"oci:{layout}")
    found = {entry["digest"]: name for entry, name in zip(listed(layout), names(layout), strict=True)}
    assert found == {image.digest: None, other.digest: "latest"}


def test_an_image_of_several_platforms_has_a_name_and_no_form_for_docker(tmp_path: Path, model: Path) -> None:
    layout = tmp_path / "image"
    pack(str(model), f"oci:{layout}")
    copied = copy(index_of(tmp_path / "several", INTEL, ARM), f"oci:{layout}")
    (entry,) = listed(layout)
    assert (entry["digest"], names(layout)) == (copied.digest, ["latest"])
    assert "platform" not in entry
    assert not (layout / "manifest.json").exists()


def test_an_artifact_beside_an_image_has_a_name_of_its_own(tmp_path: Path, model: Path) -> None:
    layout = tmp_path / "image"
    image = pack(str(model), f"oci:{layout}", modelpack=True)
    assert [entry["digest"] for entry in listed(layout)] == [image.digest, image.modelpack.partition("@")[2]]
    assert names(layout) == ["latest", "modelpack"]
    assert listed(layout)[1]["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
