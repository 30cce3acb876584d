"""What no server could load, and what nobody means to give away, is refused before anything is packed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from modelimage import pack
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.rules import check_names
from modelimage.source import Selection, Source
from oci_model_serving.errors import InputError
from tests.modelimage.test_gguf_header import write_gguf
from tests.weights import safetensors_bytes

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 4976698672\n"
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"
KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\n" * 3 + "-----END PRIVATE KEY-----\n"
TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF2g"


def opened(folder: Path, allow: tuple[str, ...] = (), ignore: tuple[str, ...] = (), adapter: bool = False) -> Source:
    return open_source(str(folder), Selection(allow, ignore, adapter=adapter), Patience())


def refused(folder: Path, allow: tuple[str, ...] = (), ignore: tuple[str, ...] = (), adapter: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, allow, ignore, adapter)
    return str(caught.value)


# Files that are not what they should be


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "config.json", "tokenizer.model", "vocab.txt", "model-00001-of-00003.safetensors"]
)
def test_a_pointer_of_git_lfs_is_told_under_any_name(model: Path, name: str) -> None:
    (model / name).write_bytes(POINTER)
    assert f"{name}: a git-lfs pointer, not the file itself: run `git lfs pull`" in refused(model)


def test_a_text_about_pointers_is_none(model: Path) -> None:
    (model / "README.md").write_bytes(POINTER + b"is how such a file begins\n" * 100)
    (model / "notes.txt").write_bytes(b"see version https://git-lfs.github.com/spec/v1")
    opened(model)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "nested/config.json"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (PAGE, "is not JSON but an HTML page"),
        (b"{", "is not JSON"),
        (b'"text"', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_document_that_servers_read_must_be_one(model: Path, name: str, content: bytes, what: str) -> None:
    (model / name).write_bytes(content)
    message = refused(model)
    assert f"{name}: {what}" in message
    assert f"--ignore '{name}'" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'\xef\xbb\xbf{"model_type": "qwen2"}'),
        ("generation_config.json", b'{"temperature": NaN}'),
        ("modules.json", b"[]"),
        ("train_results.json", b"not read by any server"),
        ("added_tokens.json", b"{}\n\n"),
        ("page.html", PAGE),
        ("README.md", PAGE),
        ("chat_template.jinja", b"<html>{{ messages }}"),
        ("empty.txt", b""),
        ("__init__.py", b""),
    ],
)
def test_documents_of_all_other_kinds_pass(model: Path, name: str, content: bytes) -> None:
    (model / name).write_bytes(content)
    assert name in {file.path for file in opened(model).files}


@pytest.mark.parametrize("name", ["model.onnx", "model-Q4_K_M.gguf", "tokenizer.model"])
def test_a_page_in_place_of_a_binary_is_told_as_such(model: Path, name: str) -> None:
    (model / name).write_bytes(PAGE)
    message = refused(model, ignore=("*.safetensors*",) if name.endswith((".onnx", ".gguf")) else ())
    assert f"{name}: is an HTML page" in message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"GGML" + bytes(40), "it does not begin with GGUF"),
        (b"GGUF\x09\x00\x00\x00" + bytes(40), "its version is 9"),
        (b"GGUF\x03\x00\x00\x00", "it has only 8 bytes"),
        (b"", "is empty"),
    ],
)
def test_a_gguf_file_must_begin_as_one(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert what in refused(tmp_path)


def test_a_big_endian_gguf_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF\x00\x00\x00\x03" + bytes(16))
    opened(tmp_path)


@pytest.mark.parametrize("cut", [1, 64 * 34 * 4, 100_000])
def test_a_gguf_file_that_is_cut_short_is_told_and_a_whole_one_passes(tmp_path: Path, cut: int) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    opened(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] if cut < len(whole) else whole[:100])
    message = refused(tmp_path)
    assert "m.gguf: not a whole GGUF file" in message
    assert "fetch it again" in message


def test_what_is_not_known_of_a_gguf_file_is_not_taken_for_damage(tmp_path: Path) -> None:
    """A vocabulary without tensors, a version before ours, and a type of values that is newer."""
    text = b"\x01\x00\x00\x00\x00\x00\x00\x00k"
    for name, content in {
        "vocabulary": b"GGUF\x03\x00\x00\x00" + bytes(16),
        "old": b"GGUF\x01\x00\x00\x00" + b"\x01\x00\x00\x00" * 2 + bytes(40),
        "newer": b"GGUF\x03\x00\x00\x00" + (1).to_bytes(8, "little") * 2 + text + b"\x63\x00\x00\x00" + bytes(40),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "m.gguf").write_bytes(content)
        opened(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors.incomplete", "a.aria2", "b.part", "c.crdownload", "d.download", "e.tmp", "f.partial"]
)
def test_what_is_left_of_a_download_is_refused_unless_it_is_ignored(model: Path, name: str) -> None:
    (model / name).write_bytes(b"half")
    assert f"{name}: a download under way or broken off" in refused(model)
    opened(model, ignore=(name,))


# Models that lack something


def whole(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(safetensors_bytes(name.encode()) if name.endswith(".safetensors") else b"{}")
    return folder


def test_weights_without_a_configuration_are_refused_and_an_ignored_one_is_told_as_such(tmp_path: Path) -> None:
    folder = whole(tmp_path / "m", "model.safetensors", "tokenizer.json")
    assert "config.json is needed, and it is not there" in refused(folder)
    whole(folder, "config.json")
    assert "--ignore leaves it out" in refused(folder, ignore=("config.json",))
    notes = opened(folder, allow=("*.safetensors",)).notes
    assert any("config.json is needed" in note for note in notes), "who chooses the files may have it elsewhere"


@pytest.mark.parametrize(
    "names",
    [
        ("params.json", "consolidated.safetensors"),
        ("model_index.json", "unet/diffusion_pytorch_model.safetensors"),
        ("open_clip_config.json", "open_clip_model.safetensors"),
        ("modules.json", "0_Transformer/config.json", "0_Transformer/model.safetensors"),
        ("llm/config.json", "llm/model.safetensors"),
        ("config.yaml", "model.safetensors"),
    ],
)
def test_models_of_other_kinds_need_no_config_json_at_their_root(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert len(opened(whole(tmp_path / "m", *names)).files) == len(names)


def test_an_adapter_alone_is_refused_with_both_ways_and_packed_as_one(tmp_path: Path) -> None:
    folder = whole(tmp_path / "m", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json")
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")
    message = refused(folder)
    assert "is an adapter, and its base model's weights are not there" in message
    assert "`adapters`" in message
    assert "--adapter" in message
    assert "training_args.bin" not in {file.path for file in opened(folder, adapter=True).files}
    assert pack(str(folder), f"oci:{tmp_path / 'image'}", adapter=True).digest


def test_an_adapter_beside_its_base_is_a_model_and_a_model_is_no_adapter(tmp_path: Path) -> None:
    folder = whole(
        tmp_path / "m", "config.json", "model.safetensors", "adapter_config.json", "adapter_model.safetensors"
    )
    opened(folder)
    assert "is no adapter" in refused(whole(tmp_path / "n", "config.json", "model.safetensors"), adapter=True)


# Sets of shards


def test_shards_without_an_index_are_counted_by_their_names(tmp_path: Path) -> None:
    folder = whole(tmp_path / "m", "config.json", *(f"model-0000{n}-of-00004.safetensors" for n in (1, 3, 4)))
    message = refused(folder)
    assert "the names count 4 files and number 2 is missing" in message
    assert "--ignore 'model-*-of-00004.safetensors'" in message
    whole(folder, "model-00002-of-00004.safetensors")
    opened(folder)


@pytest.mark.parametrize("numbers", [range(1, 4), range(3), range(4)])
def test_publishers_count_from_one_or_from_zero(tmp_path: Path, numbers: range) -> None:
    opened(whole(tmp_path / "m", "config.json", *(f"model-0000{n}-of-00003.safetensors" for n in numbers)))


def test_a_number_that_is_there_twice_and_one_beyond_the_count_are_told(tmp_path: Path) -> None:
    twice = ("model-00001-of-00002.safetensors", "model-1-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert "have the same number" in refused(whole(tmp_path / "m", "config.json", *twice))
    beyond = (
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model-00003-of-00002.safetensors",
    )
    assert "count 2 files and there are others" in refused(whole(tmp_path / "n", "config.json", *beyond))


def test_two_sets_of_one_model_without_an_index_are_told(tmp_path: Path) -> None:
    sets = [f"model-0000{n}-of-0000{count}.safetensors" for count in (2, 3) for n in range(1, count + 1)]
    message = refused(whole(tmp_path / "m", "config.json", *sets))
    assert "'model-*-of-00002.safetensors' and 'model-*-of-00003.safetensors': are sets of one model" in message


def test_an_index_may_not_name_what_lies_outside_its_folder(model: Path) -> None:
    names = {"a": "../other.safetensors", "b": "/etc/passwd", "c": "model-00001-of-00003.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert "names '../other.safetensors', '/etc/passwd', which is not below its folder" in refused(model)


def test_an_index_of_pickles_is_held_against_them(tmp_path: Path) -> None:
    folder = whole(tmp_path / "m", "config.json")
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"\x80\x04.")
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert "names the shard pytorch_model-00002-of-00002.bin, but it is not there" in refused(folder)


def test_of_many_missing_shards_the_first_are_named_and_a_foreign_index_may_be_left_out(tmp_path: Path) -> None:
    folder = whole(tmp_path / "m", "config.json", "model.safetensors")
    names = {str(n): f"model-{n:05d}-of-00030.safetensors" for n in range(1, 31)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    message = refused(folder)
    assert "names 25 more shards" in message
    assert "--ignore 'model.safetensors.index.json'" in message
    opened(folder, ignore=("model.safetensors.index.json",))


# Secrets


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("id_rsa", KEY.replace("PRIVATE", "OPENSSH PRIVATE"), "a private key"),
        ("notes/deploy.txt", KEY, "a private key"),
        ("download.py", f"login(token='{TOKEN}')", "a Hugging Face token"),
        ("token", TOKEN, "a Hugging Face token"),
        ("sync.sh", "export AWS_ACCESS_KEY_ID=AKIAQ7RZT5NM2WPC6LJD\n", "an AWS access key"),
        ("push.sh", "git push https://ghp_" + "a1B2c3D4e5F6g7H8j9" * 2 + "@host/x", "a GitHub token"),
        (
            "key.json",
            json.dumps({"type": "service_account", "private_key": "x", "client_email": "a@b"}),
            "a Google account's key",
        ),
        (
            "adc.json",
            json.dumps({"type": "authorized_user", "refresh_token": "1//x", "client_secret": "y"}),
            "a Google account's key",
        ),
        ("netrc", "machine hub.example\n  login me\n  password hunter2hunter2\n", "a netrc file"),
        ("kube.yaml", "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: abc\n", "a kubeconfig"),
        ("prod.env", "HF_TOKEN=abcdefghijklmn\n", "sets a password or token"),
    ],
)
def test_a_key_or_a_token_is_refused_unless_it_is_named(model: Path, name: str, content: str, what: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text(content)
    message = refused(model)
    assert f"{name}: " in message
    assert what in message
    assert content.strip()[-20:] not in message, "the secret itself is not told"
    opened(model, ignore=(name,))
    opened(model, allow=("*", name))
    assert what in refused(model, allow=("*",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "HF_TOKEN=hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx vllm serve"),
        ("README.md", "export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE"),
        ("README.md", "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----"),
        ("README.md", "a service_account with a refresh_token"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\n" + "MIIDdzCCAl+gAwIBAgIE\n" * 20 + "-----END CERTIFICATE-----\n"),
        ("example.env", "HF_TOKEN=<your token>\nPASSWORD=\n"),
        ("special_tokens_map.json", '{"eos_token": "</s>", "pad_token": "<pad>"}'),
        ("vocab.txt", "token\npassword\nsecret\nhf_token\nsk-learn-is-a-library-for-machine-learning-in-python-2\n"),
        ("deploy.yaml", "kind: ConfigMap\ndata:\n  token: abc\n"),
    ],
)
def test_a_text_that_only_speaks_of_keys_is_none(model: Path, name: str, content: str) -> None:
    (model / name).write_text(content)
    opened(model)


def test_a_key_that_a_tool_has_made_is_found(model: Path) -> None:
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(model / "a.txt")], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs openssl")
    subprocess.run(
        ["openssl", "genrsa", "-traditional", "-out", str(model / "b.txt"), "2048"], check=True, capture_output=True
    )
    message = refused(model)
    assert "a.txt: holds a private key" in message
    assert "b.txt: holds a private key" in message


# Names


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("a\nb.json", "holds control characters"),
        ("folder\x1b[2J/x", "holds control characters"),
        ("a\x85b", "holds control characters"),
        ("x" * 256, "has 256 bytes, more than 255"),
        ("folder/" + "ü" * 128, "has 256 bytes"),
    ],
)
def test_a_name_that_no_image_or_terminal_bears_is_refused_with_a_pattern_that_matches_it(path: str, what: str) -> None:
    problems = check_names("gs://bucket", [path])
    assert what in problems[0]
    assert problems[0].isprintable()
    pattern = problems[0].split("--ignore '")[1].split("'")[0]
    assert not Selection(ignore=(pattern,)).takes(path)


@pytest.mark.parametrize("path", ["x" * 255, "modèle.json", "模型/权重.bin", "a b.json", "x" * 200 + "/" + "y" * 200])
def test_long_and_foreign_names_that_fit_pass(path: str) -> None:
    assert check_names("gs://bucket", [path]) == []


def test_all_that_is_wrong_is_told_at_once(model: Path) -> None:
    (model / "tokenizer.json").write_bytes(POINTER)
    (model / "config.json").write_bytes(PAGE)
    (model / "a.part").write_bytes(b"half")
    (model / "id_rsa").write_text(KEY)
    (model / "bin").write_text("x")
    (model / "model-00002-of-00003.safetensors").unlink()
    assert len(refused(model).splitlines()) == 6
