"""What a change does to each model, pool and other component: the worst first, one subject each.

A component and what is in it are one subject, and so are all components of a model: its image, those of its adapters
and its compile cache, and what serves it. What runs again whenever something changes (commands, lists of allowed
images, bindings of a role) is replaced as a resource, but nothing stops by it: it does not make its component replaced.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from components.serving import kubeai_model, predictor
from oci_model_serving.delivery import KSERVE_STOP
from offline.diff import Change, PlanDiff, ResourceChange
from offline.picture import Fate
from offline.plan import tops
from offline.recording import (
    CLUSTER_TYPE,
    COMMAND_TYPE,
    IMAGE_TYPE,
    INFERENCE_SERVICE_TYPE,
    KUBEAI_MODEL_TYPE,
    NODE_POOL_TYPE,
    RELEASE_TYPE,
)
from offline.replacements import ZONES
from offline.table import short_type
from offline.values import is_known_after, within

_OURS = "oci-model-serving:index:"
_IMAGE, _PLATFORMS = f"{_OURS}ModelImage", {"InferenceService": "kserve", "KubeAIModel": "kubeai"}
_KINDS = {
    "Cluster": "cluster",
    "ModelRegistry": "registry",
    "GpuNodePool": "pool",
    "GivenNodes": "pool",
    "KServe": "platform",
    "KubeAI": "platform",
    "AllowList": "allow list",
    "SpareNodes": "spare nodes",
    "ModelImage": "model",
    "InferenceService": "model",
    "KubeAIModel": "model",
}
_MAINS = {
    "cluster": CLUSTER_TYPE,
    "registry": "gcp:artifactregistry/repository:Repository",
    "pool": NODE_POOL_TYPE,
}
"""What a component is for, where one resource is: when it goes, the component does."""
_ORDER = list(dict.fromkeys(_KINDS.values()))
"""The kinds, those that others stand on first."""
_GONE = {"replace": "replaced", "delete": "deleted"}
_SERVING = (INFERENCE_SERVICE_TYPE, KUBEAI_MODEL_TYPE)
_RUNTIME = "kubernetes:serving.kserve.io/v1alpha1:ServingRuntime"
_RUN_AGAIN = {COMMAND_TYPE, IMAGE_TYPE, "kubernetes:core/v1:NamespacePatch", "kubernetes:core/v1:ConfigMap"}
_STEPS = {COMMAND_TYPE, IMAGE_TYPE}
"""What makes an image, each time anew when it changes."""


class Effect(Enum):
    """What becomes of a subject, the most dangerous first."""

    REPLACED = "replaced"
    DELETED = "deleted"
    RECREATED = "nodes recreated"
    STOPPED = "pods stop"
    ROLLED_OUT = "rolls out"
    UPDATED = "updated"
    CREATED = "created"

    @property
    def rank(self) -> int:
        """Its place in that order."""
        return list(Effect).index(self)

    @property
    def dangerous(self) -> bool:
        """Whether something may stop or be lost."""
        return self.rank <= Effect.STOPPED.rank


_FATES = {
    Effect.REPLACED: Fate.REPLACED,
    Effect.DELETED: Fate.DELETED,
    Effect.RECREATED: Fate.RECREATED,
    Effect.CREATED: Fate.CREATED,
}


@dataclass(frozen=True)
class Subject:
    """A model, a pool or another component, and what becomes of it.

    Attributes:
        kind: `model`, `pool`, `cluster`, `registry`, `platform` and so on; `resource` of one that stands alone.
        name: the key in the settings; of a resource that stands alone its type and name.
        effect: the worst that happens to it.
        resources: its resources that change.
        moved: what its pods stand on and what goes under them, in words; "" where nothing does.
        built: its image is made or fetched again, and the digest is known only then.
        digest: its digest before and after, as far as both are known and differ.
    """

    kind: str
    name: str
    effect: Effect
    resources: tuple[ResourceChange, ...] = ()
    moved: str = ""
    built: bool = False
    digest: tuple[str, str] | None = None

    @property
    def leaves_zone(self) -> bool:
        """Whether its nodes go because a zone is left, and for nothing else."""
        found = {change.path for one in self.resources for change in one.changes if change.recreates_nodes}
        return found == {ZONES}

    @property
    def only_beside(self) -> bool:
        """Whether what is made again is an adapter's image or a compile cache's, and its own is not."""
        parents = {str(one.parent) for one in self.resources if one.type in _STEPS}
        images = {parent for parent in parents if parent.startswith(f"{_IMAGE}::")}
        return bool(images) and f"{_IMAGE}::{self.name}" not in images


def subjects(diff: PlanDiff) -> list[Subject]:
    """What the difference does, the most dangerous first; of the same danger, models last, by name."""
    return _Gathered(diff).subjects


def fates(diff: PlanDiff) -> dict[str, Fate]:
    """What becomes of the components at the top, by `TYPE::NAME`, for the picture."""
    gathered = _Gathered(diff)
    effects = {(one.kind, one.name): one.effect for one in gathered.subjects if one.resources}
    found = {}
    for label in gathered.changed:
        effect = effects.get(_subject_of(label), Effect.UPDATED)
        made = next((one.action for one in gathered.changed[label] if f"{one.type}::{one.name}" == label), "")
        own = {"create": Fate.CREATED, "delete": Fate.DELETED}.get(made)
        found[label] = own or _FATES.get(effect, Fate.UPDATED)
    # A model whose image or nodes change becomes another though nothing that serves it does.
    becoming = {one.name for one in gathered.subjects if one.effect in {Effect.ROLLED_OUT, Effect.STOPPED}}
    for item in diff.head["resources"]:
        if item["name"] in becoming and item["type"] in {f"{_OURS}{one}" for one in _PLATFORMS}:
            found.setdefault(f"{item['type']}::{item['name']}", Fate.UPDATED)
    return found


@dataclass
class _Gathered:
    """The difference by subject."""

    diff: PlanDiff
    changed: dict[str, list[ResourceChange]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Of two plans in the same words the later one says where a resource belongs, unless only the earlier has it.
        above = {**self._tops(self.diff.base), **self._tops(self.diff.head)}
        for one in self.diff.resources:
            label = f"{one.type}::{one.name}"
            self.changed.setdefault(above.get(label, label), []).append(one)

    @cached_property
    def subjects(self) -> list[Subject]:
        """All, in order."""
        together: dict[tuple[str, str], list[ResourceChange]] = {}
        for label, resources in self.changed.items():
            together.setdefault(_subject_of(label), []).extend(resources)
        others = [
            one for key, there in together.items() if key[0] != "model" for one in self._others(*key, tuple(there))
        ]
        under = {one.name: one for one in others if one.kind == "pool" and one.effect.dangerous}
        whole = next(
            (one for one in self.diff.resources if one.type == _MAINS["cluster"] and one.action in _GONE), None
        )
        found = others
        changed = [key[1] for key in together if key[0] == "model"]
        for name in dict.fromkeys([*changed, *sorted(self._models(self.diff.head))]):
            model = self._model(name, tuple(together.get(("model", name), ())), under, whole)
            if model:
                found.append(model)
        return sorted(found, key=lambda one: (one.effect.rank, _place(one.kind), one.kind, one.name))

    def _others(self, kind: str, name: str, resources: tuple[ResourceChange, ...]) -> Iterator[Subject]:
        """A component, and apart from it what goes in it that is not what it is for: a subnetwork of a cluster."""
        whole = {one.action for one in resources if kind not in _ORDER or one.type.startswith(_OURS)}
        only = next(iter(whole)) if len(whole) == 1 else ""
        coming = {"create": Effect.CREATED, "delete": Effect.DELETED}.get(only)
        if coming:
            yield Subject(kind, name, coming, resources)
            return
        main = _MAINS.get(kind, "")
        apart = [one for one in resources if kind in _ORDER and one.type != main and _lost(one)]
        for one in apart:
            yield Subject("resource", f"{short_type(one.type)} {one.name}", _lost(one) or Effect.UPDATED, (one,))
        own = tuple(one for one in resources if one not in apart)
        if own:
            worst = min((effect for one in own if (effect := _lost(one))), key=lambda one: one.rank, default=None)
            yield Subject(kind, name, worst or Effect.UPDATED, own)

    def _model(
        self,
        name: str,
        resources: tuple[ResourceChange, ...],
        pools: Mapping[str, Subject],
        cluster: ResourceChange | None,
    ) -> Subject | None:
        before, after = (self._models(plan).get(name) for plan in (self.diff.base, self.diff.head))
        there = [self._has(plan, name) for plan in (self.diff.base, self.diff.head)]
        own = {one.action for one in resources if one.type.startswith(_OURS)}
        if own == {"create"} and before is None and not there[0]:
            return Subject("model", name, Effect.CREATED, resources)
        if own == {"delete"} and after is None and not there[1]:
            return Subject("model", name, Effect.DELETED, resources)
        before, after = before or {}, after or {}
        digests = [side.get("digest") for side in (before, after)]
        known = [one for one in digests if isinstance(one, str) and not is_known_after(one)]
        built = len(known) < len(digests) and self._is_made_anew(name, resources)
        paused = after.get("paused") is True
        moved = "" if paused or not before else self._moved(after, pools, cluster)
        if any(one.action in _GONE for one in resources if one.type in _SERVING):
            effect = Effect.REPLACED
        elif moved or (paused and before.get("paused") is False):
            effect = Effect.STOPPED
        elif there[1] and not paused and self._rolls_out(before, after, resources, built=built):
            effect = Effect.ROLLED_OUT
        elif resources:
            effect = Effect.UPDATED
        else:
            return None
        digest = (known[0], known[1]) if len(known) == len(digests) and known[0] != known[1] else None
        return Subject("model", name, effect, resources, moved, built, digest)

    def _is_made_anew(self, name: str, resources: tuple[ResourceChange, ...]) -> bool:
        """Whether its image is built, copied or checked again: a step of it changes, or what it is promoted from."""
        steps = (one for one in resources if one.type in _STEPS and str(one.parent).startswith(f"{_IMAGE}::"))
        return any(steps) or any(key.partition("/")[0] == name for key in self.diff.promoted)

    @staticmethod
    def _moved(model: Mapping[str, Any], pools: Mapping[str, Subject], cluster: ResourceChange | None) -> str:
        if cluster:
            return f"the cluster is {_GONE[cluster.action]}"
        pool = pools.get(str(model.get("node_pool")))
        if pool is None:
            return ""
        recreated = pool.effect is Effect.RECREATED
        if recreated and pool.leaves_zone:
            return f"pool {pool.name} loses the nodes of a zone"
        return (
            f"the nodes of pool {pool.name} are recreated" if recreated else f"pool {pool.name} is {pool.effect.value}"
        )

    def _rolls_out(
        self, before: Mapping[str, Any], after: Mapping[str, Any], resources: tuple[ResourceChange, ...], *, built: bool
    ) -> bool:
        """Whether its pods become others: by their revision where both are known, else by what makes a pod."""
        was, now = before.get("revision"), after.get("revision")
        if isinstance(was, str) and isinstance(now, str) and was and now and not any(map(is_known_after, (was, now))):
            return was != now
        if built or any(_makes_pods(one.type, change) for one in resources for change in one.changes):
            return True
        return any(self._is_under(one, change, after) for one in self.diff.resources for change in one.changes)

    def _is_under(self, one: ResourceChange, change: Change, model: Mapping[str, Any]) -> bool:
        """Whether a change of its platform makes its pods anew."""
        if one.type == _RUNTIME:
            return model.get("platform") == "kserve" and self._runtime(model) == self._named(one.type, one.name)
        if one.type == RELEASE_TYPE and one.name == "kubeai" and model.get("platform") == "kubeai":
            profile = f"values.resourceProfiles.{model.get('node_pool')}"
            return change.path.startswith((profile, "values.modelServerPods"))
        return False

    def _runtime(self, model: Mapping[str, Any]) -> object:
        """The name of the runtime that serves a model on KServe."""
        serving = inputs_of(self.diff.head, _SERVING[0], str(model.get("name")))
        return within(serving, "spec", "predictor", "model", "runtime")

    def _named(self, type_: str, name: str) -> object:
        """The name of an object in Kubernetes, by its resource's."""
        return within(inputs_of(self.diff.head, type_, name), "metadata", "name")

    @staticmethod
    def _tops(plan: Mapping[str, Any]) -> dict[str, str]:
        return tops(plan) if plan else {}

    @staticmethod
    def _models(plan: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """What the plan's outputs say of its models; another program's may say anything."""
        models = within(plan, "outputs", "models")
        known = models if isinstance(models, Mapping) else {}
        return {name: one for name, one in known.items() if isinstance(one, Mapping)}

    @staticmethod
    def _has(plan: Mapping[str, Any], model: str) -> bool:
        return any(
            item["name"] == model and item["type"].removeprefix(_OURS) in _PLATFORMS
            for item in plan.get("resources", ())
        )


def _subject_of(label: str) -> tuple[str, str]:
    type_, _, name = label.partition("::")
    kind = _KINDS.get(type_.removeprefix(_OURS)) if type_.startswith(_OURS) else None
    if kind == "model":
        return kind, name.partition("/")[0]  # an adapter's and a compile cache's image belong to their model
    return (kind, name) if kind else ("resource", f"{short_type(type_)} {name}")


def asked_by(subject: Subject, diff: PlanDiff) -> list[str]:
    """What of a model's outputs changes that its callers write: `served_name`, `url`; nothing of one that is new."""
    if subject.kind != "model":
        return []
    sides = [within(plan, "outputs", "models", subject.name) for plan in (diff.base, diff.head)]
    found = []
    for key in ("served_name", "url"):
        was, now = (within(side, key) for side in sides)
        if was and now and was != now and not any(map(is_known_after, (was, now))):
            found.append(key)
    return found


def inputs_of(plan: Mapping[str, Any], type_: str, name: str) -> Mapping[str, Any]:
    """The inputs of the resource of that type and name; none where there is none."""
    return next((item["inputs"] for item in plan["resources"] if (item["type"], item["name"]) == (type_, name)), {})


def _place(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _lost(one: ResourceChange) -> Effect | None:
    """What of a resource is lost for a while or for good, if anything is."""
    if one.type in _RUN_AGAIN or one.type.startswith(_OURS) or (one.action == "replace" and _binds(one.type)):
        return None
    if one.action in _GONE:
        return Effect.REPLACED if one.action == "replace" else Effect.DELETED
    return Effect.RECREATED if any(change.recreates_nodes for change in one.changes) else None


def _binds(type_: str) -> bool:
    """Whether a resource is a role's binding or an enabled API: replaced, it goes and comes within seconds."""
    return type_.lower().endswith(("iammember", "iambinding")) or type_ == "gcp:projects/service:Service"


def _makes_pods(type_: str, change: Change) -> bool:
    """Whether a change of what serves a model makes its pods anew."""
    if type_ == _SERVING[0]:
        _, _, of_pod = change.path.partition("spec.predictor.")
        if of_pod:
            return of_pod.split(".")[0] not in predictor.NOT_OF_THE_POD
        return change.path.startswith("metadata.annotations.") and not change.path.endswith(KSERVE_STOP)
    if type_ == _SERVING[1]:
        _, _, of_spec = change.path.partition("spec.")
        return bool(of_spec) and of_spec.split(".")[0] not in kubeai_model.NOT_OF_THE_POD
    return type_ == _RUNTIME
