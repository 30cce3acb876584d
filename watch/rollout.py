"""Wait until a model's new pods are ready, and say at once why they cannot be: `python -m watch.rollout`.

`pulumi up` runs this beside each serving resource. The resource's own readiness says too little: KServe's stays True
while old pods serve, and neither KServe nor KubeAI tells of a failed pull. Here the pods of the model's digest are
asked, and a pull or start that keeps failing ends in its causes and remedies within a minute or two, instead of the
whole time that a start may take.

The model comes on stdin, as the stack's output `models.<key>`; the kubeconfig's text in SMOKE_KUBECONFIG (a secret,
so neither an argument nor a file). Exit codes: 0 ready, 1 not, 2 bad input, 130 interrupted.
"""

import argparse
import json
import os
import sys
import time
from contextlib import closing

import httpx
from pydantic import ValidationError

from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.outputs import ModelOutput
from watch.causes import NotHeldError, said
from watch.diagnosis import container_statuses
from watch.kube import JSON, ApiError, KubeApi
from watch.pods import find_causes, is_ready, pods_of
from watch.waiting import LateError, Tell, wait_for

PATIENCE_SECONDS = 60.0
"""How long a failing pull or start may go on: registries hiccup, and the first start can meet a taint in passing."""
_STUCK = {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff"}
_STUCK |= {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m watch.rollout", description=__doc__.partition("\n")[0])
    parser.add_argument("--timeout", type=float, required=True, help="seconds to wait for the first pod to be ready")
    options = parser.parse_args()
    try:
        model = _model(sys.stdin.read())
        with closing(KubeApi(os.environ.get("SMOKE_KUBECONFIG") or None)) as api:
            pod = wait_for_ready_pod(api, model, timeout=options.timeout)
    except OmsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(json.dumps({"pod": pod["metadata"]["name"]}))
    return 0


def wait_for_ready_pod(
    api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell = lambda _: None, account: str = ""
) -> JSON:
    """Return the first pod that has the model's image and is ready; pods of an earlier image are left out.

    Raises:
        NotHeldError: a pod's pull or start keeps failing, or none is ready in time; with the causes.
        ApiError: the API server refuses to tell of the pods.
    """
    what = f"{model.name}: waiting for a ready pod"
    pods: list[JSON] = []
    stuck_since: float | None = None

    def look() -> JSON | None:
        nonlocal stuck_since
        pods[:] = [pod for pod in pods_of(api, model) if _has_image(pod, model)]
        now = time.monotonic()
        stuck_since = (stuck_since or now) if any(map(_is_stuck, pods)) else None
        ready = next(filter(is_ready, pods), None)
        if ready is None and stuck_since is not None and now - stuck_since >= PATIENCE_SECONDS:
            raise _failure(api, model, pods, f"{what}: it keeps failing", account)
        return ready

    try:
        return wait_for(look, timeout=timeout, what=what, remedy="", tell=tell)
    except LateError:
        missing = "" if pods else "; no controller made one of its image"
        raise _failure(api, model, pods, f"{what}: it is not ready after {timeout:.0f} s{missing}", account) from None


def _model(text: str) -> ModelOutput:
    try:
        return ModelOutput.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        raise InputError(f"stdin is not a model of the stack's outputs: {problems}") from None


def _has_image(pod: JSON, model: ModelOutput) -> bool:
    # By digest, or by the tag that spells it: the hexadecimal digits are in both.
    return model.digest.partition(":")[2] in json.dumps(pod["spec"])


def _is_stuck(pod: JSON) -> bool:
    reasons = {status.get("state", {}).get("waiting", {}).get("reason") for status in container_statuses(pod)}
    return bool(reasons & _STUCK)


def _failure(api: KubeApi, model: ModelOutput, pods: list[JSON], evidence: str, account: str) -> NotHeldError:
    try:
        causes = find_causes(api, model, pods, account=account)
    except (ApiError, httpx.TransportError) as error:
        return NotHeldError(evidence, f"its causes cannot be read: {said(error)}")
    return NotHeldError(
        evidence,
        f"the pods show no cause: see `kubectl -n {model.namespace} describe pod` and that the controllers of "
        f"{model.platform} run, or give it more time (--timeout, `models.NAME.startupTimeout`)",
        causes,
    )


if __name__ == "__main__":
    sys.exit(main())
