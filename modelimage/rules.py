"""What every source must hold before it is packed, wherever it lies: names, shards, no pickles."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from modelimage.source import Selection, Source, SourceFile
from modelimage.weights import INDEX_SUFFIX, is_pickle
from oci_model_serving.errors import InputError

_INDEX_LIMIT_BYTES = 64 << 20
RESERVED_NAMES = frozenset(
    {"bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "linuxrc", "media", "mnt", "model", "models", "opt"}
    | {"proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
)
"""Top-level names whose link at the image's root would hide a folder of the base or of the container runtime."""


def accepted(source: Source, listed: Iterable[str], selection: Selection, problems: Sequence[str] = ()) -> Source:
    """The source with notes on what it holds, if it can be packed; `listed` are all its files, chosen or not.

    Raises:
        InputError: it cannot; the message has all `problems` that its reader found, and those of every source.
    """
    paths = [file.path for file in source.files]
    found = [*problems, *check_names(source.uri, paths)]
    if not found:
        found += _missing_shards(source.files, listed)
    refused, notes = pickle_findings(paths, selection)
    if found := [*found, *refused]:
        raise InputError(*found)
    return replace(source, notes=(*notes, *source.notes))


def check_names(uri: str, paths: list[str]) -> list[str]:
    """Tell what is wrong with the names of the files that were chosen."""
    if not paths:
        return [f"{uri}: no file to pack (hidden files do not count): give the folder that holds config.json"]
    problems = [
        f"{uri}: the top-level entry {name!r} would hide /{name} of the image: rename it, or leave it out with "
        f"--ignore '{name}' or --ignore '{name}/'"
        for name in sorted({path.split("/", 1)[0] for path in paths} & RESERVED_NAMES)
    ]
    problems += [f"{uri}: the file name {path!r} is not UTF-8: rename it" for path in paths if not _is_utf8(path)]
    # Buckets know no folders: their names may hold what no file's path can, or what leaves the folder it is put in.
    problems += [
        f"{uri}: the name {path!r} is no path below the model's root (an empty part or {'..'!r}): rename it, or leave "
        f"it out with --ignore {path!r}"
        for path in paths
        if not {"", ".", ".."}.isdisjoint(path.split("/"))
    ]
    folders = {path[:end] for path in paths for end, letter in enumerate(path) if letter == "/"}
    problems += [
        f"{uri}: {path!r} is a file and also the folder of others: rename it, or leave it out with --ignore {path!r}"
        for path in paths
        if path in folders
    ]
    return problems


def _is_utf8(path: str) -> bool:
    # Names that the file system holds in another encoding reach Python as lone surrogates.
    return path.encode("utf-8", "ignore").decode("utf-8") == path


def _missing_shards(files: Iterable[SourceFile], listed: Iterable[str]) -> list[str]:
    """Tell each shard that a safetensors index names and the image would not hold: left out, or absent."""
    chosen = {file.path: file for file in files}
    everything = set(listed)
    problems: list[str] = []
    for path, file in chosen.items():
        if not path.endswith(INDEX_SUFFIX) or file.size > _INDEX_LIMIT_BYTES:
            continue
        folder = path.rsplit("/", 1)[0] + "/" if "/" in path else ""
        try:
            names = sorted(set(json.loads(b"".join(file.read()))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            problems.append(f"{path}: not a safetensors index (JSON with a weight_map): fetch it again")
            continue
        for name in names:
            shard = f"{folder}{name}"
            if shard in chosen:
                continue
            why = "--allow or --ignore leaves it out" if shard in everything else "it is not there: fetch it"
            problems.append(f"{path} names the shard {shard}, but {why}")
    return problems


def pickle_findings(paths: Sequence[str], selection: Selection) -> tuple[list[str], list[str]]:
    """Problems and notes that a source's pickle files give rise to.

    Pickles beside safetensors are dead weight; pickles alone are refused unless `--allow` asked for them by name.
    """
    pickles = [path for path in paths if is_pickle(path)]
    if not pickles:
        return [], []
    shown = ", ".join(pickles[:3]) + (f" and {len(pickles) - 3} more" if len(pickles) > 3 else "")
    if any(path.endswith((".safetensors", ".gguf")) for path in paths):
        return [], [f"pickle files are packed too ({shown}); servers load the safetensors: --ignore leaves them out"]
    if selection.allow:
        return [], [f"pickle files run code when they are loaded ({shown}); packed because --allow asks for them"]
    return [
        f"the weights are pickle files ({shown}), which run code when they are loaded: convert them to safetensors, "
        f"or pack them all the same with --allow '*'"
    ], []
