"""What is said of a value that its schema refuses: key path, what it is, and what to write instead."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_PLAIN = {
    "a valid integer": "a whole number",
    "a valid tuple": "a list",
    "a valid ": "a ",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
"""How pydantic's expectations read behind "write"."""


_SECRET = frozenset({"password", "secretEnv"})
_OF_TYPES = frozenset({"function-after", "tuple", "str", "EnvFrom"})
"""Parts of pydantic's locations that name a type, and no key."""


def second(detail: ErrorDetails) -> bool:
    """Whether it is told already: a text to be written, where a map would do as well; a list short of what is wrong."""
    if detail["type"] == "too_short":
        return bool(len(detail["input"]) >= detail["ctx"]["min_length"])
    return detail["loc"][-1:] == ("EnvFrom",) and not isinstance(detail["input"], Mapping)


def key_path(path: str, detail: ErrorDetails) -> str:
    """The key that an error of pydantic is about, below `path`."""
    return ".".join([path, *(str(part) for part in detail["loc"] if part not in _OF_TYPES)])


def remedy(kind: Any, detail: ErrorDetails) -> str:  # noqa: PLR0911 - one line for each sort of mistake
    """What is wrong with a value of the settings class `kind`, and what to write instead."""
    sort, context = detail["type"], detail.get("ctx", {})
    if sort == "extra_forbidden":
        model = _model_at(kind, detail["loc"][:-1])
        return unknown(str(detail["loc"][-1]), [f.alias or n for n, f in model.model_fields.items()] if model else [])
    if sort == "missing":
        model = _model_at(kind, detail["loc"][:-1])
        return f"is missing{_meaning(model, str(detail['loc'][-1]))}"
    if sort == "value_error":
        return str(context["error"])
    if sort in {"literal_error", "enum"}:
        expected = str(context["expected"]).replace("'", "")
        return f"is {_said(detail)}: write {expected}"
    if sort == "too_short":
        return f"has too little: write at least {context['min_length']}, or remove it"
    if sort in {"model_type", "model_attributes_type", "dict_type"}:
        return f"is {_said(detail)}: write a map, as {{key: value}}"
    if sort == "string_type" and _SECRET & {*detail["loc"]}:
        return "is not a text: put it in quotes, and set it with --secret"
    if sort == "string_type" and isinstance(detail["input"], int | float):
        return f"is the number {detail['input']}: put it in quotes"
    if sort == "string_pattern_mismatch":
        model = _model_at(kind, detail["loc"][:-1])
        meaning = _meaning(model, str(detail["loc"][-1]))
        return f"is {_said(detail)}{meaning}: write what matches {context['pattern']}"
    expected = detail["msg"].replace("Input should be ", "")
    for said, plain in _PLAIN.items():
        expected = expected.replace(said, plain)
    return f"is {_said(detail)}: write {expected}"


def _said(detail: ErrorDetails) -> str:
    # A secret is never echoed; nothing else of it is needed to see the mistake either.
    if _SECRET & {*detail["loc"]}:
        return "not a text"
    value = detail["input"]
    return repr(value) if isinstance(value, str | int | float | bool) else shape(value)


def shape(value: object) -> str:
    """What a value is, without its content where that is long."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a map"
    return "a list" if isinstance(value, list | tuple) else f"{value!r}"


def unknown(key: str, known: Iterable[str]) -> str:
    """The complaint about a key that there is not."""
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    return f"is unknown: {f'did you mean {close[0]!r}?' if close else 'write'} one of {', '.join(names)}".replace(
        "? one of", "? Known are"
    )


def _meaning(model: type[BaseModel] | None, alias: str) -> str:
    for name, info in (model.model_fields if model else {}).items():
        if alias in {info.alias, name} and info.description:
            return f" ({info.description})"
    return ""


def _model_at(kind: Any, loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The settings class that a location inside `kind` belongs to."""
    for model in _models_in(kind):
        if not loc:
            return model
        for name, info in model.model_fields.items():
            if loc[0] in {info.alias, name}:
                rest = loc[1:]
                while rest and isinstance(rest[0], int):
                    rest = rest[1:]
                return _model_at(info.annotation, rest)
    return None


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and get_origin(kind) is None:
        if issubclass(kind, BaseModel):
            yield kind
        return
    for part in get_args(kind):
        yield from _models_in(part)
