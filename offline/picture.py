"""What a plan consists of, as a reader sees it: one part a component, and what leads from weights to a served model.

It is read from a plan in its JSON form, so that the plans of two revisions can be drawn as one picture. The plan may be
of an older version, of another program or of somebody else's branch: what is missing in it is not drawn.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import Any

from components import commands
from offline.plan import tops
from offline.table import short_type
from offline.values import is_known_after

_TITLE = "The parts of a stack"
_OURS = "oci-model-serving:index:"
_STACK_REFERENCE = "pulumi:pulumi:StackReference"
_DOCKER_IMAGE = "docker:index/image:Image"
_TAKES_WEIGHTS = frozenset({"pack", "cloudbuild", "clusterbuild", "context"})
"""The verbs of `modelimage` whose first argument is what an image is made of."""
_HEX = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b")
_NAMES = 12
"""Names that a part of several has lines for."""


class Fate(Enum):
    """What becomes of a component, the worst first that has a part of several."""

    REPLACED = "replaced"
    DELETED = "deleted"
    RECREATED = "nodes recreated"
    """It stays, and its nodes do not: models on them stop."""
    UPDATED = "updated"
    CREATED = "created"


class Rank(IntEnum):
    """Where a part stands on the way from weights to hardware."""

    ORIGIN = 0
    IMAGE = 1
    REGISTRY = 2
    MODEL = 3
    PLATFORM = 4
    POOL = 5
    CLUSTER = 6


_RANKS = {
    "ModelImage": Rank.IMAGE,
    "ModelRegistry": Rank.REGISTRY,
    "InferenceService": Rank.MODEL,
    "KubeAIModel": Rank.MODEL,
    "AllowList": Rank.MODEL,
    "KServe": Rank.PLATFORM,
    "KubeAI": Rank.PLATFORM,
    "SpareNodes": Rank.PLATFORM,
    "GpuNodePool": Rank.POOL,
    "GivenNodes": Rank.POOL,
    "Cluster": Rank.CLUSTER,
}
_BESIDE = frozenset({"AllowList", "SpareNodes"})
"""Kinds that no digest passes: they are the first to be drawn as one."""
_PLATFORMS = {"InferenceService": "KServe", "KubeAIModel": "KubeAI"}


@dataclass(frozen=True)
class PlanPart:
    """A component, several of a kind, or what an image comes from.

    `key` is `TYPE::NAME` of the component (of the first one); `names` has the name of each, `details` what else there
    is to say.
    """

    key: str
    rank: Rank
    kind: str
    names: tuple[str, ...]
    details: tuple[str, ...] = ()
    fate: Fate | None = None

    @property
    def title(self) -> str:
        """What it is, with how many they are and what becomes of them."""
        what = f"{len(self.names)} x {self.kind}" if len(self.names) > 1 else self.kind
        return f"{self.fate.value}: {what}" if self.fate else what

    @property
    def listed(self) -> list[str]:
        """The names that are drawn, and how many are not."""
        if len(self.names) <= _NAMES:
            return list(self.names)
        return [*self.names[: _NAMES - 1], f"and {len(self.names) - _NAMES + 1} more"]


@dataclass(frozen=True)
class Lead:
    """What leads from one part to another, by their keys; `digest` marks the way of the weights to their server."""

    source: str
    target: str
    digest: bool = False


@dataclass(frozen=True)
class Picture:
    """Parts from weights to cluster, and what leads from one to the next; every lead goes to a later rank."""

    parts: tuple[PlanPart, ...] = ()
    leads: tuple[Lead, ...] = ()
    title: str = _TITLE

    @property
    def fates(self) -> list[Fate]:
        """Those that occur, the worst first."""
        there = {part.fate for part in self.parts}
        return [fate for fate in Fate if fate in there]

    @property
    def described(self) -> str:
        """The picture in words, for those who do not see it."""
        ranks = [[part for part in self.parts if part.rank is rank] for rank in Rank]
        said = ["; ".join(f"{part.title} {', '.join(part.listed)}" for part in parts) for parts in ranks if parts]
        return "From weights to cluster. " + ". ".join(said)


def picture_of(
    plan: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
    fates: Mapping[str, Fate] | None = None,
    title: str = _TITLE,
) -> Picture:
    """The picture of a plan, or of what a change does to one.

    Args:
        plan: in its JSON form (`offline.plan.Plan.data`).
        before: the plan that the change starts from; what it deletes is drawn from this.
        fates: what becomes of components, by `TYPE::NAME`; without them nothing is marked.
        title: of the whole.
    """
    fates = fates or {}
    found = _Parts(plan)
    parts, leads = dict(found.parts), dict.fromkeys(found.leads)
    if before is not None:
        old = _Parts(before)
        gone = {key for key in old.parts if fates.get(key) is Fate.DELETED and key not in parts}
        # What only a deleted image was made of goes with it.
        gone |= {
            one.source for one in old.leads if one.target in gone and one.source.startswith(_ORIGIN)
        } - parts.keys()
        parts |= {key: part for key, part in old.parts.items() if key in gone}
        leads |= dict.fromkeys(
            one for one in old.leads if {one.source, one.target} & gone and {one.source, one.target} <= parts.keys()
        )
    marked = [replace(part, fate=fates.get(part.key)) for part in parts.values()]
    return Picture(tuple(sorted(marked, key=lambda part: part.rank)), tuple(leads), title)


def parts_of(plan: Mapping[str, Any]) -> tuple[dict[str, PlanPart], list[Lead]]:
    """The parts of a plan by their keys, each on its own, and what leads from one to another."""
    found = _Parts(plan)
    return found.parts, found.leads


_ORIGIN = "origin::"
_STACK = "another stack"


@dataclass
class _Parts:
    """What is read of one plan."""

    plan: Mapping[str, Any]
    parts: dict[str, PlanPart] = field(default_factory=dict)
    leads: list[Lead] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._outputs = _mapping(self.plan.get("outputs"))
        self._models = _mapping(self._outputs.get("models"))
        self._below = _by_top(self.plan)
        self._of_kind: dict[str, list[str]] = {}
        for key, items in self._below.items():
            self._of_kind.setdefault(items[0]["type"], []).append(key)
        for key, items in self._below.items():
            kind = short_type(items[0]["type"])
            rank = _RANKS.get(kind, Rank.MODEL) if _is_ours(items[0]) else Rank.MODEL
            if items[0]["type"] == _STACK_REFERENCE:
                self._add(self._stack(items[0]))
                continue
            self._add(PlanPart(key, rank, kind, (items[0]["name"],), tuple(filter(None, self._details(kind, items)))))
        for key in self._below:
            self.leads += self._leads_of(key)
        self.leads = list(dict.fromkeys(self.leads))

    def _add(self, part: PlanPart) -> str:
        self.parts.setdefault(part.key, part)
        return part.key

    def _stack(self, item: Mapping[str, Any]) -> PlanPart:
        name = _text(_mapping(item["inputs"]).get("name")) or item["name"]
        return PlanPart(f"{_ORIGIN}stack {name}", Rank.ORIGIN, _STACK, (name,), ("gives the digest",))

    def _details(self, kind: str, items: list[Mapping[str, Any]]) -> Iterator[str]:
        name = items[0]["name"]
        model = _mapping(self._models.get(name))
        pool = _mapping(_mapping(self._outputs.get("node_pools")).get(name))
        if kind == "ModelImage":
            yield from _of_image(model, [own.arguments for own in _commands(items)])
        elif kind == "ModelRegistry":
            yield _text(self._outputs.get("registry_url"))
        elif kind in _PLATFORMS:
            where = _text(model.get("node_pool"))
            yield ", ".join(filter(None, [_text(model.get("delivery")), where and f"on {where}"]))
            yield "paused" if model.get("paused") is True else ""
        elif kind in _PLATFORMS.values():
            yield _text(_mapping(_mapping(self._outputs.get("platforms")).get(name)).get("version"))
        elif kind in {"GpuNodePool", "GivenNodes"}:
            accelerator = _text(pool.get("accelerator"))
            yield f"{_text(pool.get('count')) or '?'} x {accelerator}" if accelerator else ""
            yield _text(pool.get("machine_type"))
            if "max_nodes" in pool:
                spot = ", spot" if pool.get("spot") is True else ""
                yield f"{_text(pool.get('min_nodes')) or '0'} to {_text(pool['max_nodes'])} nodes{spot}"
        elif kind == "Cluster":
            cluster = _mapping(self._outputs.get("cluster"))
            yield ", ".join(dict.fromkeys(filter(None, (_text(cluster.get(key)) for key in ("name", "location")))))

    def _leads_of(self, key: str) -> Iterator[Lead]:
        items = self._below[key]
        part = self.parts.get(key)
        kind = part.kind if part and _is_ours(items[0]) else ""
        name = items[0]["name"]
        if kind == "ModelImage":
            for origin in self._origins(items):
                yield Lead(self._add(origin), key, digest=True)
            for registry in self._all("ModelRegistry") if self._is_pushed(items) else ():
                yield Lead(key, registry, digest=True)
                yield from (Lead(registry, model, digest=True) for model in self._users(name))
            if not self._is_pushed(items):
                yield from (Lead(key, model, digest=True) for model in self._users(name))
        elif kind in _PLATFORMS:
            yield from self._placed(key, name, _PLATFORMS[kind])
        elif kind == "AllowList":
            platform = name.removesuffix("-allow-list")
            yield from (Lead(key, one) for one in self._all("KServe", "KubeAI") if one.endswith(f"::{platform}"))
        elif kind == "SpareNodes":
            yield from (Lead(key, pool) for pool in self._pools(name))
        elif kind in {"GpuNodePool", "GivenNodes"} or (
            kind in _PLATFORMS.values() and not any(map(self._pool_of, self._served_by(kind)))
        ):
            yield from (Lead(key, cluster) for cluster in self._all("Cluster"))
        elif not kind and part:
            yield from self._into(key, items)

    def _into(self, key: str, items: list[Mapping[str, Any]]) -> Iterator[Lead]:
        """What leads to a resource of another program: the images and stacks that its inputs wait for or name."""
        said = str([item["inputs"] for item in items])
        for image in self._all("ModelImage"):
            name = self.parts[image].names[0]
            digest = _digest(_mapping(self._models.get(name)))
            if re.search(rf"known after \w+ of {re.escape(name)}\b", said) or (digest and digest in said):
                yield Lead(image, key, digest=True)
        for part in self.parts.values():
            if part.kind == _STACK and f"known after an update of stack {part.names[0]}" in said:
                yield Lead(part.key, key, digest=True)

    def _placed(self, key: str, name: str, platform: str) -> Iterator[Lead]:
        """From a model over its platform to its nodes."""
        for one in self._all(platform):
            yield Lead(key, one)
            yield from (Lead(one, pool) for pool in self._pools(self._pool_of(name)))
            if not self._pool_of(name):
                yield from (Lead(one, cluster) for cluster in self._all("Cluster"))

    def _origins(self, items: list[Mapping[str, Any]]) -> Iterator[PlanPart]:
        stacks = [item for item in items if item["type"] == _STACK_REFERENCE]
        yield from map(self._stack, stacks)
        for own in _commands(items):
            verb, first = (*own.arguments, "", "")[:2]
            if verb in _TAKES_WEIGHTS and first:
                yield _origin("weights", first)
            elif verb == "copy" and first and not stacks:
                yield _origin("image elsewhere", first)

    def _is_pushed(self, items: list[Mapping[str, Any]]) -> bool:
        """Whether the image comes into the stack's registry: Docker builds it, or it is packed or copied there."""
        name = items[0]["name"]
        into_folder = any(item["name"].endswith("-layout-folder") for item in items)
        steps = {f"{name}-copy"} if into_folder else {f"{name}-copy", f"{name}-build"}
        return any(item["type"] == _DOCKER_IMAGE or item["name"] in steps for item in items)

    def _users(self, image: str) -> list[str]:
        """The models that an image is for: its own, or the one whose adapter or compile cache it is."""
        ends = [at for at, letter in enumerate(image) if letter == "/"]
        names = [image, *(image[:at] for at in ends)]
        keys = (f"{_OURS}{kind}::{name}" for kind in _PLATFORMS for name in names)
        return [key for key in keys if key in self._below]

    def _served_by(self, platform: str) -> list[str]:
        return [
            self.parts[key].names[0] for kind, on in _PLATFORMS.items() if on == platform for key in self._all(kind)
        ]

    def _pool_of(self, model: str) -> str:
        return _text(_mapping(self._models.get(model)).get("node_pool"))

    def _pools(self, name: str) -> list[str]:
        return [key for kind in ("GpuNodePool", "GivenNodes") if (key := f"{_OURS}{kind}::{name}") in self._below]

    def _all(self, *kinds: str) -> list[str]:
        return [key for kind in kinds for key in self._of_kind.get(f"{_OURS}{kind}", ())]


