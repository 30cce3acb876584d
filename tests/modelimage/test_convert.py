"""Pickles become safetensors: by PyTorch itself where it is installed, in the process that a build uses."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelimage import convert, pack, unpickling, write_context
from modelimage import inspect as inspect_image
from modelimage.bundle import archive
from modelimage.convert import ANNOTATION, REQUIREMENTS, converted
from modelimage.errors import CancelledError, ImageError
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.progress import Reporter
from modelimage.source import Selection, Source
from oci_model_serving.errors import InputError
from tests.hub import COMMIT, FakeHub

ROOT = Path(__file__).parents[2]
with_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs PyTorch: pip install -r requirements-convert.txt"
)


def pytorch() -> Any:
    return importlib.import_module("torch")


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def finished(self, title: str, outcome: str) -> None:
        self.lines.append(f"{title}: {outcome}")


@contextmanager
def conversion(folder: Path, cache: Path, reporter: Reporter | None = None, **chosen: Any) -> Iterator[Source]:
    listed = open_source(str(folder), Selection(convert=True, **chosen), Patience())
    with converted(listed, cache, reporter or Notes(), threading.Event()) as source:
        yield source


def opt(folder: Path, **config: object) -> dict[str, Any]:
    """The seed's example in small: the names of OPT, half precision, an output head that is the embeddings."""
    torch = pytorch()
    torch.manual_seed(0)
    embeddings = torch.randn(96, 16, dtype=torch.float16)
    tensors: dict[str, Any] = OrderedDict({"decoder.embed_tokens.weight": embeddings})
    tensors["decoder.embed_positions.weight"] = torch.randn(34, 16, dtype=torch.float16)
    for layer in range(2):
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            # A view whose memory lies in another order than its shape, as fused projections are split.
            tensors[f"decoder.layers.{layer}.self_attn.{name}.weight"] = torch.randn(16, 16, dtype=torch.float16).t()
    tensors |= {"decoder.version": torch.tensor(3.0, dtype=torch.bfloat16), "decoder.none": torch.empty(0, 3)}
    tensors["lm_head.weight"] = embeddings
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["OPTForCausalLM"], "model_type": "opt", **config})
    )
    (folder / "tf_model.h5").write_bytes(b"other")
    return tensors


def read(source: Source) -> dict[str, Any]:
    torch = pytorch()
    found: dict[str, Any] = {}
    kinds = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    for file in source.files:
        if not file.path.endswith(".safetensors"):
            continue
        content = b"".join(file.read())
        start = 8 + int.from_bytes(content[:8], "little")
        for name, entry in json.loads(content[8:start]).items():
            if name == "__metadata__":
                assert entry == {"format": "pt"}
                continue
            begin, end = (start + offset for offset in entry["data_offsets"])
            data = bytearray(content[begin:end])
            kind = kinds[entry["dtype"]]
            flat = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
            found[name] = flat.reshape(entry["shape"])
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    torch = pytorch()
    return set(one) == set(other) and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


@with_torch
def test_every_tensor_is_there_bit_for_bit_and_the_image_is_the_same_each_time(tmp_path: Path) -> None:
    tensors = opt(tmp_path / "opt")
    with conversion(tmp_path / "opt", tmp_path / "cache") as source:
        assert [file.path for file in source.files] == ["config.json", "model.safetensors"]
        assert source.annotations[ANNOTATION] == "pytorch_model.bin"
        assert same(read(source), tensors)
    digests = {
        pack(str(tmp_path / "opt"), f"oci:{tmp_path / name}", convert=True, cache=tmp_path / f"{name}-cache").digest
        for name in ("one", "two")
    }
    assert len(digests) == 1
    assert list((tmp_path / "one-cache" / "conversions").iterdir()) == []


@with_torch
def test_a_head_is_written_once_where_the_configuration_ties_it_and_twice_where_it_says_nothing(tmp_path: Path) -> None:
    tensors = opt(tmp_path / "tied", tie_word_embeddings=True)
    notes = Notes()
    with conversion(tmp_path / "tied", tmp_path / "cache", notes) as source:
        assert same(read(source), {name: value for name, value in tensors.items() if name != "lm_head.weight"})
    assert any("lm_head.weight is tied to the embeddings" in line for line in notes.lines)
    opt(tmp_path / "untied", tie_word_embeddings=False)
    with conversion(tmp_path / "untied", tmp_path / "cache") as source:
        assert "lm_head.weight" in read(source)


