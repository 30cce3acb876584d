"""What every source must hold before it is packed, wherever it lies: names, shards, contents, no pickles unasked."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from modelimage import remedies
from modelimage.cache import RACY_SECONDS
from modelimage.choice import what_servers_load
from modelimage.contents import cache_problem, file_problems, model_problems
from modelimage.errors import ImageError
from modelimage.pickles import HEAD_BYTES, is_pickle
from modelimage.shards import read_index, shard_problems
from modelimage.source import Selection, Source, SourceFile
from oci_model_serving.errors import InputError

_NAME_BYTES = 255  # of one part of a path: the limit of every file system that an image is unpacked on
_KEPT_BYTES = 32 << 20  # of content that was read to judge files, until they are packed
_ALLOW = "pack them as they are with --pickle allow (a stack: files.pickle: allow)"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
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
    looks, indexed = _Looks(selection.allow), cache(read_index)
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
        choice = what_servers_load(source.uri, files, looks.pickled, indexed)
        files, notes = choice.files, [*choice.notes, *notes]
        found += choice.problems
    lacks = model_problems(source.uri, files, listed, adapter=selection.adapter)
    if selection.allow:
        notes += lacks  # who chooses files may have the rest elsewhere
    else:
        found += lacks
    found += shard_problems(files, listed, indexed)
    for file in files:
        found += looks.problems(file)
    pickles = tuple(file.path for file in files if looks.pickled(file))
    refused, said = pickle_findings(pickles, [file.path for file in files], selection)
    if found := [*found, *refused]:
        raise InputError(*dict.fromkeys(found))
    files = looks.kept(files)
    return replace(source, files=files, notes=(*said, *notes), pickles=pickles if selection.convert else ())


class _Looks:
    """What was seen in each file, looked at once: of those elsewhere each look is a request.

    One reading of a small file on a disk serves all that is asked of it, and its packing: there may be tens of
    thousands. What has changed just now is read again, since a change meanwhile might not show.
    """

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = allow
        self._settled_before = time.time() - RACY_SECONDS
        self._room_bytes = _KEPT_BYTES
        self._kept: dict[str, SourceFile] = {}
        self._pickled: dict[str, bool] = {}
        self._problems: dict[str, list[str]] = {}

    def pickled(self, file: SourceFile) -> bool:
        """Tell whether the file is a pickle."""
        if file.path not in self._pickled:
            if file.local is not None and file.size <= HEAD_BYTES:
                self._look(file)
            else:
                self._pickled[file.path] = self._is_pickle(file)
        return self._pickled[file.path]

    def problems(self, file: SourceFile) -> list[str]:
        """Tell what is wrong with the file."""
        if file.path not in self._problems:
            if file.local is not None and file.size <= HEAD_BYTES:
                self._look(file)
            else:
                self._problems[file.path] = file_problems(file, self._allow)
        return self._problems[file.path]

    def kept(self, files: Sequence[SourceFile]) -> tuple[SourceFile, ...]:
        """The files, with the content of those that were read already."""
        return tuple(self._kept.get(file.path, file) for file in files)

    def _look(self, file: SourceFile) -> None:
        try:
            file = file.at_hand()
            if file.size <= self._room_bytes and file.changed_at is not None and file.changed_at < self._settled_before:
                self._kept[file.path] = file
                self._room_bytes -= file.size
        except ImageError:
            pass  # what cannot be read is told by who looks
        self._pickled[file.path] = self._is_pickle(file)
        self._problems[file.path] = file_problems(file, self._allow)

    def _is_pickle(self, file: SourceFile) -> bool:
        try:
            return is_pickle(file)
        except ImageError:
            if file.local is None:
                raise
            return False  # what is wrong with it is told of each file


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
    folders = _folders(paths)
    for path in paths:
        if _is_usual(path) and path not in folders:
            continue
        if not _is_utf8(path):
            problems.append(f"{uri}: the file name {path!r} is not UTF-8: rename it")
            continue
        if not {"", ".", ".."}.isdisjoint(path.split("/")):
            what = f"the name {path!r} is no path below the model's root (an empty part or '..')"
        elif path in folders:
            what = f"{path!r} is a file and also the folder of others"
        elif _CONTROL.search(path):
            what = f"the name {path!r} holds control characters"
        elif longest := _too_long(path):
            what = f"the name {longest[:40] + '…'!r} has {len(longest.encode())} bytes, more than {_NAME_BYTES}"
        else:
            continue
        problems.append(f"{uri}: {what}: rename it, or {remedies.leave_out(path)}")
    return problems


def _is_usual(path: str) -> bool:
    """Tell of a short path of ASCII letters, without empty parts and leading dots, that nothing is wrong with it."""
    plain = len(path) <= _NAME_BYTES and path.isascii() and path.isprintable()
    return plain and "//" not in path and "/." not in path and path[:1] not in {"", "/", "."} and path[-1] != "/"


def _folders(paths: Iterable[str]) -> set[str]:
    """All folders that are named by paths, at any depth."""
    found: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end >= 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind("/", 0, end)
    return found


def _too_long(path: str) -> str:
    """A part of a path that no file system holds; empty where there is none."""
    if len(path.encode()) <= _NAME_BYTES:
        return ""
    return max((part for part in path.split("/") if len(part.encode()) > _NAME_BYTES), default="")


def _is_utf8(path: str) -> bool:
    # Names that the file system holds in another encoding reach Python as lone surrogates.
    return path.isascii() or path.encode("utf-8", "ignore").decode("utf-8") == path


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
