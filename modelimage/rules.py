"""What every source must hold before it is packed, wherever it lies: names, shards, contents, no pickles unasked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

from modelimage import remedies
from modelimage.choice import what_servers_load
from modelimage.contents import cache_problem, file_problems, model_problems
from modelimage.errors import ImageError
from modelimage.pickles import is_pickle
from modelimage.shards import read_index, shard_problems
from modelimage.source import Selection, Source, SourceFile
from oci_model_serving.errors import InputError

_NAME_BYTES = 255  # of one part of a path: the limit of every file system that an image is unpacked on
_ALLOW = "pack them as they are with --pickle allow (a stack: files.pickle: allow)"
RESERVED_NAMES = frozenset(
    {"bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "linuxrc", "media", "mnt", "model", "models", "opt"}
    | {"proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
)
"""Top-level names whose link at the image's root would hide a folder of the base or of the container runtime."""


def accepted(source: Source, listed: Iterable[str], selection: Selection, problems: Sequence[str] = ()) -> Source:
    """The source with the files that go into the image and notes on what it holds, if it can be packed.

    `listed` are all its files, chosen or not. Where the user did not choose with `allow`, what no server loads is left
    out. Weights that are pickles are in `Source.pickles` if they are to be converted.

    Raises:
        InputError: it cannot; the message has all `problems` that its reader found, and those of every source.
        ImageError: a file that must be looked into cannot be reached.
    """
    listed = list(listed)
    pickled, indexed = _Remembered(is_pickle), cache(read_index)
    files, notes = source.files, list(source.notes)
    found = [*problems, *check_names(source.uri, [file.path for file in files])]
    if cached := cache_problem(source.uri, [file.path for file in files]):
        raise InputError(*found, cached)
    if not files:
        raise InputError(*found)
    if selection.pickle and selection.convert:
        found.append(
            "pickles are both allowed and to be converted: give one of --pickle allow and --convert safetensors"
        )
    if not selection.allow:
        choice = what_servers_load(source.uri, files, pickled, indexed)
        files, notes = choice.files, [*choice.notes, *notes]
        found += choice.problems
    lacks = model_problems(source.uri, files, listed, adapter=selection.adapter)
    if selection.allow:
        notes += lacks  # who chooses files may have the rest elsewhere
    else:
        found += lacks
    found += shard_problems(files, listed, indexed)
    for file in files:
        found += file_problems(file, selection.allow)
    pickles = tuple(file.path for file in files if pickled(file))
    refused, said = pickle_findings(pickles, [file.path for file in files], selection)
    if found := [*found, *refused]:
        raise InputError(*dict.fromkeys(found))
    return replace(source, files=files, notes=(*said, *notes), pickles=pickles if selection.convert else ())


class _Remembered:
    """Asks of each file once whether it is a pickle: of those elsewhere each look is a request."""

    def __init__(self, ask: Callable[[SourceFile], bool]) -> None:
        self._ask = ask
        self._known: dict[str, bool] = {}

    def __call__(self, file: SourceFile) -> bool:
        if file.path not in self._known:
            try:
                self._known[file.path] = self._ask(file)
            except ImageError:
                if file.local is None:
                    raise
                self._known[file.path] = False  # what is wrong with it is told of each file
        return self._known[file.path]


def check_names(uri: str, paths: list[str]) -> list[str]:
    """Tell what is wrong with the names of the files that were chosen."""
    if not paths:
        return [f"{uri}: no file to pack (hidden files do not count): give the folder that holds config.json"]
    problems = [
        f"{uri}: the top-level entry {name!r} would hide /{name} of the image: rename it, or "
        f"{remedies.leave_out(name, f'{name}/')}"
        for name in sorted({path.split("/", 1)[0] for path in paths} & RESERVED_NAMES)
    ]
    # Buckets know no folders: their names may hold what no file's path can, or what leaves the folder it is put in.
    folders = {path[:end] for path in paths for end, letter in enumerate(path) if letter == "/"}
    for path in paths:
        if not _is_utf8(path):
            problems.append(f"{uri}: the file name {path!r} is not UTF-8: rename it")
            continue
        if not {"", ".", ".."}.isdisjoint(path.split("/")):
            what = f"the name {path!r} is no path below the model's root (an empty part or '..')"
        elif path in folders:
            what = f"{path!r} is a file and also the folder of others"
        elif any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in path):
            what = f"the name {path!r} holds control characters"
        elif longest := max((part for part in path.split("/") if len(part.encode()) > _NAME_BYTES), default=""):
            what = f"the name {longest[:40] + '…'!r} has {len(longest.encode())} bytes, more than {_NAME_BYTES}"
        else:
            continue
        problems.append(f"{uri}: {what}: rename it, or {remedies.leave_out(path)}")
    return problems


def _is_utf8(path: str) -> bool:
    # Names that the file system holds in another encoding reach Python as lone surrogates.
    return path.encode("utf-8", "ignore").decode("utf-8") == path


def pickle_findings(pickles: Sequence[str], paths: Sequence[str], selection: Selection) -> tuple[list[str], list[str]]:
    """Problems and notes that the pickles among the chosen `paths` give rise to."""
    if not pickles:
        return [], ["there are no pickles to convert"] if selection.convert else []
    shown = remedies.shown(list(pickles))
    if selection.pickle:
        return [], [f"pickle files run code when they are loaded ({shown}); packed because pickles are allowed"]
    if selection.convert:
        return [], [f"pickle files are converted to safetensors ({shown})"]
    without = f"{remedies.leave_out(*pickles[:3])}{' and so on' if len(pickles) > 3 else ''}"
    if any(path.endswith((".safetensors", ".gguf")) for path in paths):
        return [f"pickle files run code when they are loaded ({shown}): {without}, or {_ALLOW}"], []
    return [
        f"the weights are pickle files ({shown}), which run code when they are loaded: have them converted with "
        f"--convert safetensors (a stack: files.convert: safetensors), or {_ALLOW}"
    ], []
