"""Checks that every field of a component's arguments reaches a resource: nothing may be settable and without effect.

`observe` runs a program under the recording mocks and keeps the options of its resources beside their inputs.
`unreached` changes one leaf field at a time and tells those whose change nothing shows.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
from pydantic import BaseModel

from tests.mocks import Recording, record

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a program registered: the recording, and by (type, name) the options that matter to a resource's life."""

    recording: Recording
    options: dict[tuple[str, str], dict[str, Any]]

    @property
    def state(self) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Inputs and options of all resources that are no components."""
        return {
            (resource.type, resource.name): (resource.inputs, self.options.get((resource.type, resource.name)))
            for resource in self.recording.resources
            if not resource.component
        }


@dataclasses.dataclass(frozen=True)
class With:
    """A changed value that is possible only with other fields (dotted paths) set as well, before and after."""

    value: Any
    others: Mapping[str, Any]


def observe(program: Callable[[], object], **arguments: Any) -> Observed:
    """Record a program together with its resources' options; arguments as of `record`."""
    options: dict[tuple[str, str], dict[str, Any]] = {}

    def keep(args: pulumi.ResourceTransformationArgs) -> None:
        deleted_with = args.opts.deleted_with
        options[args.type_, args.name] = {
            "protect": bool(args.opts.protect),
            "retain_on_delete": bool(args.opts.retain_on_delete),
            "deleted_with": deleted_with._name if deleted_with is not None else None,
            "ignore_changes": tuple(args.opts.ignore_changes or ()),
            "delete_before_replace": args.opts.delete_before_replace,
        }

    def run() -> None:
        pulumi.runtime.register_stack_transformation(keep)
        program()

    return Observed(record(run, **arguments), options)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all fields that hold no fields themselves."""
    names = _names(value)
    if not names:
        yield path
    for name in names:
        yield from leaves(_get(value, (name,)), (*path, name))


def changed(value: Any, path: Path, new: Any) -> Any:
    """A copy in which the field at the path has another value."""
    if not path:
        return new
    name, rest = path[0], path[1:]
    item = changed(_get(value, (name,)), rest, new)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: item})
    if isinstance(value, Mapping):
        return {**value, name: item}
    return dataclasses.replace(value, **{name: item})


def unreached(
    build: Callable[[Any], object],
    base: Any,
    values: Mapping[str, Any],
    *,
    exempt: Mapping[str, str],
    **arguments: Any,
) -> list[str]:
    """The leaf fields of `base` whose change changes no resource, by dotted path.

    Args:
        build: makes the component of its arguments.
        base: the arguments to begin with.
        values: dotted path -> another value; what is missing is negated (bool) or raised by one (int).
        exempt: dotted path -> why this field cannot reach a resource's inputs.
        arguments: as of `record`.

    Raises:
        KeyError: a field has no other value, or `values` and `exempt` name fields that there are not.
    """
    paths = {".".join(path): path for path in leaves(base)}
    if strange := (set(values) | set(exempt)) - set(paths):
        raise KeyError(f"no such leaf fields: {sorted(strange)}")
    if both := set(values) & set(exempt):
        raise KeyError(f"both changed and exempt: {sorted(both)}")

    def state(args: Any) -> Any:
        return observe(lambda: build(args), **arguments).state

    plain, without_effect = state(base), []
    for dotted, path in paths.items():
        if dotted in exempt:
            continue
        change = values[dotted] if dotted in values else _other(_get(base, path), dotted)
        before, expected = base, plain
        if isinstance(change, With):
            for other, value in change.others.items():
                before = changed(before, tuple(other.split(".")), value)
            change, expected = change.value, state(before)
        if state(changed(before, path, change)) == expected:
            without_effect.append(dotted)
    return without_effect


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, BaseModel):
        return tuple(type(value).model_fields)
    if isinstance(value, Mapping):
        return tuple(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in dataclasses.fields(value))
    return ()


def _get(value: Any, path: Path) -> Any:
    for name in path:
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def _other(value: Any, dotted: str) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    raise KeyError(f"{dotted} is {value!r}: give another value for it")
