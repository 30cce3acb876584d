"""Images for Arm machines: the same weights upon another base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, copy, inspect, pack, repack, tag, write_base
from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import InputError
from tests.modelimage.handmade import TAR, Made, make, model_in, shell, tar

ARM, INTEL = "linux/arm64", "linux/amd64"


def made_for(place: Path, platform: str, *entries: Any) -> Made:
    made = make(place, [(TAR, tar(*entries))])
    system, architecture = platform.split("/")
    said = {
        "os": system,
        "architecture": architecture,
        "config": {"Env": [f"FOR={architecture}"]},
        "rootfs": {"type": "layers", "diff_ids": [made.manifest["layers"][0]["digest"]]},
    }
    made.manifest["config"] = {**made.manifest["config"], **made.put(json.dumps(said).encode())}
    entry = {"mediaType": made.manifest["mediaType"], **made.put(json.dumps(made.manifest).encode())}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return made


def index_of(place: Path, *platforms: str) -> str:
    """A base for several platforms, each with a layer of its own."""
    entries = []
    for platform in platforms:
        made = made_for(place, platform, *shell(), *model_in("", **{"for.txt": platform.encode()}))
        system, architecture = platform.split("/")
        content = json.dumps(made.manifest).encode()
        entries.append(
            {
                "mediaType": made.manifest["mediaType"],
                **made.put(content),
                "platform": {"os": system, "architecture": architecture},
            }
        )
    top = {"mediaType": "application/vnd.oci.image.index.v1+json", "schemaVersion": 2, "manifests": entries}
    described = Made(place).put(json.dumps(top).encode())
    listed = {"mediaType": top["mediaType"], **described}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    return f"oci:{place}@{described['digest']}"


def test_the_weights_are_the_same_blobs_and_the_base_is_the_platforms_own(tmp_path: Path, model: Path) -> None:
    base = index_of(tmp_path / "base", INTEL, ARM)
    intel = pack(str(model), f"oci:{tmp_path / 'intel'}", base=base)
    arm = pack(str(model), f"oci:{tmp_path / 'arm'}", base=base, platform=ARM)
    assert [layer.digest for layer in intel.layers[1:]] == [layer.digest for layer in arm.layers[1:]]
    assert intel.layers[0].digest != arm.layers[0].digest
    found = inspect(arm.reference, purpose=Delivery.MODELCAR, platform=ARM)
    assert (found.platform, found.config["Env"]) == (ARM, ["FOR=arm64"])
    assert inspect(intel.reference).platform == INTEL
    assert found.annotations["org.opencontainers.image.base.digest"] == base.partition("@")[2]


def test_an_image_without_a_base_differs_in_its_configuration_alone(tmp_path: Path, model: Path) -> None:
    intel = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert pack(str(model), f"oci:{tmp_path / 'again'}", platform=INTEL).digest == intel.digest
    arm = pack(str(model), f"oci:{tmp_path / 'image'}", platform=ARM)
    assert arm.digest != intel.digest
    assert not any(layer.uploaded for layer in arm.layers)
    index = json.loads((tmp_path / "image" / "index.json").read_text())
    assert [entry["platform"] for entry in index["manifests"]] == [{"os": "linux", "architecture": "arm64"}]


def test_a_base_for_other_machines_is_refused_with_what_to_say(tmp_path: Path, model: Path) -> None:
    one = made_for(tmp_path / "one", ARM, *shell())
    with pytest.raises(ImageError, match=r"is for linux/arm64, and linux/amd64 is needed: .*say --platform"):
        pack(str(model), f"oci:{tmp_path / 'image'}", base=one.reference)
    listed = index_of(tmp_path / "listed", INTEL)
    with pytest.raises(ImageError, match=r"has no image for linux/arm64: give one that has"):
        pack(str(model), f"oci:{tmp_path / 'image'}", base=listed, platform=ARM)
    assert not (tmp_path / "image").exists()
    assert pack(str(model), f"oci:{tmp_path / 'image'}", base=one.reference, platform=ARM)


def test_a_platform_that_there_is_not_is_refused_with_all_else(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack(str(tmp_path / "nothing"), f"oci:{tmp_path / 'image'}", platform="linux/s390x")
    assert "--platform linux/s390x: give linux/amd64 or linux/arm64" in caught.value.problems
    assert len(caught.value.problems) == 2


def test_it_is_looked_at_and_copied_as_any_image(tmp_path: Path, model: Path) -> None:
    arm = pack(str(model), f"oci:{tmp_path / 'arm'}", platform=ARM)
    assert inspect(f"oci:{tmp_path / 'arm'}", files=True).model_folder == "/models"
    assert copy(arm.reference, f"oci:{tmp_path / 'copied'}").digest == arm.digest
    with pytest.raises(InputError, match="a layout has no tags"):
        tag(arm.reference)


def test_who_serves_it_says_on_what(tmp_path: Path, model: Path) -> None:
    arm = pack(str(model), f"oci:{tmp_path / 'arm'}", platform=ARM)
    with pytest.raises(ImageError, match=r"is for linux/arm64, and linux/amd64 is needed"):
        inspect(arm.reference, purpose=Delivery.NATIVE)
    with pytest.raises(ImageError, match=r"is for linux/arm64, and linux/amd64 is needed"):
        copy(arm.reference, f"oci:{tmp_path / 'copied'}", purpose=Delivery.NATIVE)
    assert not (tmp_path / "copied").exists()
    assert copy(arm.reference, f"oci:{tmp_path / 'copied'}", purpose=Delivery.NATIVE, platform=ARM)


def test_of_several_platforms_the_one_that_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    several = index_of(tmp_path / "several", ARM, INTEL)
    assert inspect(several).platform == INTEL
    assert inspect(several, platform=ARM).platform == ARM
    arm_alone = index_of(tmp_path / "arm", ARM, "windows/amd64")
    assert inspect(arm_alone).platform == ARM
    with pytest.raises(ImageError, match=r"has no image for linux/amd64 or linux/arm64"):
        inspect(index_of(tmp_path / "other", "windows/amd64"))


def test_a_model_of_one_platform_is_repacked_for_the_other(tmp_path: Path, model: Path) -> None:
    intel = pack(str(model), f"oci:{tmp_path / 'intel'}")
    arm = repack(intel.reference, f"oci:{tmp_path / 'arm'}", platform=ARM)
    assert inspect(arm.reference).platform == ARM
    assert [layer.digest for layer in arm.layers] == [layer.digest for layer in intel.layers]


@pytest.mark.parametrize(("machine", "platform"), [(62, INTEL), (183, ARM)])
def test_a_base_is_for_the_machines_of_its_program(tmp_path: Path, machine: int, platform: str) -> None:
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    header[18:20] = machine.to_bytes(2, "little")
    (tmp_path / "busybox").write_bytes(header)
    base = write_base(str(tmp_path / "base"), str(tmp_path / "busybox"))
    assert inspect(base.reference).platform == platform
