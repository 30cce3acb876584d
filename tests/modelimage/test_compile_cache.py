"""A compile cache as an image: what goes into it, what it says of itself, and what it is not taken for."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from modelimage import build_step
from modelimage.cache_key import ANNOTATION, CacheKey, key_in
from modelimage.compile_cache import pack_cache
from modelimage.packer import pack
from modelimage.tiny import write_tiny_model
from modelimage.transfer import inspect
from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import InputError
from oci_model_serving.reference import parse_pinned

MODEL, SERVER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEY: dict[str, Any] = {
    "model": MODEL,
    "server": SERVER,
    "gpu": "nvidia-l4",
    "gpus": 1,
    "args": {"--max-model-len": "8192"},
    "env": {"HOME": "/tmp"},  # noqa: S108 - a pod's
}
AOT = "torch_compile_cache/torch_aot_compile/4aa6/rank_0_0/model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The kinds of files that vLLM 0.23.0 leaves, and a hidden one."""
    root = tmp_path / "vllm"
    for path, content in {
        AOT: b"\x80\x04pickled",
        "torch_compile_cache/ab12/rank_0_0/backbone/vllm_compile_cache.py": b"{}",
        "torch_compile_cache/ab12/rank_0_0/triton_cache/XY/__grp__k.json": b"{}",
        "torch_compile_cache/ab12/rank_0_0/triton_cache/XY/cuda_utils.so": b"\x7fELF",
        "torch_compile_cache/ab12/.ready": b"",
        "torch_compile_cache/ab12/rank_0_0/inductor_cache/locks/x.lock": b"",
        "torch_compile_cache/ab12/rank_0_0/backbone/cache_key_factors.json": b'{"env": {"VLLM_API_KEY": "k"}}',
        "gpu_p2p_access_cache_for_0,1.json": b"{}",
        "modelinfos/vllm-model_executor-models-qwen2.json": b"{}",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def packed(folder: Path, tmp_path: Path, key: dict[str, Any] = KEY) -> str:
    return pack_cache(str(folder), f"oci:{tmp_path}/layout", key, cache=tmp_path / "digests").reference


def test_what_the_server_has_left_is_packed_and_what_is_the_machines_own_is_not(folder: Path, tmp_path: Path) -> None:
    found = inspect(packed(folder, tmp_path), files=True)

    kept = {file.path.removeprefix("models/torch_compile_cache/ab12/") for file in found.files}
    assert f"models/{AOT}" in kept
    assert {".ready", "rank_0_0/backbone/vllm_compile_cache.py", "rank_0_0/triton_cache/XY/cuda_utils.so"} <= kept
    assert not [path for path in kept if "p2p" in path or path.endswith((".lock", "cache_key_factors.json"))]
    assert "models/modelinfos/vllm-model_executor-models-qwen2.json" in kept


def test_an_image_says_what_it_was_made_for(folder: Path, tmp_path: Path) -> None:
    found = inspect(packed(folder, tmp_path), purpose="compile-cache")

    assert key_in(found.annotations, found.reference) == CacheKey.model_validate(KEY)


def test_the_same_files_for_the_same_key_are_one_digest_and_for_another_key_another(
    folder: Path, tmp_path: Path
) -> None:
    first, again = packed(folder, tmp_path), packed(folder, tmp_path)
    other = packed(folder, tmp_path, {**KEY, "gpus": 2})

    assert first == again
    assert parse_pinned(other)[1] != parse_pinned(first)[1]


def test_a_model_is_no_compile_cache(tmp_path: Path) -> None:
    write_tiny_model(str(tmp_path / "tiny"), shards=1)
    reference = pack(str(tmp_path / "tiny"), f"oci:{tmp_path}/layout", cache=tmp_path / "digests").reference

    with pytest.raises(InputError, match="is no compile cache: make one with `oms cache make`"):
        inspect(reference, purpose="compile-cache")


def test_a_compile_cache_is_no_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not for delivery native"):
        inspect(packed(folder, tmp_path), purpose=Delivery.NATIVE)


@pytest.mark.parametrize("content", [{}, {"gpu_p2p_access_cache_for_0.json": b"{}"}])
def test_a_server_that_has_left_nothing_of_use_is_said_so(tmp_path: Path, content: dict[str, bytes]) -> None:
    root = tmp_path / "vllm"
    root.mkdir()
    for name, data in content.items():
        (root / name).write_bytes(data)

    with pytest.raises(InputError, match="the server has left nothing there"):
        packed(root, tmp_path)


def test_what_is_no_file_is_left_out_since_the_server_makes_it_anew(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "away").symlink_to("/etc/hostname")

    listed = inspect(packed(folder, tmp_path), files=True).files
    assert not [file for file in listed if file.path.endswith(("pipe", "away"))]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"model": "sha256:" + "c" * 64}, [f"the model's image was {MODEL} and is sha256:{'c' * 64}"]),
        ({"server": MODEL}, [f"the server's image was {SERVER} and is {MODEL}"]),
        ({"gpu": "nvidia-h100-80gb/1g.10gb"}, ["the GPU was nvidia-l4 and is nvidia-h100-80gb/1g.10gb"]),
        ({"gpus": 2}, ["the number of GPUs was 1 and is 2"]),
        (
            {"args": {"--max-model-len": "4096", "--quantization": "fp8"}},
            [
                "the argument --max-model-len was 8192 and is 4096",
                "the argument --quantization was not given and is fp8",
            ],
        ),
        ({"args": {}}, ["the argument --max-model-len was 8192 and is not given"]),
        ({"env": {"HOME": "/root"}}, ["the variable HOME was /tmp and is /root"]),
    ],
)
def test_each_part_that_differs_is_told_with_what_it_was(change: dict[str, Any], told: list[str]) -> None:
    made, served = CacheKey.model_validate(KEY), CacheKey.model_validate({**KEY, **change})

    assert made.differences(served) == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"model": "latest"}',
        json.dumps({**KEY, "version": 2}),
        json.dumps({**KEY, "driver": "570"}),
        json.dumps({**KEY, "args": ["--x"]}),
    ],
)
def test_a_key_that_is_not_understood_whole_is_not_believed(text: str) -> None:
    with pytest.raises(InputError, match=r"its annotation oci-model-serving\.compile-cache cannot be read"):
        key_in({ANNOTATION: text}, "registry.example/c@" + MODEL)


