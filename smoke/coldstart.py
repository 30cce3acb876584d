"""What a cold start costs: pause, wait for zero pods, resume, and divide the seconds that pass."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus

import httpx
import tenacity

from components.outputs import StackOutputs
from smoke import manifests
from smoke.checks import Check, LeftInterrupt, NotHeldError, run
from smoke.endpoint import open_endpoint
from smoke.kube import JSON, ApiError, KubeApi, is_transient
from smoke.pods import events_of, find_cause
from smoke.scaling import (
    Tell,
    pause,
    put_back,
    read_paused,
    read_scale,
    resume,
    wait,
    wait_for_no_pods,
    wait_for_ready_pod,
)
from smoke.stack import Model
from smoke.timeline import ColdStart, measure
from smoke.validate import served_names

STEP = "coldstart"
_ANSWER_SECONDS = 10
_PUT_BACK_ATTEMPTS = 5
_PUT_BACK_SECONDS = 2.0


@dataclass
class Measured:
    """What was measured, by model key; filled while the checks run."""

    coldstarts: dict[str, ColdStart]


def coldstart(
    api: KubeApi,
    outputs: StackOutputs,
    models: list[Model],
    measured: Measured,
    *,
    address: str | None,
    timeout: float,
    tell: Tell,
) -> Iterator[Check]:
    """Measure a cold start of each model in turn; a model is left paused or running as it was found."""
    for model in models:

        def evidence(model: Model = model) -> str:
            found = _measure(api, outputs, model, address=address, timeout=timeout, tell=tell)
            measured.coldstarts[model.key] = found
            return f"{found.total:.0f} s from resume to the first answer" if found.total is not None else "measured"

        yield run(STEP, "resume", evidence, model=model.key)


def _measure(
    api: KubeApi, outputs: StackOutputs, model: Model, *, address: str | None, timeout: float, tell: Tell
) -> ColdStart:
    was_paused = read_paused(api, model.output)
    found = read_scale(api, model.output)
    try:
        pause(api, model.output)
        wait_for_no_pods(api, model.output, timeout=timeout, tell=tell)
        resumed = datetime.now(timezone.utc)
        resume(api, model.output)
        try:
            pod = wait_for_ready_pod(api, model.output, timeout=timeout, tell=tell)
        except NotHeldError as late:
            causes = find_cause(api, outputs, model.output)
            raise NotHeldError(late.evidence, causes[0].remedy if causes else late.remedy, causes) from None
        answered = _first_answer(api, outputs, model, address=address, timeout=timeout, tell=tell)
        return measure(
            pod,
            events_of(api, model.output, [pod]),
            _node(api, pod),
            container=manifests.server_container(model.output),
            repository=model.output.reference.repository,
            resumed=resumed,
            answered=answered,
        )
    finally:
        # Also after a failure and Ctrl-C: nobody is left with a model that does not serve, or one that costs.
        interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt)
        _put_back(api, model, found, was_paused=was_paused, interrupted=interrupted)


def _put_back(api: KubeApi, model: Model, found: JSON, *, was_paused: bool, interrupted: bool) -> None:
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and is_transient(error)),
        stop=tenacity.stop_after_attempt(_PUT_BACK_ATTEMPTS),
        wait=tenacity.wait_fixed(_PUT_BACK_SECONDS),
        reraise=True,
    )
    evidence = f"model {model.key} is still {'running' if was_paused else 'paused'}"
    remedy = f"`python -m smoke {'pause' if was_paused else 'resume'} --model {model.key}`"
    try:
        attempts(put_back, api, model.output, found)
    except (ApiError, httpx.HTTPError) as error:
        if interrupted:
            raise LeftInterrupt(f"{evidence} ({error}): {remedy}") from None
        raise NotHeldError(f"{evidence}: it could not be put back as it was found ({error})", remedy) from error
    except KeyboardInterrupt:
        raise LeftInterrupt(f"{evidence}, unless the last request came through: {remedy}") from None


def _first_answer(
    api: KubeApi, outputs: StackOutputs, model: Model, *, address: str | None, timeout: float, tell: Tell
) -> datetime:
    with open_endpoint(api, outputs, model, address=address, timeout=_ANSWER_SECONDS) as endpoint:

        def answers() -> bool:
            try:
                return model.output.served_name in served_names(endpoint)
            except (NotHeldError, httpx.HTTPError):
                return False  # the route or the Service does not know the new pod yet

        wait(
            answers,
            timeout=timeout,
            tell=tell,
            what=f"{model.key}: waiting for {endpoint.route}",
            remedy="run `python -m smoke --only validate` for what it answers",
        )
    return datetime.now(timezone.utc)


def _node(api: KubeApi, pod: JSON) -> JSON | None:
    try:
        return api.find(f"/api/v1/nodes/{pod['spec']['nodeName']}")
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return None  # whoever may not see nodes still gets every figure but whether the node is new