@with_torch
def test_shards_have_an_index_that_the_rules_accept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytorch()
    monkeypatch.setattr(convert, "SHARD_BYTES", 2000)
    tensors = opt(tmp_path / "opt")
    first = dict(list(tensors.items())[:4])
    second = dict(list(tensors.items())[4:-1])
    (tmp_path / "opt" / "pytorch_model.bin").unlink()
    torch.save(first, tmp_path / "opt" / "pytorch_model-00001-of-00002.bin")
    # The form before PyTorch 1.6, which many old checkpoints have.
    torch.save(second, tmp_path / "opt" / "pytorch_model-00002-of-00002.bin", _use_new_zipfile_serialization=False)
    names = {name: f"pytorch_model-0000{n}-of-00002.bin" for n, part in ((1, first), (2, second)) for name in part}
    (tmp_path / "opt" / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    with conversion(tmp_path / "opt", tmp_path / "cache") as source:
        paths = [file.path for file in source.files]
        assert "pytorch_model.bin.index.json" not in paths
        assert same(read(source), first | second)
        out = tmp_path / "written"
        out.mkdir()
        for file in source.files:
            (out / file.path).write_bytes(b"".join(file.read()))
    shards = [path for path in paths if path.endswith(".safetensors")]
    assert len(shards) > 2
    assert [file.path for file in open_source(str(out), Selection(), Patience()).files] == paths


class Evil:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call[0], self._call[1:]


@with_torch
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda torch: {"a": Evil(os.system, "touch /tmp/never")}, "needs posix.system to be loaded"),
        (lambda torch: {"a": torch.ones(2), "b": {"c": torch.ones(2)}}, r"is no table of tensors .* 'b' \(dict\)"),
        (lambda torch: [torch.ones(2)], "is no table of tensors by their names: it holds list"),
        (lambda torch: {"a": torch.ones(1).expand(10_000_000)}, "far larger than the file"),
        (lambda torch: {"a": torch.ones(2).to_sparse()}, r"it holds 'a' \(Tensor\)"),
    ],
)
def test_what_is_no_table_of_tensors_is_refused_with_the_other_ways(tmp_path: Path, value: Any, what: str) -> None:
    torch = pytorch()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    torch.save(value(torch), tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(InputError, match=what) as caught, conversion(tmp_path / "m", tmp_path / "cache"):
        pass
    assert "pytorch_model.bin" in str(caught.value)
    assert "--pickle allow" in str(caught.value)
    assert not Path("/tmp/never").exists()  # noqa: S108 - what the hostile file names
    assert list((tmp_path / "cache" / "conversions").iterdir()) == []


@with_torch
def test_a_file_that_is_cut_short_is_told_by_its_name(tmp_path: Path) -> None:
    opt(tmp_path / "opt")
    path = tmp_path / "opt" / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-500])
    with (
        pytest.raises(InputError, match=r"pytorch_model\.bin: PyTorch cannot load it as weights"),
        conversion(tmp_path / "opt", tmp_path / "cache"),
    ):
        pass


@with_torch
def test_parts_that_a_server_asks_for_by_name_are_not_mixed_into_the_weights(tmp_path: Path) -> None:
    torch = pytorch()
    opt(tmp_path / "m")
    torch.save({"weight": torch.ones(2)}, tmp_path / "m" / "sparse_linear.pt")
    (tmp_path / "m" / "2_Dense").mkdir()
    (tmp_path / "m" / "2_Dense" / "config.json").write_text("{}")
    torch.save({"linear.weight": torch.ones(2)}, tmp_path / "m" / "2_Dense" / "pytorch_model.bin")
    notes = Notes()
    with conversion(tmp_path / "m", tmp_path / "cache", notes) as source:
        paths = {file.path for file in source.files}
    assert paths == {"config.json", "model.safetensors", "2_Dense/config.json", "2_Dense/model.safetensors"}
    assert any("no part of the weights beside them: sparse_linear.pt" in line for line in notes.lines)


@with_torch
def test_an_adapter_is_converted_under_its_own_name(tmp_path: Path) -> None:
    torch = pytorch()
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    torch.save({"base_model.model.q.lora_A.weight": torch.ones(2, 4)}, tmp_path / "lora" / "adapter_model.bin")
    with conversion(tmp_path / "lora", tmp_path / "cache", adapter=True) as source:
        assert [file.path for file in source.files] == ["adapter_config.json", "adapter_model.safetensors"]


ESCAPE = """
import torch
def load(*_, **__):
    import os, socket
    found = ["HF_TOKEN" in os.environ]
    attempts = [
        lambda: socket.create_connection(("127.0.0.1", PORT), 2),
        lambda: os.system("true"),
        lambda: open("OUTSIDE", "w"),
    ]
    for attempt in attempts:
        try:
            attempt()
            found.append(True)
        except BaseException:
            found.append(False)
    raise RuntimeError(repr(found))
torch.load = load
"""