def test_of_many_parts_that_differ_the_first_are_told() -> None:
    made = CacheKey.model_validate({**KEY, "args": {f"--{number:04}": "x" * 999 for number in range(5000)}})

    told = made.differences(CacheKey.model_validate(KEY))
    assert told[-1] == "4993 more"
    assert len("; ".join(told)) < 3000


def test_what_a_key_says_cannot_reach_a_terminal() -> None:
    made = CacheKey.model_validate({**KEY, "args": {"--x\x1b[2J": "\x1b]0;y\x07" + "z" * 500}})

    (told,) = [text for text in made.differences(CacheKey.model_validate(KEY)) if "--x" in text]
    assert "\x1b" not in told
    assert len(told) < 300


def test_the_step_in_a_pod_packs_the_folder_and_tells_the_digest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "output"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    kept = {"folder": str(folder), "destination": f"oci:{tmp_path}/layout", "key": KEY}
    monkeypatch.setattr(sys, "argv", ["step", json.dumps({"compile_cache": kept, "shares": 1, "output": str(output)})])

    assert build_step.main() == 0

    told = json.loads(output.read_text())
    assert told["share"] == 1
    assert told["image"]["digest"] == parse_pinned(packed(folder, tmp_path))[1]
    assert told["uploaded_bytes"] == told["size_bytes"] == told["image"]["size_bytes"]


def test_a_step_whose_server_left_nothing_ends_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    kept = {"folder": str(tmp_path / "vllm"), "destination": f"oci:{tmp_path}/layout", "key": KEY}
    job = {"compile_cache": kept, "output": str(tmp_path / "o")}
    monkeypatch.setattr(sys, "argv", ["step", json.dumps(job)])

    assert build_step.main() == 2
