"""Whether what is in the cluster is what the settings say, field by field, and who changed it.

Read are the objects that the program makes of the settings. Each is applied server-side as a dry run, by the manager
that owns it now: what that would change is drift. Fields that others set and the program does not speak of are none.
The objects that Helm charts bring are not looked at. Values of Secrets are never shown, nor compared: there the keys
are, and who set them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from components.serving.admission_rules import LISTED
from oci_model_serving.outputs import ModelOutput
from smoke.checks import Check, NotRunError, run
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.kube import FIELD_MANAGER, JSON, ApiError, KubeApi
from watch.pods import is_paused

STEP = "drift"
Path = tuple[str | int, ...]
_SERVERS_OWN = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"})
_DATA = ("data", "stringData")
_ANNOTATIONS = ("metadata", "annotations")
_MISSING = object()
_HIDDEN = "[secret]"
_AGAIN = "`pulumi up --refresh` brings back what the settings say; to keep the change, write it into the settings"


@dataclass(frozen=True)
class Wanted:
    """An object as the settings say; at the paths of `unknown`, only a real run would know the value."""

    body: JSON
    unknown: frozenset[Path] = frozenset()

    @property
    def title(self) -> str:
        """How a person calls it."""
        metadata = self.body["metadata"]
        return f"{self.body['kind']} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"


@dataclass(frozen=True)
class Difference:
    """A field that is not as wanted, and who set it as it is."""

    path: Path
    wanted: Any
    found: Any
    by: str

    def __str__(self) -> str:
        return f"{_dotted(self.path)} is {_shown(self.found)}, the settings say {_shown(self.wanted)} ({self.by})"


def drift(api: KubeApi, wanted: Sequence[Wanted], models: Sequence[ServedModel]) -> Iterator[Check]:
    """Check each object; those that are as the settings say are told together."""
    outputs = [model.output for model in models]
    same: list[str] = []
    for one in wanted:
        found = run(STEP, one.title, partial(_check, api, one, outputs))
        if found.evidence == "":
            same.append(one.title)
        else:
            yield found
    if same:
        yield run(STEP, "objects", lambda: f"{len(same)} are as the settings say: {', '.join(same)}")


def differences(wanted: Wanted, live: JSON, applied: JSON) -> list[Difference]:
    """What an apply changes of an object, without what belongs to the server."""
    entries = _entries(live)
    changed = []
    for path, found, would_be in _changes(_comparable(live), _comparable(applied), ()):
        if not any(path[: len(unknown)] == unknown for unknown in wanted.unknown):
            changed.append(Difference(path, would_be, found, _changed_by(entries, live, path)))
    return changed


def manager_of(live: JSON) -> str:
    """Who applies an object: the engine's provider, which names itself anew for each object that it makes."""
    appliers = [one["manager"] for one in _entries(live) if one.get("operation") == "Apply"]
    engine = [name for name in appliers if name.startswith("pulumi-kubernetes")]
    return str((engine or appliers or ["oci-model-serving"])[0])


def _check(api: KubeApi, wanted: Wanted, models: Sequence[ModelOutput]) -> str:
    path = api.path_of(wanted.body)
    live = api.find(path) if path else None
    if live is None:
        kind = "" if path else f" (the cluster does not serve {wanted.body['apiVersion']})"
        raise NotHeldError(f"{wanted.title} is gone{kind}", "`pulumi up --refresh` makes it again")
    if wanted.body["kind"] == "Secret":
        changed = _of_secret(wanted, live)
    else:
        changed = differences(wanted, live, _applied(api, path, wanted.body, live))
        if wanted.body["kind"] == "Namespace":
            changed = [one for one in changed if not _is_listed(one.path)] + _of_allowed(wanted, live)
    paused = [model for model in models if _is_of(wanted.body, model) and not model.paused and is_paused(live, model)]
    told = [one for one in changed if not (paused and _is_switch(one.path, paused[0]))]
    if told:
        more = f" and {len(told) - 8} more" if len(told) > 8 else ""
        raise NotHeldError("; ".join(map(str, told[:8])) + more, _AGAIN)
    if paused:
        raise NotRunError("the model is paused by command; all else is as the settings say")
    return ""


def _applied(api: KubeApi, path: str, body: JSON, live: JSON) -> JSON:
    try:
        return api.apply_dry(path, body, manager_of(live))
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN and "cannot patch" in error.message:
            raise NotRunError(f"a dry run needs the right to patch: {short(error.message)}") from None
        raise


