"""What a server must be told of an image: it follows from the files, so nobody need write it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from modelimage import architecture
from modelimage.architecture import Task
from modelimage.shards import numbered
from modelimage.source import SourceFile
from modelimage.weights import is_gguf_model

_CONFIG = "config.json"
_ADAPTER_CONFIG = "adapter_config.json"
_CONFIG_LIMIT_BYTES = 16 << 20
_TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model"})
_STREAMED = ("ForCausalLM", "ForConditionalGeneration")
"""How vLLM's classes end whose weights are all in the files that a loader is given; some others fetch a part of theirs
by the default loader alone (`secondary_weights` of Ultravox, and of BGE-M3, whose part is a pickle)."""


@dataclass(frozen=True)
class Traits:
    """What the files of an image say to a server; the defaults are those of a version that said nothing.

    Attributes:
        task: what the model is for (`architecture.Task`).
        architecture: the first that its `config.json` names; empty where it names none.
        weights_file: the one file that a server is pointed at, below the model's root: a GGUF, or the first part of one
            that was split; empty where a server takes the folder.
        has_tokenizer: whether a tokenizer lies in the model's root, with what tells its kind.
        has_config: whether a `config.json` does.
        lora_rank: the largest rank of a LoRA adapter; 0 of anything else.
        streams: whether Run:ai's streamer loads it as the default loader does: it reads every safetensors file of the
            root, whatever an index says (vllm#40765), so that these must be one set; and it is no loader of
            bitsandbytes.
    """

    task: str = Task.GENERATION.value
    architecture: str = ""
    weights_file: str = ""
    has_tokenizer: bool = False
    has_config: bool = False
    lora_rank: int = 0
    streams: bool = False


def traits_of(files: Iterable[SourceFile]) -> Traits:
    """What the files of a source say.

    Raises:
        ImageError: a configuration cannot be read.
    """
    by_path = {file.path: file for file in files}
    return read_traits(by_path, lambda path: _head(by_path[path]))


def config_of(files: Iterable[SourceFile]) -> bytes:
    """The model's `config.json`; empty where there is none.

    Raises:
        ImageError: it cannot be read.
    """
    return next((_head(file) for file in files if file.path == _CONFIG), b"")


def read_once(file: SourceFile, config: bytes) -> SourceFile:
    """The file, or what `config_of` has read of it already."""
    return SourceFile.of(file.path, config) if file.path == _CONFIG else file


def _head(file: SourceFile) -> bytes:
    return file.head(_CONFIG_LIMIT_BYTES) if file.size <= _CONFIG_LIMIT_BYTES else b""


def read_traits(paths: Collection[str], read: Callable[[str], bytes]) -> Traits:
    """What files say, wherever they lie.

    Args:
        paths: of all of them, below the model's root.
        read: the content of one of them, which is a configuration; nothing of one that is too large to be one.
    """

    def content(path: str) -> bytes:
        return read(path) if path in paths else b""

    config = content(_CONFIG)
    model = architecture.read(config, paths)
    return Traits(
        task=model.task.value,
        architecture=model.name,
        weights_file=_weights_file(sorted(paths)),
        has_tokenizer=not _TOKENIZERS.isdisjoint(paths) and not {"tokenizer_config.json", _CONFIG}.isdisjoint(paths),
        has_config=_CONFIG in paths,
        lora_rank=_rank(content(_ADAPTER_CONFIG)),
        streams=_is_one_set(paths) and model.name.endswith(_STREAMED) and _is_plain(config),
    )


def _is_one_set(paths: Collection[str]) -> bool:
    """Whether the safetensors files of the root are one file, or the numbered parts of one set."""
    found = [path for path in paths if path.endswith(".safetensors") and "/" not in path]
    places = [place for path in found if (place := numbered(path))]
    if not found or any(path.startswith(("consolidated", "adapter_model")) for path in found):
        return False
    if not places:
        return len(found) == 1
    counted_from_0 = any(place.number == 0 for place in places)  # gpt-oss-20b's
    whole = places[0].count + counted_from_0
    return len(found) == len(places) == whole and len({place.pattern for place in places}) == 1


def _is_plain(config: bytes) -> bool:
    return architecture.quantisation(architecture.json_object(config)) != "bitsandbytes"


def _weights_file(paths: Sequence[str]) -> str:
    """The GGUF that a server is pointed at: the only one, whose parts count as one."""
    if any(path.endswith(".safetensors") for path in paths):
        return ""
    found = [path for path in paths if is_gguf_model(path)]
    first = [path for path in found if not (place := numbered(path)) or place.number == 1]
    return first[0] if len(first) == 1 else ""


def _rank(adapter_config: bytes) -> int:
    """The largest rank that an adapter's modules have (peft, LoraConfig: `r`, raised for some by `rank_pattern`)."""
    config = architecture.json_object(adapter_config)
    pattern = config.get("rank_pattern")
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    return max((rank for rank in ranks if isinstance(rank, int) and not isinstance(rank, bool)), default=0)
