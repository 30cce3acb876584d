"""A stack's file as `oms init` writes it: every key with its reason, whole or not at all, and never over another."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.settings.stack_file import Project
from components.settings.types import NAMESPACE
from oci_model_serving.errors import InputError
from oci_model_serving.foreign import in_line

_SCHEMA = Path("docs", "stack.schema.json")
_WIDE = 1_000_000
_BLOCKS = {"nodePools": 1, "models": 1, "platforms": 2}
"""How many levels below a key stand in lines of their own; all else stands in one."""


def text_of(
    project: Project, file: Path, google: Mapping[str, str], values: Mapping[str, Any], reasons: Mapping[str, str]
) -> str:
    """The file's text.

    Args:
        project: whose schema the first line names to editors, where it has one.
        file: where it will be.
        google: the provider's keys, as `gcp:project`.
        values: the project's keys, without its namespace.
        reasons: why, by the path of a key; `platforms…image` may say from which tag it was pinned, which stands behind.
    """
    schema = project.folder / _SCHEMA
    lines = []
    if schema.is_file() and file.resolve().is_relative_to(project.folder.resolve()):
        lines.append(f"# yaml-language-server: $schema={os.path.relpath(schema, file.parent.resolve())}")
    lines.append("config:")
    lines += [f"  {key}: {_inline(value)}" for key, value in google.items()]
    for key, value in values.items():
        if key in reasons:
            lines.append(f"  # {in_line(reasons[key])}")
        depth = _BLOCKS.get(key, 0)
        if not depth:
            lines.append(f"  {NAMESPACE}:{key}: {_inline(value)}")
            continue
        lines.append(f"  {NAMESPACE}:{key}:")
        lines += _block(value, key, "    ", depth, reasons)
    return "\n".join([*lines, ""])


def _block(value: Mapping[str, Any], path: str, indent: str, depth: int, reasons: Mapping[str, str]) -> Iterator[str]:
    for key, below in value.items():
        here, name = f"{path}.{key}", _inline(key)
        reason = in_line(reasons.get(here, ""))  # of what others say of a model, among other things
        behind = f"  # {reason}" if reason.startswith("pinned: ") else ""
        if reason and not behind:
            yield f"{indent}# {reason}"
        if depth and isinstance(below, Mapping):
            yield f"{indent}{name}:"
            yield from _block(below, here, f"{indent}  ", depth - 1, reasons)
        else:
            yield f"{indent}{name}: {_inline(below)}{behind}"


def _inline(value: object) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=_WIDE, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def write_new(file: Path, text: str) -> None:
    """Write a file that is not there, whole or not at all.

    Raises:
        InputError: there is one, which is left as it is.
    """
    try:
        new = file.open("x", encoding="utf-8")
    except FileExistsError:
        raise InputError(f"{file} is there already, and is left as it is: choose another --stack or --output") from None
    try:
        with new:
            new.write(text)
    except BaseException:  # Ctrl-C too
        file.unlink(missing_ok=True)
        raise
