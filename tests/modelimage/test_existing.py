"""An image that exists is listed, and held against the delivery that is to bring it to a server."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from modelimage import copy, inspect, pack, repack
from modelimage.archives import Header, Kind
from modelimage.chunks import OFFSET, SIZE
from modelimage.documents import PATH_ANNOTATION, Descriptor, ImageConfig
from modelimage.fit import misfits
from modelimage.progress import Reporter
from modelimage.rootfs import Content, Contents
from modelimage.transfer import Inspection
from oci_model_serving.delivery import SHELL_BASE, Delivery
from oci_model_serving.errors import InputError
from oci_model_serving.foreign import shown
from tests.modelimage.handmade import GZIP, TAR, Made, file, folder, link, make, model_in, packed, shell, tar
from tests.weights import safetensors_bytes

FOR_KSERVE = [Delivery.NATIVE, Delivery.FETCH]


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def image(place: Path, *layers: list[Any], **more: Any) -> Made:
    return make(place, [(TAR, tar(*entries)) for entries in layers], **more)


def held(made: Made, delivery: Delivery) -> Inspection:
    return inspect(made.reference, purpose=delivery)


def refused(made: Made, delivery: Delivery) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        held(made, delivery)
    return caught.value.problems


# Listing


def test_our_own_image_is_listed_with_what_is_in_it(tmp_path: Path, model: Path) -> None:
    (model / "config.json").write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    found = inspect(pack(str(model), f"oci:{tmp_path / 'image'}").reference, files=True)
    expected = {f"models/{path.relative_to(model).as_posix()}": path.stat().st_size for path in model.rglob("[!.]*.*")}
    lists = {f".chunks/{layer.digest[7:]}": 32 for layer in found.layers[:-1]}
    assert {file.path: file.size_bytes for file in found.files} == {**expected, **lists}
    assert (found.traits.architecture, found.traits.task) == ("Qwen2ForCausalLM", "generation")
    assert found.format == "safetensors"
    assert (found.model_folder, found.unread) == ("/models", ())


def test_without_being_asked_no_layer_is_read(tmp_path: Path) -> None:
    made = image(tmp_path / "made", [file("a", bytes(100_000))])
    layer = made.blob(made.manifest["layers"][0]["digest"])
    layer.write_bytes(b"\xff" * layer.stat().st_size)
    assert inspect(made.reference).files == ()
    assert inspect(made.reference, files=True).unread[0].startswith("layer sha256:")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("model.gguf", b"GGUF", "gguf"),
        ("pytorch_model.bin", b"PK\x03\x04", "pickle"),
        ("pytorch_model.bin", b"\x80\x02", "pickle"),
        ("model.bin", b"\x06\x00\x00\x00", "unknown"),
        ("model.onnx", b"\x08", "onnx"),
    ],
)
def test_a_format_is_told_by_name_and_where_that_says_nothing_by_content(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    assert (
        inspect(image(tmp_path / "made", [file("config.json"), file(name, content)]).reference, files=True).format
        == kind
    )


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert shown("models/\x1b[2Jü\n\x9b日本\udcff\u202e") == "models/\\x1b[2Jü\\n\\x9b日本\\udcff\\u202e"


# Held against a delivery


def test_our_image_without_a_base_is_for_all_but_modelcar(tmp_path: Path, model: Path) -> None:
    (model / "config.json").write_text("{}")
    reference = pack(str(model), f"oci:{tmp_path / 'image'}").reference
    for delivery in (Delivery.NATIVE, Delivery.FETCH, Delivery.KUBEAI):
        assert inspect(reference, purpose=delivery).files == ()
    with pytest.raises(InputError, match=r"not for delivery modelcar: KServe runs.*--base docker.io/library/busybox@"):
        inspect(reference, purpose=Delivery.MODELCAR)


@pytest.mark.parametrize("delivery", [*FOR_KSERVE, Delivery.MODELCAR])
def test_files_at_the_root_are_for_kubeai_alone(tmp_path: Path, delivery: Delivery) -> None:
    made = image(tmp_path / "made", shell(), model_in(""))
    held(made, Delivery.KUBEAI)
    (problem,) = refused(made, delivery)
    assert f"is not for delivery {delivery.value}: there is no /models" in problem
    assert "a model lies in the root (the layout of KubeAI)" in problem
    assert f"`oms image repack {made.reference} DEST" in problem
    assert (f"--base {SHELL_BASE}" in problem) == (delivery is Delivery.MODELCAR)


def test_files_below_models_alone_are_not_for_kubeai(tmp_path: Path) -> None:
    made = image(tmp_path / "made", shell(), model_in("models/"))
    for delivery in (*FOR_KSERVE, Delivery.MODELCAR):
        held(made, delivery)
    assert "a model lies in /models (the layout of KServe)" in refused(made, Delivery.KUBEAI)[0]


def test_links_at_the_root_count_for_kubeai_where_they_lead_within_the_image(tmp_path: Path) -> None:
    for target, good in (("models/", True), ("/models/", False), ("../models/", False)):
        links = [link(name, f"{target}{name}") for name in ("config.json", "model.safetensors")]
        made = image(tmp_path / target.replace("/", "-"), model_in("models/"), links)
        held(made, Delivery.KUBEAI) if good else refused(made, Delivery.KUBEAI)


def test_a_link_out_of_models_is_followed_by_modelcar_and_not_through_a_mount(tmp_path: Path) -> None:
    links = [link(f"models/{name}", f"../data/{name}") for name in ("config.json", "model.safetensors")]
    made = image(tmp_path / "made", shell(), model_in("data/"), links)
    held(made, Delivery.MODELCAR)
    for delivery in FOR_KSERVE:
        assert "there are no weights in /models: a model lies in /data" in refused(made, delivery)[0]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([file("models/model.safetensors")], "there is no config.json in /models"),
        ([file("models/config.json")], "there are no weights in /models"),
        ([folder("models")], "there is no /models"),
        ([file("opt/readme")], "there is no /models, and no other folder holds a model"),
        (model_in("models/qwen/"), "there are no weights in /models: a model lies in /models/qwen"),
        ([*model_in("a/"), *model_in("b/")], "a model lies in /a and /b: `oms image repack"),
        ([file("models/adapter_config.json"), file("models/adapter_model.safetensors")], "holds a LoRA adapter"),
    ],
)
def test_what_is_missing_is_told_with_where_a_model_lies(tmp_path: Path, entries: list[Any], said: str) -> None:
    (problem,) = refused(image(tmp_path / "made", entries), Delivery.NATIVE)
    assert said in problem
    assert ("--from /a" in problem) == ("/a and /b" in said)


@pytest.mark.parametrize(
    "entries",
    [
        [file("models/m.gguf")],
        [file("models/UD-Q4/a-00001-of-00002.gguf"), file("models/UD-Q4/a-00002-of-00002.gguf")],
        [file("models/model_index.json"), file("models/unet/w.safetensors"), file("models/unet/config.json")],
        [file("models/modules.json"), file("models/0_T/pytorch_model.bin"), file("models/0_T/config.json")],
        [file("models/params.json"), file("models/consolidated.safetensors")],
        [file("models/config.json"), file("models/pytorch_model.bin")],
        [file("models/config.json"), file("blobs/x"), link("models/w.safetensors", "x.bin"), file("models/x.bin")],
    ],
)
def test_a_model_in_any_form_that_a_server_loads_is_one(tmp_path: Path, entries: list[Any]) -> None:
    held(image(tmp_path / "made", entries), Delivery.NATIVE)


@pytest.mark.parametrize(
    ("layers", "environment", "missing"),
    [
        ([shell("bin/")], None, ""),
        ([shell("usr/bin/"), [link("bin", "usr/bin")]], ["PATH=/bin"], ""),
        ([shell("usr/bin/"), [link("bin", "/usr/bin")]], ["PATH=/bin"], ""),
        ([shell("opt/x/")], ["A=b", "PATH=/opt/x:/bin"], ""),
        ([shell("opt/x/")], None, "sh, ln and sleep are not"),
        ([shell("bin/"), [file("bin/.wh.sleep")]], None, "sleep is not"),
        ([shell("bin/"), [file("bin/.wh.busybox")]], None, "sh, ln and sleep are not"),
        ([[file(f"bin/{name}", b"", 0o644) for name in ("sh", "ln", "sleep")]], None, "sh, ln and sleep are not"),
        ([shell("bin/")], "PATH=/opt", ""),
    ],
)
def test_modelcars_shell_is_looked_up_as_a_container_finds_it(
    tmp_path: Path, layers: list[list[Any]], environment: Any, missing: str
) -> None:
    config = {"Env": environment} if environment else {}
    made = image(tmp_path / "made", *layers, model_in("models/"), config=config)
    if missing:
        (problem,) = refused(made, Delivery.MODELCAR)
        assert missing in problem
        assert f"--base {SHELL_BASE}" in problem
    else:
        held(made, Delivery.MODELCAR)
    held(made, Delivery.NATIVE)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert len(refused(image(tmp_path / "made", model_in("")), Delivery.MODELCAR)) == 2


def test_what_cannot_be_listed_is_a_warning_and_no_refusal(tmp_path: Path) -> None:
    made = make(tmp_path / "made", [(f"{TAR}+zstd", b"(\xb5/\xfd" + bytes(50))])
    notes = Notes()
    found = inspect(made.reference, purpose=Delivery.NATIVE, reporter=notes)
    assert "is not read here" in found.unread[0]
    assert notes.notes[0].startswith("warning: as far as its files can be listed")
    assert "there is no /models" in notes.notes[0]


def test_what_is_listed_is_enough_where_it_shows_all_that_is_needed(tmp_path: Path) -> None:
    made = make(tmp_path / "made", [(f"{TAR}+zstd", bytes(50)), (GZIP, packed(tar(*model_in("models/"))))])
    notes = Notes()
    inspect(made.reference, purpose=Delivery.NATIVE, reporter=notes)
    assert notes.notes == []


def test_a_layer_that_no_runtime_unpacks_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "made", [(TAR, tar(*model_in("models/"))), (TAR, b"no archive" * 100)])
    assert "cannot be unpacked" in refused(made, Delivery.NATIVE)[0]
    assert inspect(made.reference, files=True).unread


def test_an_image_that_is_not_for_its_delivery_is_not_copied(tmp_path: Path) -> None:
    made = image(tmp_path / "made", model_in(""))
    with pytest.raises(InputError, match="there is no /models"):
        copy(made.reference, f"oci:{tmp_path / 'copied'}", purpose=Delivery.NATIVE)
    assert not (tmp_path / "copied").exists()
    assert copy(made.reference, f"oci:{tmp_path / 'copied'}", purpose=Delivery.KUBEAI).digest == made.digest


def test_the_result_is_json(tmp_path: Path) -> None:
    made = image(tmp_path / "made", model_in("models/"), [file("models/\udcff")])
    assert "models/config.json" in json.dumps(inspect(made.reference, files=True).as_json())


def test_what_packs_as_an_adapter_is_one_afterwards_whatever_lies_beside_it(tmp_path: Path) -> None:
    lora = tmp_path / "lora"
    lora.mkdir()
    (lora / "adapter_config.json").write_text('{"r": 32}')
    (lora / "config.json").write_text("{}")
    (lora / "adapter_model.safetensors").write_bytes(safetensors_bytes(bytes(300_000)))

    made = pack(str(lora), f"oci:{tmp_path / 'image'}", adapter=True)
    assert inspect(made.reference, purpose="adapter").traits.lora_rank == 32
    again = repack(made.reference, f"oci:{tmp_path / 'again'}")
    assert inspect(again.reference, purpose="adapter").traits.lora_rank == 32


# By streaming.

_CONFIG = file("models/config.json")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([file("models/m.gguf")], "/models holds gguf and no safetensors"),
        ([_CONFIG, file("models/pytorch_model.bin", b"\x80\x02")], "/models holds pickle and no safetensors"),
        (
            [file("models/model_index.json"), file("models/unet/w.safetensors")],
            "/models holds no weights at its top and no safetensors",
        ),
    ],
)
def test_what_the_streaming_loader_does_not_read_is_not_for_stream(
    tmp_path: Path, entries: list[Any], said: str
) -> None:
    made = image(tmp_path / "made", entries)
    held(made, Delivery.NATIVE)

    (problem,) = refused(made, Delivery.STREAM)

    assert f"is not for delivery stream: {said}" in problem


@pytest.mark.parametrize("weights", ["models/model.safetensors", "models/Model.SafeTensors"])
def test_safetensors_beside_a_configuration_are_for_stream_whatever_else_is_there(tmp_path: Path, weights: str) -> None:
    held(image(tmp_path / "made", [_CONFIG, file(weights), file("models/m.gguf")]), Delivery.STREAM)


def test_a_compressed_layer_is_for_stream_where_no_file_of_the_model_is_in_it(tmp_path: Path) -> None:
    model = [_CONFIG, file("models/model.safetensors", b"x" * 600)]
    base = (GZIP, gzip.compress(tar(*shell("bin/"))))
    held(make(tmp_path / "base", [base, (TAR, tar(*model))]), Delivery.STREAM)

    (problem,) = refused(make(tmp_path / "all", [base, (GZIP, gzip.compress(tar(*model)))]), Delivery.STREAM)

    assert "1 of its layers" in problem
    assert "are compressed" in problem
    assert "oms image repack" in problem


@pytest.mark.parametrize(
    ("noted", "is_true"),
    [
        ({}, True),
        ({PATH_ANNOTATION: "/models/a.safetensors", OFFSET: "1024", SIZE: "600"}, True),
        ({PATH_ANNOTATION: "/models/a.safetensors", OFFSET: "2048", SIZE: "600"}, False),
        ({PATH_ANNOTATION: "/models/a.safetensors", OFFSET: "1024", SIZE: "60"}, False),
        ({PATH_ANNOTATION: "/models/b.safetensors", OFFSET: "1024", SIZE: "600"}, False),
    ],
)
def test_an_image_whose_annotations_name_another_place_than_its_tar_is_not_for_stream(
    noted: dict[str, str], is_true: bool
) -> None:
    """One digest would have two contents: what a volume shows, and what is streamed."""
    contents = Contents()
    small = Content(0, 512, 2, b"{}")
    contents.add([(Header("models/config.json", Kind.FILE, 2, 0o644), small)])
    contents.add([(Header("models/a.safetensors", Kind.FILE, 600, 0o644), Content(1, 1024, 600))])
    layers = [
        Descriptor(mediaType=TAR, digest=f"sha256:{number * 64}", size=9000, annotations=notes)
        for number, notes in (("a", {}), ("b", noted))
    ]

    found = misfits(contents, ImageConfig(), Delivery.STREAM, "r.example/m@sha256:0", layers)

    assert found == [] if is_true else "the annotations of 1 of its layers" in found[0]
