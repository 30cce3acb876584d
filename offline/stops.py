"""Whether a model answers nothing while a change is made, and for how long, as far as it is predicted.

What stops is from what the platforms do (docs/serving.md, "What `pulumi up` waits for" and "What a change costs"); how
long it takes is the predicted cold start, of which a node that is there needs less: it pulls what it does not have.
"""

from dataclasses import dataclass, replace
from typing import Any

from offline.diff import PlanDiff
from offline.predicted import WrittenStart, spans
from offline.recording import INFERENCE_SERVICE_TYPE, NODE_POOL_TYPE, RELEASE_TYPE
from offline.subjects import Effect, Subject, inputs_of
from offline.values import within


@dataclass(frozen=True)
class Stop:
    """What a change means for those who ask a model.

    Attributes:
        stops: nobody answers for a while.
        why: what happens, or why nothing stops.
        seconds: for how long, least and most; None where that is not predicted, or nothing stops.
        in_turn: one pod after the other is away for so long, and the others answer.
        lasting: nothing ends it but another change.
    """

    stops: bool
    why: str
    seconds: tuple[float, float] | None = None
    in_turn: bool = False
    lasting: bool = False

    @property
    def text(self) -> str:
        """In words."""
        if self.in_turn:
            return f"each pod in turn{f' for {spans(*self.seconds)}' if self.seconds else ''}: {self.why}"
        if self.lasting or not self.stops:
            return f"{'yes' if self.stops else 'no'}: {self.why}"
        return f"{spans(*self.seconds)}: {self.why}" if self.seconds else f"yes, how long is not predicted: {self.why}"


def stop_of(subject: Subject, diff: PlanDiff) -> Stop | None:
    """What a change means for those who ask a model; None where nobody asks it, before or after, or it is no model."""
    if subject.kind != "model" or subject.effect is Effect.CREATED:
        return None
    if subject.effect is Effect.DELETED:
        return Stop(stops=True, why="it is gone for good", lasting=True)
    model = within(diff.head, "outputs", "models", subject.name) or {}
    if within(model, "url") == "":  # its image alone is made, nobody is asked
        return None
    if within(model, "paused") is True:
        stopped = Stop(stops=True, why="it is paused", lasting=True)
        return stopped if subject.effect is Effect.STOPPED else None
    return _of_running(subject, diff, model)


def _of_running(subject: Subject, diff: PlanDiff, model: Any) -> Stop:
    """What a change means for a model that runs and stays."""
    if subject.effect is Effect.REPLACED:
        return Stop(stops=False, why="the old one answers until the new one is ready")
    if subject.effect not in {Effect.STOPPED, Effect.ROLLED_OUT}:
        return Stop(stops=False, why="no pod is replaced")
    replicas = within(model, "replicas")
    _, start = diff.predictions.starts(subject.name)
    several = isinstance(replicas, int) and replicas > 1
    how = _moved if subject.moved else _rolled_out
    found = how(subject, diff, start, model, several=several)
    return replace(found, why=f"{found.why}, unless it is at zero") if found.stops and replicas == 0 else found


def _moved(subject: Subject, diff: PlanDiff, start: WrittenStart | None, model: Any, *, several: bool) -> Stop:
    """Its nodes go.

    A pool that is recreated goes node by node and honours disruption budgets for an hour, one that is deleted drains
    all of its nodes and honours none (GKE, "Manage cluster lifecycle changes to minimize disruption", "About node
    pools").
    """
    if subject.moved.startswith("the cluster"):
        return Stop(stops=True, why=subject.moved)
    seconds = start.total if start else None
    pool = inputs_of(diff.head, NODE_POOL_TYPE, str(within(model, "node_pool")))
    surge = within(pool, "upgradeSettings", "maxSurge")
    if "recreated" in subject.moved and start and isinstance(surge, int) and surge > 0:
        seconds = (start.on_node(server_image=True, image=True),) * 2  # the new node is there before the old one goes
    in_turn = several and "recreated" in subject.moved
    return Stop(stops=not in_turn, why=subject.moved, seconds=seconds, in_turn=in_turn)


def _rolled_out(subject: Subject, diff: PlanDiff, start: WrittenStart | None, model: Any, *, several: bool) -> Stop:
    """Its pods become others: the new one first where the pool has room for it."""
    if within(model, "platform") == "kubeai":
        chart = inputs_of(diff.head, RELEASE_TYPE, "kubeai")
        surge = within(chart, "values", "modelRollouts", "surge")
        if surge is None:
            return Stop(stops=False, why="KubeAI's chart, which is not this stack's, decides which pod goes first")
        first = surge != 0
    else:
        serving = inputs_of(diff.head, INFERENCE_SERVICE_TYPE, str(within(model, "name")))
        first = within(serving, "spec", "predictor", "deploymentStrategy", "rollingUpdate", "maxSurge") != 0
        first = first and within(serving, "spec", "predictor", "deploymentStrategy", "type") != "Recreate"
    if first:
        return Stop(stops=False, why="the new pod starts first")
    if several:
        return Stop(stops=False, why="pods go one at a time, the pool has no room for one more")
    changed = {change.path for one in subject.resources for change in one.changes}
    was = within(diff.base, "outputs", "models", subject.name, "node_pool")
    seconds = None
    if start and was is not None and was != within(model, "node_pool"):
        seconds = start.total
    elif start:
        server = bool(changed & {"spec.predictor.model.image", "spec.image"})
        on_node = start.on_node(server_image=server, image=subject.built or subject.digest is not None)
        seconds = (on_node, on_node)
    return Stop(stops=True, why="the pool has no room for a second pod", seconds=seconds)
