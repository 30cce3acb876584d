"""Which files are taken by default, held against the layouts of models as their publishers upload them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection, Source
from oci_model_serving.errors import InputError
from tests.hub import COMMIT, FakeHub
from tests.weights import safetensors_bytes

PICKLE = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u."
GGUF = b"GGUF\x03\x00\x00\x00" + bytes(16)
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json tokenizer_config.json special_tokens_map.json generation_config.json"


def numbers(stem: str, count: int, suffix: str, first: int = 1, width: int = 5, last: int | None = None) -> str:
    end = count if last is None else last
    return " ".join(f"{stem}-{n:05d}-of-{count:0{width}d}.{suffix}" for n in range(first, end + 1))


def content(path: str, names: list[str]) -> bytes:
    """What a file of this name holds, as small as it may be."""
    folder, name = path.rpartition("/")[0], path.rpartition("/")[2]
    if ".index." in name and name.endswith(".json"):
        stem, _, rest = name.partition(".")
        suffix = "safetensors" if rest.startswith("safetensors") else "bin"
        beside = [other.rpartition("/")[2] for other in names if other.rpartition("/")[0] == folder]
        shards = [other for other in beside if other.startswith(f"{stem}-") and other.endswith(suffix)]
        single = [other for other in beside if other == f"{stem}.{suffix}"]
        return json.dumps({"weight_map": {f"t{n}": shard for n, shard in enumerate(shards or single)}}).encode()
    if name.endswith(".safetensors"):
        return safetensors_bytes(path.encode())
    if name.endswith(".gguf"):
        return GGUF
    if name.startswith("openvino") or name in {"vocab.bin", "model.bin"}:
        return b"\x07\x00\x00\x00 these are no opcodes"
    if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl")):
        return PICKLE
    return b"{}" if name.endswith(".json") else b"text"


def write(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name, names))
    return folder


def opened(folder: Path, **chosen: tuple[str, ...] | bool) -> Source:
    return open_source(str(folder), Selection(**chosen), Patience())  # type: ignore[arg-type]


def taken(source: Source) -> set[str]:
    return {file.path for file in source.files}


@dataclass
class Layout:
    """A repository: what is taken, what is left out, and whether its pickles need a word of the user's."""

    takes: str
    leaves: str = ""
    pickle: bool = False


