"""Wait until a model's new pods are ready, and say at once why they cannot be: `python -m smoke.rollout`.

`pulumi up` runs this beside each serving resource. The resource's own readiness says too little: KServe's stays True
while old pods serve, and neither KServe nor KubeAI tells of a failed pull. Here the pods of the model's digest are
asked, and a pull or start that keeps failing ends in its causes and remedies within a minute or two, instead of the
whole time that a start may take.

The model comes on stdin, as the stack's output `models.<key>`; the kubeconfig's text in SMOKE_KUBECONFIG (a secret,
so neither an argument nor a file). Exit codes: 0 ready, 1 not, 2 bad input.
"""

import argparse
import json
import os
import sys
import time
from typing import TextIO

import httpx
from pydantic import ValidationError

from components.outputs import ModelOutput
from smoke.checks import NotHeldError, SmokeError
from smoke.diagnosis import container_statuses
from smoke.kube import JSON, ApiError, KubeApi, is_transient
from smoke.pods import find_in, pods_of

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
"""How long a failing pull or start may go on: registries hiccup, and the first start can meet a taint in passing."""
_STUCK = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m smoke.rollout", description=__doc__.partition("\n")[0])
    parser.add_argument("--timeout", type=float, required=True, help="seconds to wait for the first pod to be ready")
    options = parser.parse_args()
    try:
        model = _model(sys.stdin)
        api = KubeApi(os.environ.get("SMOKE_KUBECONFIG") or None)
    except SmokeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        print(json.dumps({"pod": wait(api, model, options.timeout)}))
    except NotHeldError as failure:
        print(f"{failure.evidence}\n{failure.remedy}", file=sys.stderr)
        return 1
    finally:
        api.close()
    return 0


def wait(api: KubeApi, model: ModelOutput, timeout: float) -> str:
    """Return the name of the first pod that has the model's image and is ready.

    Args:
        api: the cluster.
        model: the model, whose pods are those of its digest; pods of an earlier image are left out.
        timeout: seconds.

    Raises:
        NotHeldError: a pod's pull or start keeps failing, or none is ready in time; with the causes.
        ApiError: the API server refuses to tell of the pods.
    """
    deadline = time.monotonic() + timeout
    stuck_since: float | None = None
    while True:
        try:
            pods = [pod for pod in pods_of(api, model) if _has_image(pod, model)]
        except (ApiError, httpx.TransportError) as error:
            if not is_transient(error):
                raise
            # An API server that restarts (a cluster being upgraded) is no failed pull.
            print(f"the API server did not answer: {error}", file=sys.stderr)
            pods = []
        for pod in pods:
            if _ready(pod):
                return str(pod["metadata"]["name"])
        now = time.monotonic()
        stuck_since = (stuck_since or now) if any(_stuck(pod) for pod in pods) else None
        if stuck_since is not None and now - stuck_since >= PATIENCE_SECONDS:
            raise _failure(api, model, pods, "keeps failing")
        if now >= deadline:
            raise _failure(api, model, pods, f"is not ready after {timeout:.0f} s")
        time.sleep(POLL_SECONDS)


def _model(stream: TextIO) -> ModelOutput:
    try:
        return ModelOutput.model_validate_json(stream.read())
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        raise SmokeError(f"stdin is not a model of the stack's outputs: {problems}") from None


def _has_image(pod: JSON, model: ModelOutput) -> bool:
    # By digest, or by the tag that spells it: the hexadecimal digits are in both.
    return model.digest.partition(":")[2] in json.dumps(pod["spec"])


def _ready(pod: JSON) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _stuck(pod: JSON) -> bool:
    reasons = {status.get("state", {}).get("waiting", {}).get("reason") for status in container_statuses(pod)}
    return bool(reasons & _STUCK)


def _failure(api: KubeApi, model: ModelOutput, pods: list[JSON], what: str) -> NotHeldError:
    try:
        causes = find_in(api, model, pods)
    except (ApiError, httpx.TransportError) as error:
        return NotHeldError(f"model {model.name}: its pod {what}", f"  its causes cannot be read: {error}")
    told = "\n".join(f"  {cause.evidence}\n    {cause.remedy}" for cause in causes)
    return NotHeldError(
        f"model {model.name}: its pod {what}",
        told or "  the pods show no cause: see `kubectl describe pod` in namespace " + model.namespace,
        causes,
    )


if __name__ == "__main__":
    sys.exit(main())
