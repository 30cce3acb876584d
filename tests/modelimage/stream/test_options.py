"""What the sidecar is told is checked at once, and each mistake says what to write instead."""

from __future__ import annotations

import pytest

from modelimage.stream import options
from oci_model_serving.errors import InputError

DIGEST = "sha256:" + "a" * 64
IMAGE = f"oci+stream://registry.example:5000/team/models/m@{DIGEST}"


def test_an_image_by_its_digest_and_where_it_is_shown_is_all_that_it_takes() -> None:
    read = options.read([IMAGE, "--prefix", "models/my-model"])
    assert str(read.reference) == f"registry.example:5000/team/models/m@{DIGEST}"
    assert (read.prefix, read.port, read.health_port) == ("models/my-model", 9700, 9701)
    assert (read.memory_mib, read.readers) == (64, 1)
    assert read.processes >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: image, --prefix"),
        ([IMAGE], "required: --prefix"),
        ([IMAGE, "--prefix", "models/m", "--port", "x"], "invalid int"),
        ([IMAGE, "--prefix", "models/m", "--what"], "unrecognized arguments: --what"),
        ([f"oci://r.example/m@{DIGEST}", "--prefix", "models/m"], "write oci+stream://HOST"),
        (["oci+stream://r.example/m:latest", "--prefix", "models/m"], "names the tag 'latest'"),
        (["oci+stream://m", "--prefix", "models/m"], "names no digest"),
        ([IMAGE, "--prefix", "/models"], "is no bucket with a key"),
        ([IMAGE, "--prefix", "models/../x y"], "is no bucket with a key"),
        ([IMAGE, "--prefix", "models/m", "--processes", "0"], "--processes 0: give 1 to"),
        ([IMAGE, "--prefix", "models/m", "--readers", "0"], "--readers 0: give 1 to"),
        ([IMAGE, "--prefix", "models/m", "--memory-mib", "16"], "--memory-mib 16: give 40 to"),
        ([IMAGE, "--prefix", "models/m", "--port", "70000"], "--port 70000: give 1 to 65535"),
        ([IMAGE, "--prefix", "models/m", "--port", "9701"], "are both 9701"),
    ],
)
def test_a_mistake_says_what_to_write(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        options.read(arguments)
    assert message in str(raised.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        options.read(["x", "--prefix", "", "--processes", "0"])
    assert len(raised.value.problems) == 3
