"""Wait until the API servers take an object that names images which were just allowed: `python -m watch.admitted`.

What a namespace may run is written down before the object that serves a model is sent. But each API server judges by a
copy of its own, which follows a moment later, it looks for new policies once a second (kube-apiserver 1.35,
pkg/admission/plugin/policy/generic), and where there are several, a balancer chooses one by the connection. So the
object is sent as dry runs, each over a connection of its own, until some in a row are not refused by the policy. What
else refuses it is not waited for: whoever sends the object is told.

The object comes on stdin, as JSON; the kubeconfig's text or path in SMOKE_KUBECONFIG (a secret, so no argument).
Progress goes to stderr. Exit codes: 0 taken, 1 refused until the end, 2 bad input, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from typing import Any

from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.foreign import read_json
from watch.causes import NotHeldError, short
from watch.kube import ApiError, KubeApi, is_transient
from watch.waiting import LateError, Progress, Tell, wait_for

_IN_A_ROW = 12
"""Answers that must be the same: that one of three API servers is never asked has a chance of one in a hundred."""


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m watch.admitted", description=__doc__.partition("\n")[0])
    parser.add_argument("--policy", required=True, help="the policy whose refusals are waited for")
    parser.add_argument("--timeout", type=float, required=True, help="seconds to wait for it")
    options = parser.parse_args()
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    try:
        body = _object(sys.stdin.read())
        with closing(KubeApi(os.environ.get("SMOKE_KUBECONFIG") or None)) as api:
            wait_until_taken(api, body, policy=options.policy, timeout=options.timeout, tell=progress.tell)
    except OmsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def wait_until_taken(
    api: KubeApi, body: Mapping[str, Any], *, policy: str, timeout: float, tell: Tell = lambda _: None
) -> None:
    """Ask by dry runs until the policy does not refuse the object, whichever API server answers.

    Args:
        api: the cluster.
        body: the object; nothing is made of it.
        policy: name of the ValidatingAdmissionPolicy.
        timeout: seconds to wait.
        tell: takes a line of progress with each look.

    Raises:
        NotHeldError: it still refuses the object after `timeout` seconds, or no API server answers.
    """
    what = f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}: waiting until it is allowed"
    refusals: list[str] = []

    def look() -> bool:
        path = api.path_of(body).rpartition("/")[0]
        for _ in range(_IN_A_ROW if path else 0):
            refusal = _refusal(api, path, body)
            if policy in refusal:
                refusals.append(refusal)
                return False
        return True

    try:
        wait_for(look, timeout=timeout, what=what, remedy="see whether the API server is up", tell=tell)
    except LateError:
        if not refusals:
            raise
        raise NotHeldError(
            f"{what}: refused for {timeout:.0f} s: {short(refusals[-1])}",
            "`oms check --only drift` tells whether somebody has changed the policies or what the namespace allows; "
            "`pulumi up` again asks again",
        ) from None


def _refusal(api: KubeApi, path: str, body: Mapping[str, Any]) -> str:
    """What an API server says against the object; "" where it takes it, or has it already."""
    try:
        api.create(path, body, dry_run=True, alone=True)
    except ApiError as error:
        if is_transient(error):
            raise
        return "" if error.status == HTTPStatus.CONFLICT else error.message
    return ""


def _object(text: str) -> dict[str, Any]:
    try:
        found = read_json(text.encode())
        if all(isinstance(found["metadata"][key], str) for key in ("name", "namespace")) and found["kind"]:
            return dict(found)
    except (ValueError, TypeError, LookupError):
        pass
    raise InputError("stdin is not an object of Kubernetes with kind, metadata.name and metadata.namespace")


if __name__ == "__main__":
    sys.exit(main())