def grouped(picture: Picture, abreast: int) -> Picture:
    """The same with parts of a kind as one where a rank has more than `abreast`, the most alike first."""
    becomes = {part.key: part.key for part in picture.parts}
    parts: list[PlanPart] = []
    for rank in sorted(Rank, reverse=True):
        there = [part for part in picture.parts if part.rank is rank]
        leads = [one for one in picture.leads if one.source in {part.key for part in there}]

        def way(part: PlanPart, leads: Sequence[Lead] = leads) -> frozenset[str]:
            return frozenset(becomes[one.target] for one in leads if becomes[one.source] == part.key)

        for alike in (
            lambda part: (part.kind, part.fate, way(part), part.details),
            lambda part: (part.kind, part.fate, part.kind in _BESIDE or part.key),
            lambda part: (part.kind, part.fate, way(part)),
            lambda part: (part.kind, part.fate),
        ):
            if len(there) > abreast:
                there = _together(there, alike, becomes)
        parts = [*there, *parts]
    leads = [Lead(becomes[one.source], becomes[one.target], one.digest) for one in picture.leads]
    order = {part.key: number for number, part in enumerate(parts)}
    leads.sort(key=lambda one: (order[one.source], order[one.target]))
    return replace(picture, parts=tuple(parts), leads=tuple(dict.fromkeys(leads)))