LAYOUTS = {
    "Qwen2.5-0.5B-Instruct": Layout(f"config.json merges.txt vocab.json model.safetensors README.md {TOKENIZER}"),
    "Qwen3-235B-A22B": Layout(
        f"config.json merges.txt vocab.json {TOKENIZER} {numbers('model', 118, 'safetensors')} {INDEX}"
    ),
    "Llama-3.1-8B-Instruct": Layout(
        f"config.json LICENSE USE_POLICY.md {TOKENIZER} {numbers('model', 4, 'safetensors')} {INDEX}",
        "original/consolidated.00.pth original/params.json original/tokenizer.model",
    ),
    "Llama-2-7b-chat-hf": Layout(
        f"config.json tokenizer.model {TOKENIZER} {numbers('model', 2, 'safetensors')} model.safetensors.index.json",
        f"{numbers('pytorch_model', 2, 'bin')} pytorch_model.bin.index.json",
    ),
    "Mistral-7B-Instruct-v0.3": Layout(
        f"config.json params.json tokenizer.model tokenizer.model.v3 {TOKENIZER} {numbers('model', 3, 'safetensors')} "
        "model.safetensors.index.json",
        "consolidated.safetensors",
    ),
    "Mistral-Small-3.2-24B-Instruct": Layout(
        f"config.json params.json tekken.json SYSTEM_PROMPT.txt generation_config.json chat_template.json "
        f"{numbers('model', 10, 'safetensors')} model.safetensors.index.json",
        "consolidated.safetensors",
    ),
    "Pixtral-Large-Instruct-2411": Layout(
        f"params.json tekken.json SYSTEM_PROMPT.txt {numbers('consolidated', 39, 'safetensors')} "
        "consolidated.safetensors.index.json",
    ),
    "Pixtral-12B-2409": Layout("params.json tekken.json consolidated.safetensors README.md"),
    "Mistral-Large-Instruct-2411, both ways": Layout(
        f"config.json params.json tokenizer.model {TOKENIZER} {numbers('model', 51, 'safetensors')} "
        "model.safetensors.index.json",
        f"{numbers('consolidated', 51, 'safetensors')} consolidated.safetensors.index.json",
    ),
    "Mixtral-8x22B-Instruct": Layout(
        f"config.json tokenizer.model {TOKENIZER} {numbers('model', 59, 'safetensors')} model.safetensors.index.json"
    ),
    "Mixtral-8x7B, first upload": Layout(
        f"config.json tokenizer.model {TOKENIZER} {numbers('model', 19, 'safetensors')} model.safetensors.index.json",
        "consolidated.00.pt consolidated.01.pt consolidated.02.pt",
    ),
    "DeepSeek-R1": Layout(
        f"config.json configuration_deepseek.py modeling_deepseek.py figures/benchmark.jpg {TOKENIZER} "
        f"{numbers('model', 163, 'safetensors', width=6)} model.safetensors.index.json"
    ),
    "gpt-oss-20b": Layout(
        f"config.json chat_template.jinja {TOKENIZER} {numbers('model', 2, 'safetensors', first=0)} "
        "model.safetensors.index.json",
        "original/config.json original/dtypes.json original/model.safetensors metal/model.bin",
    ),
    "gpt-oss-120b": Layout(
        f"config.json chat_template.jinja {TOKENIZER} {numbers('model', 14, 'safetensors', first=0)} "
        "model.safetensors.index.json",
        f"original/config.json {' '.join(f'original/model--0000{n}-of-00007.safetensors' for n in range(1, 8))} "
        "original/model.safetensors.index.json metal/model.bin",
    ),
    "gemma-2b": Layout(
        f"config.json tokenizer.model {TOKENIZER} {numbers('model', 2, 'safetensors')} model.safetensors.index.json",
        "gemma-2b.gguf",
    ),
    "phi-4": Layout(f"config.json vocab.json merges.txt {TOKENIZER} {numbers('model', 6, 'safetensors')} {INDEX}"),
    "Phi-4-multimodal-instruct": Layout(
        f"config.json modeling_phi4mm.py {TOKENIZER} {numbers('model', 3, 'safetensors')} model.safetensors.index.json "
        "speech-lora/adapter_config.json speech-lora/adapter_model.safetensors vision-lora/adapter_config.json "
        "vision-lora/adapter_model.safetensors"
    ),
    "opt-125m": Layout(
        "config.json generation_config.json merges.txt vocab.json special_tokens_map.json tokenizer_config.json "
        "pytorch_model.bin",
        "flax_model.msgpack tf_model.h5",
        pickle=True,
    ),
    "bloom, in pickles": Layout(
        f"config.json {TOKENIZER} {numbers('pytorch_model', 72, 'bin')} pytorch_model.bin.index.json", pickle=True
    ),
    "bert-base-uncased": Layout(
        "config.json tokenizer.json tokenizer_config.json vocab.txt model.safetensors",
        "pytorch_model.bin tf_model.h5 flax_model.msgpack rust_model.ot model.onnx "
        "coreml/fill-mask/float32_model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
    ),
    "bge-m3": Layout(
        "config.json config_sentence_transformers.json modules.json sentence_bert_config.json 1_Pooling/config.json "
        "tokenizer.json tokenizer_config.json special_tokens_map.json sentencepiece.bpe.model "
        "pytorch_model.bin colbert_linear.pt sparse_linear.pt",
        "onnx/model.onnx onnx/model.onnx_data onnx/config.json onnx/tokenizer.json",
        pickle=True,
    ),
    "all-MiniLM-L6-v2": Layout(
        "config.json modules.json sentence_bert_config.json 1_Pooling/config.json tokenizer.json vocab.txt "
        "data_config.json train_script.py model.safetensors",
        "pytorch_model.bin tf_model.h5 rust_model.ot onnx/model.onnx onnx/model_O1.onnx openvino/openvino_model.bin "
        "openvino/openvino_model.xml",
    ),
    "multilingual-e5-large": Layout(
        "config.json modules.json 1_Pooling/config.json sentencepiece.bpe.model tokenizer.json model.safetensors",
        "pytorch_model.bin onnx/model.onnx onnx/model.onnx_data onnx/tokenizer.json",
    ),
    "LaBSE, with a dense module": Layout(
        "config.json modules.json model.safetensors 2_Dense/config.json 2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin pytorch_model.bin",
    ),
    "LaBSE, its module in a pickle": Layout(
        "config.json modules.json 2_Dense/config.json 2_Dense/pytorch_model.bin model.safetensors", pickle=True
    ),
    "whisper-large-v3": Layout(
        "config.json merges.txt vocab.json normalizer.json added_tokens.json preprocessor_config.json tokenizer.json "
        "model.safetensors",
        "model.fp32-00001-of-00002.safetensors model.fp32-00002-of-00002.safetensors model.safetensors.index.fp32.json "
        "pytorch_model.bin pytorch_model.fp32-00001-of-00002.bin pytorch_model.fp32-00002-of-00002.bin "
        "pytorch_model.bin.index.fp32.json flax_model.msgpack",
    ),
    "faster-whisper-large-v3": Layout("config.json model.bin preprocessor_config.json tokenizer.json vocabulary.json"),
    "MLX, 4 bits": Layout(f"config.json {TOKENIZER} model.safetensors model.safetensors.index.json README.md"),
    "a trainer's output": Layout(
        f"config.json {TOKENIZER} model.safetensors trainer_state.json",
        "training_args.bin optimizer.pt scheduler.pt rng_state_0.pth checkpoint-500/model.safetensors "
        "checkpoint-500/optimizer.pt checkpoint-500/config.json",
    ),
    "one GGUF": Layout("config.json Model-Q4_K_M.gguf README.md"),
    "one GGUF in parts, with its projector": Layout(
        f"{numbers('UD-Q4_K_XL/Model-UD-Q4_K_XL', 3, 'gguf')} mmproj-F16.gguf README.md"
    ),
    "stable-diffusion, as pipelines load it": Layout(
        "model_index.json unet/config.json unet/diffusion_pytorch_model.safetensors vae/config.json "
        "vae/diffusion_pytorch_model.safetensors text_encoder/config.json text_encoder/model.safetensors "
        "tokenizer/vocab.json scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.fp16.safetensors "
        "text_encoder/pytorch_model.bin text_encoder/model.fp16.safetensors vae/diffusion_pytorch_model.bin",
    ),
    "safetensors without an index": Layout(f"config.json tokenizer.json {numbers('model', 3, 'safetensors')}"),
    "an unindexed file beside the indexed set": Layout(
        f"config.json tokenizer.json {numbers('model', 3, 'safetensors')} model.safetensors.index.json",
        "model.safetensors",
    ),
    "parts of other names, indexed or not": Layout(
        f"config.json vision_tower.safetensors {numbers('model', 2, 'safetensors')} model.safetensors.index.json "
        "draft/config.json draft/model.safetensors vocab.bin"
    ),
    "ONNX alone": Layout("config.json tokenizer.json onnx/model.onnx onnx/model_quantized.onnx"),
    "TensorFlow alone": Layout("config.json tokenizer.json tf_model.h5"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_model_is_taken_as_servers_load_it_and_once(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    write(tmp_path, [*layout.takes.split(), *layout.leaves.split()])
    if layout.pickle:
        with pytest.raises(InputError, match="run code when they are loaded"):
            opened(tmp_path)
    source = opened(tmp_path, pickle=layout.pickle)
    assert taken(source) == set(layout.takes.split())
    notes = [note for note in source.notes if note.startswith("left out")]
    assert len(notes) == (1 if layout.leaves else 0)


def test_what_is_left_out_is_said_with_its_size_and_the_way_to_have_it(tmp_path: Path) -> None:
    layout = LAYOUTS["gpt-oss-20b"]
    source = opened(write(tmp_path, [*layout.takes.split(), *layout.leaves.split()]))
    note = next(note for note in source.notes if note.startswith("left out"))
    assert "metal/, original/ (3 files)" in note
    assert "--allow '*' (a stack: files.allow)" in note
    assert "original/model.safetensors" in taken(opened(tmp_path, allow=("*",), pickle=True))


def test_who_allows_files_has_them_all_with_nothing_left_out(tmp_path: Path) -> None:
    write(tmp_path, ["config.json", "model.safetensors", "model.fp16.safetensors", "onnx/model.onnx"])
    assert taken(opened(tmp_path, allow=("onnx/", "config.json"))) == {"onnx/model.onnx", "config.json"}
    assert len(taken(opened(tmp_path, allow=("*",)))) == 4


def test_what_is_ignored_decides_what_is_a_copy(tmp_path: Path) -> None:
    write(tmp_path, ["config.json", "params.json", "model.safetensors", "consolidated.safetensors"])
    assert "consolidated.safetensors" not in taken(opened(tmp_path))
    assert "consolidated.safetensors" in taken(opened(tmp_path, ignore=("model.safetensors",)))


@pytest.mark.parametrize(
    ("names", "pattern", "size"),
    [
        (["M-Q4_K_M.gguf", "M-Q8_0.gguf", "M-imatrix.gguf"], "M-Q4_K_M.gguf", 1),
        (
            [*numbers("Q8_0/M-Q8_0", 2, "gguf").split(), *numbers("BF16/M-BF16", 3, "gguf").split()],
            "BF16/M-BF16-*-of-00003.gguf",
            3,
        ),
        (["a[1].gguf", "a[2].gguf"], "a[[]1].gguf", 1),
    ],
)
def test_of_several_gguf_models_one_is_chosen_by_the_pattern_that_is_printed(
    tmp_path: Path, names: list[str], pattern: str, size: int
) -> None:
    write(tmp_path, [*names, "config.json"])
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert "holds 2 GGUF models, and a server loads one" in str(caught.value)
    assert f"'{pattern}'" in str(caught.value)
    assert "--allow '*.json'" in str(caught.value)
    assert len(taken(opened(tmp_path, allow=(pattern,)))) == size


def test_an_indexed_set_with_a_gap_does_not_give_way_to_what_looks_like_its_copy(tmp_path: Path) -> None:
    write(tmp_path, ["config.json", *numbers("model", 2, "safetensors").split(), "model.safetensors.index.json"])
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(b"whole"))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"names the shard model-00002-of-00002\.safetensors, but it is not there"):
        opened(tmp_path)


def test_a_file_that_was_left_out_may_change_while_the_rest_is_packed(tmp_path: Path) -> None:
    write(tmp_path, ["config.json", "model.safetensors", "pytorch_model.bin"])
    source = opened(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"other")
    source.verify()


def test_a_commit_of_the_hub_is_judged_by_few_requests_and_no_weights_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = LAYOUTS["all-MiniLM-L6-v2"]
    names = [*layout.takes.split(), *layout.leaves.split()]
    with FakeHub() as fake:
        fake.add("org/name", {name: content(name, names) for name in names} | {"model.bin": PICKLE * 1000})
        fake.used_by(monkeypatch, tmp_path)
        source = open_source(f"hf://org/name@{COMMIT}", Selection(), Patience())
        assert taken(source) == set(layout.takes.split())
        asked = {one.path.rpartition("/")[2].partition("?")[0] for one in fake.reads("")}
    assert asked == {"model.bin"}, "the name alone says nothing"
