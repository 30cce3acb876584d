"""What a cold start costs: pause, wait for zero pods, resume, and divide the seconds that pass."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial

import httpx

from oci_model_serving.outputs import StackOutputs
from smoke.checks import Check, LeftInterrupt, run
from smoke.comparison import Comparison, compare
from smoke.endpoint import open_endpoint
from smoke.engine_log import EngineStart, read_log
from smoke.scaling import pause, resume, scale_of
from smoke.stack import ServedModel
from smoke.timeline import ColdStart, Images, measure
from smoke.validate import served_names
from watch.causes import NotHeldError, said
from watch.kube import JSON, ApiError, KubeApi, namespaced
from watch.pods import events_of, is_paused, nodes_of, object_path
from watch.rollout import wait_for_no_pods, wait_for_ready_pod
from watch.waiting import Tell, wait_for

STEP = "coldstart"
_ANSWER_SECONDS = 10
_PUT_BACK_SECONDS = 10.0
_LOG_BYTES = 4 << 20
"""Of the server's log, from its beginning: its start, with all that it says of each request in a debug log."""


@dataclass
class Measured:
    """What was measured, by model key, and beside what was predicted; filled while the checks run."""

    coldstarts: dict[str, ColdStart] = field(default_factory=dict)
    comparisons: dict[str, Comparison] = field(default_factory=dict)


def coldstart(
    api: KubeApi,
    outputs: StackOutputs,
    models: list[ServedModel],
    measured: Measured,
    *,
    address: str | None,
    timeout: float,
    tell: Tell,
) -> Iterator[Check]:
    """Measure a cold start of each model in turn; a model is left paused or running as it was found."""
    for model in models:

        def evidence(model: ServedModel = model) -> str:
            found = _measure(api, outputs, model, address=address, timeout=timeout, tell=tell)
            measured.coldstarts[model.key] = found
            compared = compare(found, model.output.cold_start)
            if compared:
                measured.comparisons[model.key] = compared
            return f"{found.total:.0f} s from resume to the first answer" if found.total is not None else "measured"

        yield run(STEP, "resume", evidence, model=model.key)


def _measure(
    api: KubeApi, outputs: StackOutputs, model: ServedModel, *, address: str | None, timeout: float, tell: Tell
) -> ColdStart:
    output = model.output
    found = api.get(object_path(output))
    try:
        pause(api, output)
        wait_for_no_pods(api, output, timeout=timeout, tell=tell)
        resumed = datetime.now(timezone.utc)
        resume(api, output)
        pod = wait_for_ready_pod(api, output, timeout=timeout, tell=tell, account=model.account)
        answered = _first_answer(api, outputs, model, address=address, timeout=timeout, tell=tell)
        node = next(iter(nodes_of(api, [pod])), None)
        return measure(
            pod,
            events_of(api, output, [pod]),
            node,
            container=output.serving.platform.container,
            images=Images(
                output.reference.repository,
                frozenset(adapter.reference.repository for adapter in output.adapters.values()),
            ),
            resumed=resumed,
            answered=answered,
            engine=_engine_start(api, pod, output.serving.platform.container),
            beside=_beside(api, node),
        )
    finally:
        # Also after a failure and Ctrl-C: nobody is left with a model that does not serve, or one that costs.
        _put_back(api, model, found, interrupted=isinstance(sys.exc_info()[1], KeyboardInterrupt))


def _engine_start(api: KubeApi, pod: JSON, container: str) -> EngineStart:
    """What the server says of its start; nothing where its log may not be read: then these figures are missing."""
    metadata = pod["metadata"]
    path = namespaced("v1", metadata["namespace"], "pods", metadata["name"]) + "/log"
    try:
        return read_log(api.text(path, container=container, timestamps="true", limitBytes=str(_LOG_BYTES)))
    except (ApiError, httpx.HTTPError):
        return EngineStart()


def _beside(api: KubeApi, node: JSON | None) -> list[JSON]:
    """The system's pods on a node, as far as they may be seen: GKE's installer of drivers is one of them."""
    if node is None:
        return []
    try:
        return api.items(
            namespaced("v1", "kube-system", "pods"), fieldSelector=f"spec.nodeName={node['metadata']['name']}"
        )
    except (ApiError, httpx.HTTPError):
        return []


def _put_back(api: KubeApi, model: ServedModel, found: JSON, *, interrupted: bool) -> None:
    was_paused = is_paused(found, model.output)
    evidence = f"model {model.key} is still {'running' if was_paused else 'paused'}"
    remedy = f"`oms {'pause' if was_paused else 'resume'} --model {model.key}`"
    scale = scale_of(found, model.output)
    try:
        patch = partial(api.patch, object_path(model.output), scale)
        wait_for(patch, timeout=_PUT_BACK_SECONDS, what=f"{model.key}: putting back", remedy=remedy)
    except (NotHeldError, httpx.HTTPError) as error:
        if interrupted:
            raise LeftInterrupt(f"{evidence} ({said(error)}): {remedy}") from None
        raise NotHeldError(f"{evidence}: it could not be put back as it was found ({said(error)})", remedy) from error
    except KeyboardInterrupt:
        raise LeftInterrupt(f"{evidence}, unless the last request came through: {remedy}") from None


def _first_answer(
    api: KubeApi, outputs: StackOutputs, model: ServedModel, *, address: str | None, timeout: float, tell: Tell
) -> datetime:
    with open_endpoint(api, outputs, model, address=address, timeout=_ANSWER_SECONDS) as endpoint:

        def answers() -> bool:
            try:
                return model.output.served_name in served_names(endpoint, model.output)
            except (NotHeldError, httpx.HTTPError):
                return False  # the route or the Service does not know the new pod yet

        what = f"{model.key}: waiting for {endpoint.route}"
        remedy = "run `oms check --only validate` for what it answers"
        wait_for(answers, timeout=timeout, tell=tell, what=what, remedy=remedy)
    return datetime.now(timezone.utc)
