"""The program that a conversion runs in a process of its own: pickled tensors in, safetensors files out.

It takes its job as JSON on stdin and answers in JSON on stdout. It imports nothing of the project, since it is handed
to the interpreter as text: the same from a folder and from the archive that runs in Cloud Build.

PyTorch's loader is asked for weights only, which refuses all code but that of tensors. Should a file get through that,
it finds no network (a namespace of its own where the kernel gives one), no secret in the environment, and an
interpreter that opens no socket, starts no program and writes nowhere but into the folder for the result.
"""

import ctypes
import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000  # unshare(2)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FORBIDDEN = re.compile(r"socket\.|subprocess\.|ctypes\.dlopen|os\.(system|exec|posix_spawn|fork|forkpty|kill)|pty\.")
_HEADS = re.compile(
    r"(.*\.)?(lm_head(\.decoder)?|embed_out|generator_lm_head|cls\.predictions\.decoder|vocab_projector)\.weight"
)
_GLOBAL = re.compile(r"(?:GLOBAL|global:?) ([\w.]+)")


class _RefusedError(Exception):
    """The file holds something that cannot become safetensors."""


class _FailedError(Exception):
    """The result cannot be written."""


def main() -> None:
    """Convert, and answer with the files that were made or with what is wrong."""
    job = json.load(sys.stdin)
    isolated = _leave_network()
    try:
        answer = {"isolated": isolated, **_convert(job)}
    except _RefusedError as error:
        answer = {"refused": str(error)}
    except _FailedError as error:
        answer = {"failed": str(error)}
    json.dump(answer, sys.stdout)


def _leave_network() -> bool:
    """Go into a network namespace that has no interface, where this user may; tell whether that worked."""
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (OSError, AttributeError):
        return False
    return any(unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_NETWORK | _NEW_USER))


def _forbid(folder: str) -> None:
    """Have the interpreter refuse what no conversion needs. A hook stays for the life of the process."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _FORBIDDEN.match(event):
            raise _RefusedError(f"it does what weights do not: {event}")
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            where = os.path.realpath(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else ""
            if where and not where.startswith(folder + os.sep):
                raise _RefusedError(f"it writes outside its folder: {where}")

    sys.addaudithook(hook)


def _convert(job: dict[str, Any]) -> dict[str, Any]:
    # Only now, within the namespace. PyTorch is not where the project is checked.
    safetensors, torch = (importlib.import_module(name) for name in ("safetensors", "torch"))

    folder = os.path.realpath(job["folder"])
    _forbid(folder)
    writer = _Writer(Path(folder), job, safetensors)
    tied: list[str] = []
    for path in job["pickles"]:
        tensors = _tensors(torch, path)
        left = _tied(tensors) if job["tied"] else []
        tied += left
        for name, tensor in tensors.items():
            if name not in left:
                writer.add(name, tensor, os.path.basename(path))  # noqa: PTH119 - a text
    return {"files": writer.finish(), "tied": tied, "torch": torch.__version__}


def _tensors(torch: Any, path: str) -> dict[str, Any]:
    name = os.path.basename(path)  # noqa: PTH119 - a text
    with open(path, "rb") as file:  # noqa: PTH123
        zipped = file.read(4) == b"PK\x03\x04"
    try:
        # A mapped file's tensors are read when they are written: a conversion needs little memory.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        raise _RefusedError(f"{name}: {_reason(error)}") from error
    if isinstance(loaded, dict) and len(loaded) < 8 and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]  # as training frameworks wrap it, with its progress beside it
    others = _others(torch, loaded)
    if others:
        raise _RefusedError(f"{name}: is no table of tensors by their names: it holds {', '.join(others[:3])}")
    return dict(loaded)


def _others(torch: Any, loaded: Any) -> list[str]:
    """What is no plain tensor by its name."""
    if not isinstance(loaded, dict) or not loaded:
        return [type(loaded).__name__]
    return [
        f"{key!r} ({type(value).__name__})"
        for key, value in loaded.items()
        if not (isinstance(key, str) and isinstance(value, torch.Tensor))
        or value.layout != torch.strided
        or value.is_quantized
        or value.device.type != "cpu"
    ]


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    needs = _GLOBAL.search(text)
    if needs:
        return f"needs {needs[1]} to be loaded, which is code and not weights"
    return f"PyTorch cannot load it as weights: {text[:200]}"


def _tied(tensors: dict[str, Any]) -> list[str]:
    """Output heads that are the very tensor of another name: what the configuration says to be tied is written once."""
    names: dict[Any, list[str]] = {}
    for name, tensor in tensors.items():
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.dtype)
        if tensor.numel():
            names.setdefault((*place, tuple(tensor.shape), tuple(tensor.stride())), []).append(name)
    left: list[str] = []
    for same in names.values():
        heads = [name for name in same if _HEADS.fullmatch(name)]
        left += heads if len(heads) < len(same) else []
    return left


class _Writer:
    """Writes tensors in the order that they come, as one file or as shards with an index."""

    def __init__(self, folder: Path, job: dict[str, Any], safetensors: Any) -> None:
        self._folder, self._library = folder, safetensors
        self._stem, self._shard_bytes, self._limit = job["stem"], job["shard_bytes"], job["limit_bytes"]
        self._pending: dict[str, Any] = {}
        self._size = self._total = 0
        self._shards: list[list[str]] = []
        self._from: dict[str, str] = {}

    def add(self, name: str, tensor: Any, source: str) -> None:
        """Take a tensor; the shards before it are on the disk by then."""
        if name in self._from:
            raise _RefusedError(f"{source}: holds {name}, and so does {self._from[name]}: is it a part of another set?")
        size = tensor.numel() * tensor.element_size()
        if self._pending and self._size + size > self._shard_bytes:
            self._flush()
        if self._total + size > self._limit:
            raise _RefusedError(f"{source}: its tensors are far larger than the file: {name} is {size} bytes")
        self._from[name] = source
        self._pending[name] = tensor
        self._size += size
        self._total += size

    def _flush(self) -> None:
        contiguous = {name: tensor.contiguous() for name, tensor in self._pending.items()}
        specs = {
            name: self._library.TensorSpec(
                dtype=str(tensor.dtype).removeprefix("torch."),
                shape=list(tensor.shape),
                data_ptr=tensor.data_ptr(),
                data_len=tensor.numel() * tensor.element_size(),
            )
            for name, tensor in contiguous.items()
        }
        path = self._folder / f"part-{len(self._shards)}"
        try:
            self._library.serialize_file(specs, path, {"format": "pt"})
        except (OSError, ValueError, TypeError, self._library.SafetensorError) as error:
            if isinstance(error, OSError) or "os error" in str(error):
                raise _FailedError(f"{path}: cannot be written: {error}") from error
            raise _RefusedError(f"safetensors cannot hold it: {error}") from error
        self._shards.append(list(self._pending))
        self._pending, self._size = {}, 0

    def finish(self) -> list[str]:
        """Write what is left and give the files their names."""
        self._flush()
        count = len(self._shards)
        names = [f"{self._stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
        if count == 1:
            names = [f"{self._stem}.safetensors"]
        for number, name in enumerate(names):
            part = self._folder / f"part-{number}"
            part.chmod(0o644)
            part.rename(self._folder / name)
        if count == 1:
            return names
        weight_map = {tensor: name for name, held in zip(names, self._shards, strict=True) for tensor in held}
        index = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        return [*names, self._write_index(index)]

    def _write_index(self, index: dict[str, Any]) -> str:
        name = f"{self._stem}.safetensors.index.json"
        (self._folder / name).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return name


if __name__ == "__main__":
    main()
