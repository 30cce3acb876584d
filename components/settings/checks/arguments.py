"""What a model's `args` may not tell its server: what its parser refuses, what the program sets, names of the hub."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.serving.engine_args import Flag, count
from components.serving.memory import UTILISATION
from components.settings.checks.unread import Problem
from components.settings.models import StackModel

_OWNED = frozenset({"--model", "--served-model-name", "--host", "--port"})
_OWNED_LORA = frozenset({"--enable-lora", "--no-enable-lora", "--lora-modules"})
_NO_HTTP = ("--uds", "--headless", "--grpc", "--ssl-keyfile", "--ssl-certfile")
"""Flags with which a server answers no plain HTTP on its port, which probes and gateways ask."""
_PATHS = ("--tokenizer", "--hf-config-path", "--generation-config", "--spec-model", "--speculative-model")
_ALONE = frozenset({"--tokenizer", "--hf-config-path"})
"""Flags of which a name without an organization is one of the hub's as well (gpt2)."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WORDS = frozenset({"auto", "vllm", "None", ""})
_NEARLY_ALL = 0.98
"""A share of the GPU that leaves CUDA's context too little."""
_COUNTS = (
    *("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--max-num-seqs"),
    *("--max-num-batched-tokens",),
)


def problems(made: StackModel) -> Iterator[Problem]:
    """Everything that keeps the server from starting, or from being asked."""
    for problem in made.args.problems:
        yield ".args", problem
    mount = made.delivery.platform.mount
    otherwise = f"write the path of a file or folder in the image, as {mount}, or remove it"
    if made.delivery.streamed:  # which has no such path
        otherwise = "remove it, for the server finds what the image has, or write delivery: native with a path of it"
    for flag in made.args.flags:
        if flag.name in _OWNED or (made.adapters and flag.name in _OWNED_LORA):
            # A file of the image, as a GGUF among several, only the settings can name.
            if flag.name != "--model" or not flag.value.startswith(f"{mount}/"):
                yield ".args", f"has {_spelled(flag)}, which the program sets itself: remove it"
        elif flag.name in _NO_HTTP:
            yield ".args", f"has {flag.written}, with which the server answers no HTTP on its port: remove it"
        for value in _remote(flag):
            yield (
                ".args",
                f"has {flag.written} with {value!r}, a hub name or an address, while the hub is off (weights come from "
                f"the image only): {otherwise}",
            )
    yield from _numbers(made)


def warnings(made: StackModel) -> Iterator[Problem]:
    """What the server takes and is hardly meant."""
    for doubt in made.args.doubts:
        yield ".args", doubt
    share = made.args.share("--gpu-memory-utilization")
    if made.gpus and share is not None and _NEARLY_ALL <= share <= 1:
        yield (
            ".args",
            f"has --gpu-memory-utilization {share:g}, and CUDA's own context needs memory beside it: write "
            f"{UTILISATION:g}",
        )


def _spelled(flag: Flag) -> str:
    return flag.written if flag.written == flag.name else f"{flag.written}, which is {flag.name}"


def _numbers(made: StackModel) -> Iterator[Problem]:
    for flag in made.args.flags:
        if flag.name in _COUNTS and flag.value and not (count(flag.value) or 0) > 0:
            yield ".args", f"has {flag.written} {flag.value!r}: write a whole number from 1 on"
        if flag.name == "--nnodes" and count(flag.value) != 1:
            yield ".args", f"has {flag.written}: one model over several pods is not possible yet, remove it"
        if flag.name == "--max-model-len" and flag.value not in {"", "auto", "-1"} and not count(flag.value):
            yield ".args", f"has {flag.written} {flag.value!r}: write a number of tokens, as 8192 or 8k, or auto"
        if flag.name == "--gpu-memory-utilization" and flag.value:
            share = made.args.share(flag.name)
            if share is None or not 0 < share <= 1:
                yield ".args", f"has {flag.written} {flag.value!r}: write a share above 0 and up to 1, as 0.9"


def _remote(flag: Flag) -> Iterator[str]:
    """What a flag names that lies on the hub or on a server, and not in the pod."""
    if flag.name in _PATHS and not flag.key:
        named = [flag.value]
    elif flag.name == "--speculative-config":
        named = [flag.value] if flag.key == "model" else _below(flag.value, "model", "draft_model")
    elif flag.name == "--lora-modules":
        named = [path for value in flag.values for path in _module(value)]
    elif flag.name == "--default-mm-loras":
        named = [text for text in _object(flag.value).values() if isinstance(text, str)]
    elif flag.name == "--chat-template":
        named = [flag.value] if re.match(r"(https?|hf|gs|s3)://", flag.value) else []
    else:
        named = []
    for value in named:
        if value not in _WORDS and (
            _is_elsewhere(value) or (flag.name in _ALONE and re.fullmatch(r"\w[\w.-]*", value))
        ):
            yield value


def _is_elsewhere(value: str) -> bool:
    return "://" in value or bool(_HUB_NAME.fullmatch(value.partition("@")[0]))


def _module(value: str) -> list[str]:
    """The path of `name=path`, or of a JSON object or list of such."""
    if value.lstrip()[:1] in {"{", "["}:
        try:
            read = json.loads(value)
        except ValueError:
            return []
        listed = read if isinstance(read, list) else [read]
        return [one["path"] for one in listed if isinstance(one, dict) and isinstance(one.get("path"), str)]
    return [value.partition("=")[2]] if "=" in value else []


def _below(text: str, *keys: str) -> list[str]:
    said = _object(text)
    return [said[key] for key in keys if isinstance(said.get(key), str)]


def _object(text: str) -> Mapping[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
