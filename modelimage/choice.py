"""Which files go into an image where nobody says: what a server loads, and that once.

Publishers put the same weights into a repository several times: Mistral's as `consolidated*.safetensors` beside the
indexed set, Meta's and OpenAI's in `original/` and `metal/`, and many as pickles or for other frameworks. vLLM reads
`consolidated*.safetensors` alone where there are any, else `*.safetensors` of which an index leaves only those that it
names, else `*.bin`, then `*.pt` (v0.23.0, model_executor/model_loader/default_loader.py and weight_utils.py); what it
would not read, or would read twice, is left out. A copy is left out only where the better one lies in the same folder
or above it: what is published in one form alone stays.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cache

from modelimage import remedies
from modelimage.progress import readable
from modelimage.shards import ShardIndex, numbered
from modelimage.source import SourceFile
from modelimage.weights import INDEX_SUFFIX, is_gguf_model

_COPY_FOLDERS = frozenset({"original", "metal", "onnx", "openvino", "coreml", "tflite"})
_OTHER_FRAMEWORKS = (
    *("tf_model*.h5", "tf_model*.h5.index.json", "flax_model*.msgpack", "flax_model*.msgpack.index.json"),
    *("rust_model.ot", "*.onnx", "*.onnx_data", "*.onnx.data", "openvino_*model*.bin", "openvino_*model*.xml"),
    *("*.tflite", "*.mlmodel"),
)
_TRAINING = (
    *("optimizer*.pt", "optimizer*.bin", "scheduler.pt", "scaler.pt", "rng_state*.pth", "training_args.bin"),
    *("*.distcp", "mp_rank_*_states.pt", "*_optim_states.pt"),
)
_TRAINING_FOLDERS = re.compile(r"checkpoint-\d+|global_step\d+")
_PICKLES = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "consolidated*.pth")
_SPEAKING = (*_TRAINING, *_OTHER_FRAMEWORKS, "model*", "*pytorch_model*", "consolidated*")
"""Names that may tell a copy; any other file is one by its folder, its format or its content alone."""
_MODEL = re.compile(r"(pytorch_)?model\b.*\.safetensors|consolidated.*\.safetensors")
_VARIANT = re.compile(
    r"(?P<stem>(?:diffusion_pytorch_|pytorch_)?model)(?:\.(?P<kind>safetensors|bin)\.index)?"
    r"\.(?P<variant>fp16|fp32|bf16|non_ema)(?:-\d+-of-\d+)?(?:\.(?:safetensors|bin|json))"
)
_NAMED_QUANTISATIONS = 40


@dataclass(frozen=True)
class Choice:
    """The files that are taken, a line on those that are not, and what only the user can decide."""

    files: tuple[SourceFile, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def what_servers_load(
    uri: str,
    files: Sequence[SourceFile],
    pickled: Callable[[SourceFile], bool],
    indexed: Callable[[SourceFile], ShardIndex | None],
) -> Choice:
    """Choose among the files of a model.

    `pickled` tells whether a file is a pickle, and is asked where names do not; `indexed` reads an index.
    """
    left: dict[str, SourceFile] = {}
    folders = _Folders(files, indexed)
    for file in files:
        if folders.is_copy(file, pickled):
            left[file.path] = file
    taken = tuple(file for file in files if file.path not in left)
    problems = _quantisation_problems(uri, taken)
    notes = (_line(list(left.values())),) if left else ()
    return Choice(taken, notes, tuple(problems))


class _Folders:
    """What lies in which folder, and so which files are second copies."""

    def __init__(self, files: Sequence[SourceFile], indexed: Callable[[SourceFile], ShardIndex | None]) -> None:
        self._names: dict[str, set[str]] = defaultdict(set)
        self._indexes: dict[str, list[ShardIndex]] = defaultdict(list)
        # Of each folder, since one may hold tens of thousands of files.
        self._formats: dict[str, str] = {}
        self._alike: dict[str, bool | None] = {}
        self._nearest: dict[str, str | None] = {}
        for file in files:
            folder, name = _split(file.path)
            self._names[folder].add(name)
            if name.endswith(INDEX_SUFFIX) and not name.startswith("consolidated"):
                index = indexed(file)
                if index is not None:
                    self._indexes[folder].append(index)

    def is_copy(self, file: SourceFile, pickled: Callable[[SourceFile], bool]) -> bool:
        """Tell whether a server leaves the file alone, since what it holds is there in a better form."""
        folder, name = _split(file.path)
        if folder not in self._alike:
            self._alike[folder] = self._of_all_in(folder)
        alike = self._alike[folder]
        if alike is not None:
            return alike
        if _is_any(name, _SPEAKING) and self._is_named_as_copy(folder, name):
            return True
        return self._is_worse_format(file, folder, name, pickled)

    def _of_all_in(self, folder: str) -> bool | None:
        """What is so of all files in a folder, whatever their names; None where names count."""
        if not any(self._has_weights(above) for above in _upwards(folder)):
            return False  # no weights lie in it or above it
        top = folder.split("/", 1)[0].lower()
        copies = self._has_weights("") and (top in _COPY_FOLDERS or _TRAINING_FOLDERS.fullmatch(top))
        return True if folder and copies else None

    def _is_named_as_copy(self, folder: str, name: str) -> bool:
        if _is_any(name, _TRAINING) or (self._has_weights(folder) and _is_any(name, _OTHER_FRAMEWORKS)):
            return True
        return self._is_other_set(folder, name)

    def _is_other_set(self, folder: str, name: str) -> bool:
        """Tell of the same format whether it is another set of the same weights: unindexed, Mistral's, a precision."""
        names, indexes = self._names[folder], self._indexes[folder]
        variant = _VARIANT.fullmatch(name)
        if variant:
            plain = re.compile(rf"{variant['stem']}(-\d+-of-\d+)?\.(safetensors|bin)")
            return any(plain.fullmatch(other) for other in names)
        if name.startswith("consolidated") and name.endswith((".safetensors", INDEX_SUFFIX)):
            others = {other for other in names if other.startswith("model") and other.endswith(".safetensors")}
            return "config.json" in names and (bool(others) or any(index.names & names for index in indexes))
        if indexes and _MODEL.fullmatch(name):
            # Only where the indexed set is there: an index without its shards is what is told instead.
            named = set().union(*(index.names for index in indexes))
            return bool(named) and name not in named and named <= names
        single = name == "pytorch_model.bin" and "pytorch_model.bin.index.json" in names
        return single and any(fnmatchcase(other, "pytorch_model-*-of-*.bin") for other in names)

    def _is_worse_format(self, file: SourceFile, folder: str, name: str, pickled: Callable[[SourceFile], bool]) -> bool:
        better = self._better(folder)
        if better is None:
            return _is_any(name, ("consolidated*.pth",)) and any(
                fnmatchcase(other, "pytorch_model*.bin") for other in self._names[folder]
            )
        if name.endswith((".safetensors", INDEX_SUFFIX)):
            return False
        if name.endswith(".gguf"):
            return self._format(better) == "safetensors"
        if better != folder and "config.json" in self._names[folder]:
            return False  # a part of its own, as sentence-transformers' 2_Dense
        return _is_any(name, _PICKLES) or pickled(file)

    def _better(self, folder: str) -> str | None:
        """The nearest folder, upwards, that holds weights in a format that servers prefer."""
        if folder not in self._nearest:
            good = (above for above in _upwards(folder) if self._format(above) in {"safetensors", "gguf"})
            self._nearest[folder] = next(good, None)
        return self._nearest[folder]

    def _has_weights(self, folder: str) -> bool:
        return self._format(folder) != ""

    def _format(self, folder: str) -> str:
        if folder not in self._formats:
            self._formats[folder] = _best_format(self._names.get(folder, set()))
        return self._formats[folder]


