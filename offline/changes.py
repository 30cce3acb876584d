"""What changes of a model, a pool or another component, in the order and the words in which people look for it.

Of a resource's inputs, what only follows from others is left out: revisions, allowed images, budgets, which pod goes
first.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components import commands
from offline.diff import MISSING, PlanDiff, ResourceChange
from offline.recording import (
    CLUSTER_TYPE,
    COMMAND_TYPE,
    INFERENCE_SERVICE_TYPE,
    KUBEAI_MODEL_TYPE,
    NODE_POOL_TYPE,
    RELEASE_TYPE,
)
from offline.replacements import ZONES
from offline.subjects import Effect, Subject, asked_by
from offline.table import short_type
from offline.telling import label_of
from offline.values import within

_SERVING = {INFERENCE_SERVICE_TYPE, KUBEAI_MODEL_TYPE}
_MAIN = {
    *_SERVING, NODE_POOL_TYPE, CLUSTER_TYPE, RELEASE_TYPE,
    "gcp:artifactregistry/repository:Repository",
}  # fmt: skip
"""The resources whose inputs need no name of the resource beside them: there is one such in a component, or its name is
that of the component."""
_PREFIXES = ("spec.predictor.model.", "spec.predictor.", "spec.", "nodeConfig.", "values.")
_FOLLOWS = re.compile(
    r"labels\.oci-model-serving/revision|env\.OCI_MODEL_SERVING_REVISION|deploymentStrategy(\..*)?|storageUri|url"
)
_SAME = re.compile(r"resources\.requests\.(?P<what>\w+)")


@dataclass(frozen=True)
class Told:
    """One thing that changes: its name and its values before and after; `name` alone where it is said in words.

    `does` is what it has the provider do beyond an update.
    """

    name: str
    before: Any = MISSING
    after: Any = MISSING
    does: str = ""

    @property
    def in_words(self) -> bool:
        """Whether there are no values to it."""
        return self.before is MISSING and self.after is MISSING


def told(subject: Subject, diff: PlanDiff) -> list[Told]:
    """What changes of a subject that stays, and of one that goes where it was; nothing of one that comes."""
    if subject.effect is Effect.CREATED:
        return []
    if subject.effect is Effect.DELETED:
        url = within(diff.base, "outputs", "models", subject.name, "url") if subject.kind == "model" else ""
        return [*([Told("url", url)] if url else []), *_protected(subject, diff)]
    if subject.kind == "model":
        found = list(_of_model(subject, diff))
        if found or subject.effect is not Effect.UPDATED:
            return found
        # What only follows is all that there is: it is told, as the row would be empty.
        serving = [change for one in subject.resources if one.type in _SERVING for change in one.changes]
        return [Told(_short(one.path), one.before, one.after) for one in serving]
    return [*_protected(subject, diff), *_of_others(subject.resources)]


def _protected(subject: Subject, diff: PlanDiff) -> Iterator[Told]:
    """What the engine will refuse: a protected resource is neither deleted nor replaced."""
    gone = {(one.type, one.name): one for one in subject.resources if one.action in {"delete", "replace"}}
    for item in diff.base.get("resources", ()) if gone else ():
        one = gone.get((item["type"], item["name"]))
        if one and item.get("options", {}).get("protect"):
            yield Told(f"{short_type(one.type)} is protected: the update will be refused")


def _of_model(subject: Subject, diff: PlanDiff) -> Iterator[Told]:
    before, after = (within(plan, "outputs", "models", subject.name) or {} for plan in (diff.base, diff.head))
    if subject.digest:
        images = [str(within(side, "image")) for side in (before, after)]
        same = images[0].partition("@")[0] == images[1].partition("@")[0]
        yield Told("digest", *subject.digest) if same else Told("image", *images)
    if subject.built:
        yield from _of_steps(subject, diff)
    for name in ("delivery", "node_pool", "paused", "url", "served_name"):
        was, now = within(before, name), within(after, name)
        if before and after and was != now and not (name == "paused" and was is None):
            yield Told(name.replace("_", " "), was, now, "callers need it" if name in asked_by(subject, diff) else "")
    yield from _of_serving([one for one in subject.resources if one.type in _SERVING], subject)
    others = [one for one in subject.resources if one.type not in {*_SERVING, COMMAND_TYPE} and one.parent]
    kinds: dict[str, list[str]] = {}
    for one in others:
        kind = short_type(one.type)
        # Both follow: from the digest, and from the number of pods.
        if kind in {"NamespacePatch", "PodDisruptionBudget"} and one.action in {"update", "replace"}:
            continue
        kinds.setdefault({"create": "new", "delete": "gone"}.get(one.action, "changed"), []).append(kind)
    yield from (Told(f"{word}: {', '.join(dict.fromkeys(found))}") for word, found in sorted(kinds.items()))


def _of_steps(subject: Subject, diff: PlanDiff) -> Iterator[Told]:
    """What of an image's steps changes: their arguments, or what they are started again for."""
    if not any(one.type == COMMAND_TYPE and one.changes for one in subject.resources) and diff.promoted:
        yield Told("another stack builds its image anew")
        return
    found: dict[str, Told] = {}
    for one in subject.resources:
        for change in one.changes:
            lines = [commands.read(side) for side in (change.before, change.after)]
            if one.type == COMMAND_TYPE and change.path == "create" and lines[0] and lines[1]:
                for told in _of_arguments(lines[0].arguments, lines[1].arguments):
                    found.setdefault(told.name, told)
    made = "an image beside its own is made or looked up" if subject.only_beside else "its image is made again"
    yield from found.values() or [Told(made)]


