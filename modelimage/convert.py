"""Weights that exist as pickles only become safetensors on their way into an image.

A process of its own does it (`unpickling`), by PyTorch's loader for weights only; what it writes lies in a temporary
folder below the cache until the image is there. The same pickles give the same bytes: the image's digest is as
reproducible as that of any other source.
"""

import hashlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from modelimage import remedies, unpickling
from modelimage.errors import CancelledError, ImageError
from modelimage.folder import FolderFile
from modelimage.progress import Reporter, readable
from modelimage.source import Source, SourceFile
from oci_model_serving.errors import InputError

REQUIREMENTS = ("torch==2.11.0", "safetensors==0.8.0")
"""What a conversion needs beside the packer's own requirements, wherever it runs, as requirements-convert.txt says."""

ANNOTATION = "oci-model-serving.converted-from"
"""The pickles that an image's safetensors were made of, with commas."""

SHARD_BYTES = 5_000_000_000
"""The size that shards stay below: `max_shard_size` of transformers' `save_pretrained`."""

_ROOM = 1.25  # headers, and tensors that share memory in a pickle and do not in safetensors
_LARGEST = 2  # times the pickles: what grows more is no set of weights
_NUMBERED = re.compile(r"(?P<stem>.+?)-\d+-of-\d+")
_INDEX = ".bin.index.json"
_POLL_SECONDS = 0.5
_VERSION = 1  # part of the converted files' identity: raise it whenever their bytes change


@contextmanager
def converted(source: Source, cache: Path, reporter: Reporter, stop: threading.Event) -> Iterator[Source]:
    """The source with safetensors in place of its `pickles`; what was written is gone when the block ends.

    Raises:
        InputError: PyTorch is not installed, or a pickle holds something else than tensors.
        ImageError: there is no room for it, or the process failed.
    """
    if not source.pickles:
        yield source
        return
    _check_libraries()
    pickles = [file for file in source.files if file.path in source.pickles]
    groups = _groups(pickles, {file.path for file in source.files})
    used = {file.path for group in groups for file in group.pickles}
    if besides := sorted(set(source.pickles) - used):
        reporter.note(
            f"note: left out, for they are no part of the weights beside them: {remedies.shown(besides)}; as pickles "
            f"they are packed with --pickle allow (a stack: files.pickle: allow)"
        )
    place = cache / "conversions"
    _check_room(place, pickles, reporter)
    left = {*source.pickles, *_indexes(source, groups)}
    with tempfile.TemporaryDirectory(dir=place, prefix="weights-") as temporary:
        made = [
            file
            for number, group in enumerate(groups)
            for file in _converted(group, source, Path(temporary) / str(number), reporter, stop)
        ]
        files = sorted([*(file for file in source.files if file.path not in left), *made], key=lambda file: file.path)
        annotations = {**source.annotations, ANNOTATION: ",".join(sorted(used))}
        yield replace(source, files=tuple(files), annotations=annotations, pickles=())


@dataclass(frozen=True)
class _Group:
    """Pickles that are one set, and where their safetensors go: a folder (empty for the root) and a stem."""

    folder: str
    stem: str
    pickles: tuple[SourceFile, ...]

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


def _groups(pickles: Sequence[SourceFile], taken: set[str]) -> list[_Group]:
    sets: dict[tuple[str, str], list[SourceFile]] = defaultdict(list)
    for file in pickles:
        stem = PurePosixPath(file.path).stem
        match = _NUMBERED.fullmatch(stem)
        stem = match["stem"] if match else stem
        # The name that loaders look for (transformers' WEIGHTS_NAME and SAFE_WEIGHTS_NAME).
        stem = "model" if stem == "pytorch_model" else stem
        sets[file.path.rpartition("/")[0], stem].append(file)
    # Beside the model's own weights others are a server's to ask for by their names (bge-m3's `sparse_linear.pt`):
    # as safetensors they would be read with the model's.
    whole = {folder for folder, stem in sets if stem == "model"}
    groups = [
        _Group(folder, stem, tuple(members))
        for (folder, stem), members in sorted(sets.items())
        if stem == "model" or folder not in whole
    ]
    clashing = [path for group in groups if (path := group.path(f"{group.stem}.safetensors")) in taken]
    if clashing:
        raise InputError(*(f"{path}: is there already: the pickles beside it need no conversion" for path in clashing))
    return groups


def _indexes(source: Source, groups: Sequence[_Group]) -> set[str]:
    """Indexes of the pickles, which name what is no longer there."""
    folders = {group.folder for group in groups}
    paths = (file.path for file in source.files)
    return {path for path in paths if path.endswith(_INDEX) and path.rpartition("/")[0] in folders}


def _check_libraries() -> None:
    missing = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"converting pickles needs {' and '.join(missing)}, which {sys.executable} does not have: run "
            f"`{sys.executable} -m pip install {' '.join(REQUIREMENTS)}` (requirements-convert.txt; torch's build for "
            f"CPUs alone is enough)"
        )