def _of_secret(wanted: Wanted, live: JSON) -> list[Difference]:
    """Keys that are missing or too many, and those that somebody else than the engine has set."""
    keys = {key for part in _DATA for key in wanted.body.get(part) or ()}
    there = set(live.get("data") or ())
    entries = _entries(live)
    changed = []
    for key in sorted(keys | there):
        by = _changed_by(entries, live, ("data", key))
        if key not in there or key not in keys:
            found, say = (_HIDDEN if key in there else _MISSING), (_HIDDEN if key in keys else _MISSING)
            changed.append(Difference(("data", key), say, found, by))
        elif not by.startswith(f"{manager_of(live)} "):
            changed.append(Difference(("data", key), _HIDDEN, _HIDDEN, by))
    return changed


def _of_allowed(wanted: Wanted, live: JSON) -> list[Difference]:
    """Images that are missing, and those that somebody else than the engine has added: each model owns its own keys.

    What the engine has there beside is of an update that failed, and goes with the next one.
    """
    own, there, entries = _annotations(wanted.body), _annotations(live), _entries(live)
    changed = []
    for path in sorted((*_ANNOTATIONS, key) for key in own.keys() | there.keys()):
        key, by = path[-1], _changed_by(entries, live, path)
        earlier = key not in own and by.startswith("pulumi-kubernetes")
        if _is_listed(path) and not earlier and own.get(key, _MISSING) != there.get(key, _MISSING):
            changed.append(Difference(path, own.get(key, _MISSING), there.get(key, _MISSING), by))
    return changed


def _annotations(body: JSON) -> JSON:
    return dict(body["metadata"].get("annotations") or {})


def _is_listed(path: Path) -> bool:
    """Whether it is the annotation of an image that a namespace may run."""
    return path[:-1] == _ANNOTATIONS and str(path[-1]).startswith(LISTED)


def _is_of(body: JSON, model: ModelOutput) -> bool:
    metadata, platform = body["metadata"], model.serving.platform
    return (body["kind"], metadata["name"], metadata.get("namespace")) == (platform.kind, model.name, model.namespace)


def _is_switch(path: Path, model: ModelOutput) -> bool:
    at: Any = model.serving.platform.stopped
    for key in path:
        if not isinstance(at, Mapping) or key not in at:
            return False
        at = at[key]
    return True


def _comparable(found: JSON) -> JSON:
    metadata = {key: value for key, value in found["metadata"].items() if key not in _SERVERS_OWN}
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": metadata}


def _changes(found: Any, wanted: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from _changes(found.get(key, _MISSING), wanted.get(key, _MISSING), (*path, key))
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for at, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from _changes(one, other, (*path, at))
    elif found != wanted:
        yield path, found, wanted


def _entries(live: JSON) -> list[JSON]:
    return [one for one in live["metadata"].get("managedFields") or () if one.get("subresource") != "status"]


def _changed_by(entries: Sequence[JSON], live: JSON, path: Path) -> str:
    """Who set a field last, how and when, as the server records it; for one that is gone, who set what is around it."""
    for length in range(len(path), 0, -1):
        owners = [
            one for one in entries if _owns(one.get("fieldsV1") or {}, live, path[:length], whole=length == len(path))
        ]
        if owners:
            last = max(owners, key=lambda one: str(one.get("time", "")))
            who = f"{last['manager']} {last.get('operation', '')}".strip()
            named = f"{who} (`oms pause` or `resume`)" if last["manager"] == FIELD_MANAGER else who
            around = "" if length == len(path) else "around it: "
            return f"{around}{named} {last.get('time', '')}".strip()
    return "set by nobody that the server remembers"


def _owns(fields: JSON, live: Any, path: Path, *, whole: bool) -> bool:
    """Whether a manager's fields (structured-merge-diff's FieldsV1) hold a path of the live object."""
    at: Any = fields
    for key in path:
        inside = live.get(key, _MISSING) if isinstance(live, dict) else live[key] if isinstance(key, int) else _MISSING
        found = at.get(f"f:{key}") if isinstance(key, str) else _item(at, inside, key)
        if found is None:
            return False
        if not found:  # a leaf, or a list that is one value
            return True
        at, live = found, inside
    return whole or "." in at


def _item(fields: JSON, item: Any, index: int) -> JSON | None:
    for name, found in fields.items():
        kind, _, text = name.partition(":")
        if kind == "k" and isinstance(item, dict) and json.loads(text).items() <= item.items():
            return dict(found)
        if (kind == "v" and json.loads(text) == item) or (kind == "i" and int(text) == index):
            return dict(found)
    return None


def _dotted(path: Path) -> str:
    """The path as `kubectl explain` has it; a key with dots in brackets."""
    parts = [f"[{key}]" if isinstance(key, int) else f"[{key!r}]" if "." in key else f".{key}" for key in path]
    return "".join(parts).lstrip(".")


def _shown(value: Any) -> str:
    return "missing" if value is _MISSING else short(json.dumps(value, sort_keys=True), 160)