def _of_arguments(before: Sequence[str], after: Sequence[str]) -> Iterator[Told]:
    names = ("", "source", "destination")
    for index in range(max(len(before), len(after))):
        was, now = (side[index] if index < len(side) else MISSING for side in (before, after))
        if was != now:
            option = after[index - 1] if 0 < index <= len(after) and after[index - 1].startswith("--") else ""
            yield Told(names[index] if 0 < index < len(names) else option.lstrip("-") or "arguments", was, now)


def _of_serving(serving: Sequence[ResourceChange], subject: Subject) -> Iterator[Told]:
    changes = [change for one in serving for change in one.changes]
    limits = {change.path: change for change in changes}
    for change in changes:
        name = _short(change.path)
        if _FOLLOWS.fullmatch(name) and (subject.digest or subject.built or name not in {"storageUri", "url"}):
            continue
        asked = _SAME.fullmatch(name)
        twin = limits.get(change.path.replace(".requests.", ".limits.")) if asked else None
        if twin and (twin.before, twin.after) == (change.before, change.after):
            continue
        same = limits.get(change.path.replace(".limits.", ".requests.")) if ".limits." in change.path else None
        if same and (same.before, same.after) == (change.before, change.after):
            name = name.replace(".limits.", ".")
        yield Told(name, change.before, change.after)


def _of_others(resources: Sequence[ResourceChange]) -> Iterator[Told]:
    words: dict[tuple[str, str], None] = {}
    for one in sorted(resources, key=lambda one: (one.type not in _MAIN, one.type, one.name)):
        if one.action in {"create", "delete"}:
            words[f"{'new' if one.action == 'create' else 'gone'}: {short_type(one.type)}", one.name] = None
            continue
        prefix = "" if one.type in _MAIN else f"{short_type(one.type)} "
        for change in one.changes:
            if not (change.path == "name" and one.type == NODE_POOL_TYPE):
                name = f"{prefix}{label_of(one.type, change.path) or _short(change.path)}"
                nodes = "removes the nodes there" if change.path == ZONES else "recreates the nodes"
                does = "replaces it" if change.replaces else nodes if change.recreates_nodes else ""
                yield Told(name, change.before, change.after, does)
    yield from (Told(f"{what} {name}") for what, name in words)


def _short(path: str) -> str:
    return next((path.removeprefix(prefix) for prefix in _PREFIXES if path.startswith(prefix)), path)
