"""What no server could load, told of each file by its own content and of a model by what it holds and lacks.

Of a file on a disk all of these are looked at. Of an object in a bucket only what costs a small request each: the
three documents that every server reads first, the heads of GGUF files, and what is as small as a git-lfs pointer. Of a
commit at the hub the sizes and names alone: its content is what its publisher uploaded, and is held against its hash
when it is read.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from modelimage import remedies
from modelimage.errors import ImageError
from modelimage.gguf_header import cut_short
from modelimage.sensitive import secret_in
from modelimage.source import SourceFile
from modelimage.weights import HeaderCheck, is_weights
from oci_model_serving.errors import InputError

_POINTER_BYTES = 1024
"""A git-lfs pointer is smaller (git-lfs, docs/spec.md), and begins with its version."""
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")

_DOCUMENTS = frozenset(
    {
        *(
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        ),
        *("added_tokens.json", "vocab.json", "preprocessor_config.json", "processor_config.json", "params.json"),
        *("chat_template.json", "adapter_config.json", "modules.json", "model_index.json", "tekken.json"),
        *(
            "sentence_bert_config.json",
            "config_sentence_transformers.json",
            "quantize_config.json",
            "hf_quant_config.json",
        ),
        *("video_preprocessor_config.json",),
    }
)
_FIRST_READ = frozenset({"config.json", "tokenizer.json", "tokenizer_config.json"})
_DOCUMENT_LIMIT_BYTES = 64 << 20
_REMOTE_DOCUMENT_BYTES = 1 << 20
_HEAD_BYTES = 4096
_PAGES = frozenset({".html", ".htm", ".md", ".xml", ".svg", ".jinja", ".j2", ".txt", ".rst", ".template"})
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<head)", re.IGNORECASE)
_NEVER_EMPTY = frozenset({"tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "merges.txt"})
_GGUF_VERSIONS = range(1, 4)
_GGUF_HEADER_BYTES = 24
_UNFINISHED = (".incomplete", ".aria2", ".part", ".partial", ".crdownload", ".download", ".tmp", ".opdownload")
CONFIGS = re.compile(
    r"config\.json|params\.json|model_index\.json|modules\.json|open_clip_config\.json|config\.ya?ml|config\.cfg"
    r"|hyperparams\.yaml|model_config\.yaml|MLmodel|config\.pbtxt|adapter_config\.json"
)
_SNAPSHOT = re.compile(r"((?:(?:[^/]+/)*models--[^/]+/)?snapshots/[0-9a-f]{40})/.+")
_SHOWN = 5
_AGAIN = "fetch it again"
_CONFIG_READERS = re.compile(r".*\.safetensors|pytorch_model.*\.bin")


def file_problems(file: SourceFile, allow: Sequence[str]) -> list[str]:
    """Tell what is wrong with a file that was chosen; `allow` are the patterns that the user chose with."""
    try:
        if found := _damage(file, file.path.rpartition("/")[2]):
            return [f"{file.path}: {found}, or {remedies.leave_out(file.path)}"]
        if file.path not in allow and (what := secret_in(file)):
            named = remedies.take("*", remedies.pattern(file.path))
            return [
                f"{file.path}: {what}: an image gives it to all who may pull it: take it out of the folder, "
                f"{remedies.leave_out(file.path)}, or name it beside the others: {named}"
            ]
    except InputError as error:
        return list(error.problems)
    except ImageError as error:
        if file.local is None:
            raise
        return [f"{error}: allow it for this user, or {remedies.leave_out(file.path)}"]
    return []


def _damage(file: SourceFile, name: str) -> str:
    """What is wrong with the file and how to mend it; empty for nothing."""
    if name.endswith(_UNFINISHED):
        return "a download under way or broken off: let it end, or fetch the model again"
    if file.size == 0:
        needed = name in _DOCUMENTS or name in _NEVER_EMPTY or is_weights(name)
        return f"is empty: {_AGAIN}" if needed else ""
    small = file.size < _POINTER_BYTES and (is_weights(name) or name.endswith(".model"))
    if file.local is None and (file.published or not (small or file.path in _FIRST_READ or name.endswith(".gguf"))):
        return ""
    limit = _DOCUMENT_LIMIT_BYTES if file.local is not None else _REMOTE_DOCUMENT_BYTES
    head = file.head(file.size if name in _DOCUMENTS and file.size <= limit else _HEAD_BYTES)
    what = ""
    if file.size < _POINTER_BYTES and head.startswith(_POINTERS):
        what = "a git-lfs pointer, not the file itself: run `git lfs pull` where it was cloned"
    elif _PAGE.match(head) and PurePosixPath(name).suffix.lower() not in _PAGES:
        kind = "not JSON but " if name.endswith(".json") else ""
        what = f"is {kind}an HTML page, as a proxy's error or a login is: {_AGAIN}"
    elif name in _DOCUMENTS and not _is_document(file, head):
        what = f"is not JSON: {_AGAIN}"
    elif name.endswith(".gguf") and (broken := gguf_problem(file, head)):
        what = f"not a whole GGUF file: {broken}: {_AGAIN}"
    elif name.endswith(".safetensors") and file.local is not None:
        check = HeaderCheck(file.path, file.size)
        check.feed(head)
        if check.needed > len(head):
            check.feed(file.head(check.needed)[len(head) :])
    return what


def _is_document(file: SourceFile, head: bytes) -> bool:
    """Tell whether a document is JSON: all of it, or by its first letter if it is too large to be read for that."""
    if file.size > len(head):
        return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}
    try:
        return isinstance(json.loads(head), dict | list)
    except (ValueError, RecursionError):
        return False


def gguf_problem(file: SourceFile, head: bytes) -> str:
    """What is wrong with a GGUF file: its magic, its version, and on a disk where it ends; empty for nothing."""
    version = int.from_bytes(head[4:8], "little")
    if head[:4] != b"GGUF":
        return "it does not begin with GGUF"
    if version not in _GGUF_VERSIONS and int.from_bytes(head[4:8], "big") not in _GGUF_VERSIONS:
        return f"its version is {version}"
    if file.size < _GGUF_HEADER_BYTES:
        return f"it has only {file.size} bytes"
    return cut_short(file) if file.local is not None else ""


def is_adapter(paths: Collection[str]) -> bool:
    """Tell whether files are a LoRA adapter alone: peft's two files, and no other weights beside them."""
    top = [path for path in paths if "/" not in path]
    weights = [path for path in top if is_weights(path)]
    return "adapter_config.json" in top and bool(weights) and all(path.startswith("adapter_model") for path in weights)