def _best_format(names: set[str]) -> str:
    """The best format of weights among a folder's names; an adapter's file is of those only where there is no other."""
    if any(name.endswith(".safetensors") and not name.startswith("adapter_model") for name in names):
        return "safetensors"
    if any(is_gguf_model(name) for name in names):
        return "gguf"
    if any(fnmatchcase(name, "pytorch_model*.bin") for name in names):
        return "pickle"
    return "safetensors" if "adapter_model.safetensors" in names else ""


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def _upwards(folder: str) -> Iterable[str]:
    while folder:
        yield folder
        folder = _split(folder)[0]
    yield ""


def _is_any(name: str, patterns: tuple[str, ...]) -> bool:
    return _one_of(patterns).match(name) is not None


@cache
def _one_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


def _line(left: Sequence[SourceFile]) -> str:
    groups: dict[str, int] = defaultdict(int)
    for file in left:
        top, separator, _ = file.path.partition("/")
        groups[f"{top}/" if separator else top] += 1
    names = [name + (f" ({count} files)" if count > 1 else "") for name, count in sorted(groups.items())]
    size = readable(sum(file.size for file in left))
    return f"left out, for no server loads them ({size}): {remedies.shown(names, 8)}; {remedies.take('*')} takes all"


def _quantisation_problems(uri: str, files: Sequence[SourceFile]) -> list[str]:
    groups: dict[str, int] = defaultdict(int)
    for file in files:
        if is_gguf_model(file.path):
            shard = numbered(file.path)
            groups[shard.pattern if shard else remedies.pattern(file.path)] += file.size
    if len(groups) < 2:
        return []
    listed = sorted(groups.items(), key=lambda group: (group[1], group[0]))[:_NAMED_QUANTISATIONS]
    names = ", ".join(f"{remedies.quoted(pattern)} ({readable(size)})" for pattern, size in listed)
    more = f" and {len(groups) - len(listed)} more" if len(groups) > len(listed) else ""
    beside = [pattern for pattern in ("*mmproj*", "*.json") if any(fnmatchcase(file.path, pattern) for file in files)]
    also = f", and its other files with {remedies.take(*beside)}" if beside else ""
    return [
        f"{uri}: holds {len(groups)} GGUF models, and a server loads one: take it with {remedies.take(listed[0][0])}"
        f"{also}; there are {names}{more}"
    ]