@with_torch
@pytest.mark.parametrize("namespace", [True, False])
def test_what_would_escape_the_loader_finds_no_secret_no_network_no_program_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: bool
) -> None:
    """The program runs with a loader in PyTorch's place that tries what a hostile file would try."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    real = inspect.getsource
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempt = ESCAPE.replace("PORT", str(server.getsockname()[1])).replace("OUTSIDE", str(tmp_path / "outside"))

        def source(module: Any) -> str:
            text: str = real(module).replace("if __name__", f"{attempt}\nif __name__")
            return text if namespace else text.replace("isolated = _leave_network()", "isolated = False")

        monkeypatch.setattr(inspect, "getsource", source)
        opt(tmp_path / "opt")
        with (
            pytest.raises(InputError, match=r"\[False, False, False, False\]"),
            conversion(tmp_path / "opt", tmp_path / "cache"),
        ):
            pass
    assert not (tmp_path / "outside").exists()


@with_torch
def test_a_run_that_is_stopped_ends_the_process_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda module: "import time; time.sleep(600)\n" + real(module))
    opt(tmp_path / "opt")
    listed = open_source(str(tmp_path / "opt"), Selection(convert=True), Patience())
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    since = time.monotonic()
    with pytest.raises(CancelledError), converted(listed, tmp_path / "cache", Notes(), stop):
        pass
    assert time.monotonic() - since < 60
    assert list((tmp_path / "cache" / "conversions").iterdir()) == []


@with_torch
def test_a_commit_of_the_hub_is_converted_and_its_other_files_pass_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opt(tmp_path / "opt")
    with FakeHub() as fake:
        fake.add("org/name", {path.name: path.read_bytes() for path in (tmp_path / "opt").iterdir()})
        fake.used_by(monkeypatch, tmp_path / "hub-cache")
        image = pack(f"hf://org/name@{COMMIT}", f"oci:{tmp_path / 'hub'}", convert=True, cache=tmp_path / "cache")
        assert fake.reads("tf_model.h5") == []
    local = pack(str(tmp_path / "opt"), f"oci:{tmp_path / 'local'}", convert=True, cache=tmp_path / "cache")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]
    assert inspect_image(image.reference).annotations[ANNOTATION] == "pytorch_model.bin"
    assert list((tmp_path / "cache" / "conversions").iterdir()) == []


@with_torch
def test_a_build_context_holds_what_was_converted(tmp_path: Path) -> None:
    opt(tmp_path / "opt")
    context = write_context(str(tmp_path / "opt"), str(tmp_path / "context"), convert=True, cache=tmp_path / "cache")
    held = {
        path.relative_to(context.folder).as_posix()
        for path in context.folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert held == {"Dockerfile", "layer-01/models/model.safetensors", "layer-02/models/config.json"}


def test_the_program_is_found_in_the_archive_that_runs_in_a_build(tmp_path: Path) -> None:
    (tmp_path / "code.zip").write_bytes(archive())
    program = "import inspect; from modelimage import unpickling as u; print(u.__file__); print(inspect.getsource(u))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "code.zip")},
        cwd=tmp_path,
    )
    where, _, text = done.stdout.partition("\n")
    assert where.startswith(str(tmp_path / "code.zip"))
    assert text.rstrip() == inspect.getsource(unpickling).rstrip()


def pickled_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return folder


def test_without_pytorch_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    with pytest.raises(InputError, match=r"needs torch, which .* does not have: run .* -m pip install torch=="):
        pack(str(pickled_model(tmp_path / "m")), f"oci:{tmp_path / 'image'}", convert=True)
    assert not (tmp_path / "image").exists()


def test_a_disk_without_room_is_told_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_check_libraries", lambda: None)
    monkeypatch.setattr(convert, "_ROOM", 1e18)
    with (
        pytest.raises(
            ImageError, match=r"converting needs .* there and .* are free: make room, or give another --cache"
        ),
        conversion(pickled_model(tmp_path / "m"), tmp_path / "cache"),
    ):
        pass


def test_a_name_that_is_taken_is_refused_and_a_source_without_pickles_is_as_it_was(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with conversion(model, tmp_path / "cache") as source:
        assert source.pickles == ()
        assert any("no pickles to convert" in note for note in source.notes)
    monkeypatch.setattr(convert, "_check_libraries", lambda: None)
    (model / "model.safetensors").write_bytes((model / "model-00001-of-00003.safetensors").read_bytes())
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with (
        pytest.raises(InputError, match=r"model\.safetensors: is there already"),
        conversion(model, tmp_path / "cache", allow=("*",)),
    ):
        pass


def test_the_requirements_are_those_of_the_file_and_of_the_project() -> None:
    pinned = (ROOT / "requirements-convert.txt").read_text().split() + (ROOT / "requirements.txt").read_text().split()
    assert set(REQUIREMENTS) <= set(pinned)


def test_allowing_and_converting_pickles_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one of --pickle allow and --convert safetensors"):
        pack(str(pickled_model(tmp_path / "m")), f"oci:{tmp_path / 'image'}", convert=True, pickle=True)