def model_problems(uri: str, files: Sequence[SourceFile], listed: Iterable[str], *, adapter: bool) -> list[str]:
    """Tell what a model lacks as a whole: it is an adapter alone, or has no configuration."""
    paths = [file.path for file in files]
    names = {path.rpartition("/")[2] for path in paths}
    weights = [path for path in paths if is_weights(path)]
    adapters = [
        path for path in paths if "adapter_model" in path and path.rpartition("/")[2].startswith("adapter_model")
    ]
    base = [path for path in weights if path not in adapters]
    if adapter:
        if is_adapter(paths):
            return []
        return [
            f"{uri}: is no adapter: it needs adapter_config.json and adapter_model.safetensors: give the folder "
            f"of one, or pack a model without --adapter (a stack: as a model's own source)"
        ]
    if adapters and not base:
        return [
            f"{uri}: is an adapter, and its base model's weights are not there: serve it with its base model "
            f"(the model's key `adapters`), or pack it by itself with --adapter"
        ]
    if not any(_CONFIG_READERS.fullmatch(path) for path in weights) or any(CONFIGS.fullmatch(name) for name in names):
        return []
    absent = "--ignore leaves it out" if "config.json" in set(listed) else "it is not there: fetch it"
    return [f"{uri}: no server could tell what its weights are: config.json is needed, and {absent}"]


def cache_problem(uri: str, paths: Iterable[str]) -> str:
    """Tell that a source is huggingface_hub's cache, of one model or of all, and where the models in it are."""
    cached = sorted({match[1] for path in paths if (match := _SNAPSHOT.fullmatch(path))})
    if not cached:
        return ""
    folders = " or ".join(f"{uri.rstrip('/')}/{snapshot}" for snapshot in cached[:_SHOWN])
    return f"{uri}: is the hub's cache, not the folder of a model: give {folders}"