def _together(parts: list[PlanPart], alike: Callable[[PlanPart], object], becomes: dict[str, str]) -> list[PlanPart]:
    """The parts that are alike as one, and in `becomes` by which key each is found from now on."""
    groups: dict[object, list[PlanPart]] = {}
    for part in parts:
        groups.setdefault(alike(part), []).append(part)
    found = []
    for first, *others in groups.values():
        gone = {one.key for one in others}
        becomes.update({key: first.key for key, now in becomes.items() if now in gone})
        names = tuple(name for one in (first, *others) for name in one.names)
        shared = tuple(detail for detail in first.details if all(detail in one.details for one in others))
        found.append(replace(first, names=names, details=shared))
    return found


def _by_top(plan: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The resources by the `TYPE::NAME` of what they belong to at the top, which is the first of each list."""
    above = tops(plan)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for item in plan["resources"]:
        label = f"{item['type']}::{item['name']}"
        below = found.setdefault(above[label], [])
        below.insert(0 if above[label] == label else len(below), item)
    return found


def _origin(kind: str, said: str) -> PlanPart:
    """What an image is made of or copied from; its commit or digest stands below its name."""
    found = re.fullmatch(r"(.+)@((?:sha256:)?[0-9a-f]{40,64})", said)
    name, version = found.groups() if found else (said, "")
    return PlanPart(f"{_ORIGIN}{said}", Rank.ORIGIN, kind, (name,), tuple(filter(None, [_shortened(version)])))


def _commands(items: Iterable[Mapping[str, Any]]) -> Iterator[commands.Own]:
    for item in items:
        own = commands.read(_mapping(item["inputs"]).get("create"))
        if own and own.module == commands.IMAGE:
            yield own


def _of_image(model: Mapping[str, Any], said: list[list[str]]) -> Iterator[str]:
    """Of an image: where one that is only looked at is, its digest and its size, as far as they are known."""
    looked_at = [first for verb, first, *_ in (line for line in said if len(line) > 1) if verb == "inspect"]
    yield _shortened(looked_at[0] if looked_at else _digest(model))
    size = model.get("size_bytes")
    yield f"{size / 1e9:.1f} GB" if isinstance(size, int) and size >= 50_000_000 else ""


def _digest(model: Mapping[str, Any]) -> str:
    """Of a model's image as the outputs have it, where it is known."""
    return _text(model.get("digest")) or _text(model.get("image")).rpartition("@")[2]


def _is_ours(item: Mapping[str, Any]) -> bool:
    return str(item["type"]).startswith(_OURS)


def _shortened(text: str) -> str:
    return _HEX.sub(r"\1", text)


def _text(value: object) -> str:
    """A text or number that is known; else nothing."""
    return str(value) if isinstance(value, str | int) and not is_known_after(value) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