def _check_room(place: Path, pickles: Sequence[SourceFile], reporter: Reporter) -> None:
    """Say what a conversion needs on the disk, and refuse where it is not there."""
    fetched = sum(file.size for file in pickles if file.local is None)
    needed = int(sum(file.size for file in pickles) * _ROOM) + fetched
    try:
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise ImageError(f"{place}: cannot be written: {error.strerror}: give another --cache") from error
    reporter.note(f"note: converting needs {readable(needed)} below {place}; {readable(free)} are free")
    if needed > free:
        raise ImageError(
            f"{place}: converting needs {readable(needed)} there and {readable(free)} are free: make room, or give "
            f"another --cache"
        )


def _converted(
    group: _Group, source: Source, folder: Path, reporter: Reporter, stop: threading.Event
) -> list[SourceFile]:
    title = group.path(f"{group.stem}.safetensors")
    reporter.started(title, sum(file.size for file in group.pickles))
    made = folder / "made"
    made.mkdir(parents=True)
    paths = [str(file.local or _fetched(file, folder / f"{number}.bin")) for number, file in enumerate(group.pickles)]
    job = {
        "pickles": paths,
        "folder": str(made),
        "stem": group.stem,
        "tied": _is_tied(source, group.folder),
        "shard_bytes": SHARD_BYTES,
        "limit_bytes": _LARGEST * sum(file.size for file in group.pickles),
    }
    answer = _run(job, group, stop)
    how = "in a network namespace without an interface" if answer["isolated"] else "with sockets refused"
    reporter.finished(title, f"converted {how}")
    for name in answer["tied"]:
        reporter.note(f"note: {name} is tied to the embeddings (config.json) and written once, with them")
    identities = hashlib.sha256(
        json.dumps([_VERSION, SHARD_BYTES, job["tied"], *(f.identity for f in group.pickles)]).encode()
    )
    changed_at = max((file.changed_at for file in group.pickles if file.changed_at is not None), default=None)
    files: list[SourceFile] = []
    for name in answer["files"]:
        path = made / name
        found = FolderFile(group.path(name), str(path), path.stat(follow_symlinks=False)).source_file()
        # Not the temporary file's own: what is made of the same pickles is the same layer in the next run.
        identity = f"converted:{identities.hexdigest()}:{name}"
        files.append(replace(found, identity=identity, changed_at=changed_at))
    return files


def _fetched(file: SourceFile, path: Path) -> Path:
    try:
        with path.open("wb") as out:
            for chunk in file.read():
                out.write(chunk)
    except OSError as error:
        raise ImageError(f"{path}: fetching failed: {error.strerror}: make room, or give another --cache") from error
    return path


def _is_tied(source: Source, folder: str) -> bool:
    """Tell whether a loader makes the output head of the embeddings by itself: only where the configuration says so."""
    wanted = f"{folder}/config.json" if folder else "config.json"
    config = next((file for file in source.files if file.path == wanted), None)
    if config is None:
        return False
    try:
        return json.loads(b"".join(config.read())).get("tie_word_embeddings") is True
    except (ValueError, AttributeError, RecursionError):
        return False


def _run(job: dict[str, Any], group: _Group, stop: threading.Event) -> dict[str, Any]:
    name = group.path(group.stem)
    # No variable of this process: it may hold tokens. The path is what torch is found by.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-B", "-c", inspect.getsource(unpickling)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "HOME": job["folder"], "TMPDIR": job["folder"]},
        cwd=job["folder"],
        text=True,
    ) as process:
        try:
            out, err = _communicated(process, json.dumps(job), stop)
        finally:
            process.kill()
    if process.returncode < 0:
        raise ImageError(
            f"{name}: the conversion was killed (signal {-process.returncode}): a machine with more memory may do it"
        )
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError as error:
        last = (err.strip().splitlines() or ["it said nothing"])[-1]
        raise ImageError(f"{name}: the conversion failed: {last}") from error
    if "failed" in answer:
        raise ImageError(f"{answer['failed']}: make room, or give another --cache")
    if "refused" in answer:
        raise InputError(
            f"{answer['refused']}: it cannot be converted: take a copy in safetensors, or pack it as it is with "
            f"--pickle allow (a stack: files.pickle: allow)"
        )
    return answer


def _communicated(process: "subprocess.Popen[str]", job: str, stop: threading.Event) -> tuple[str, str]:
    """Hand the job over and wait for the answer, unless the run is stopped meanwhile."""
    ended = threading.Event()

    def end() -> None:
        while not ended.wait(_POLL_SECONDS):
            if stop.is_set():
                process.kill()
                return

    watching = threading.Thread(target=end, daemon=True)
    watching.start()
    try:
        answer = process.communicate(job)
    finally:
        ended.set()
    if stop.is_set():
        raise CancelledError("stopped while converting pickles")
    return answer
