"""What `pulumi up` waits for after a change: that pods of the new digest are ready, or the reason why they are not."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_command as command

from components.interpreter import python


def watch(
    name: str,
    model: Mapping[str, pulumi.Input[Any]],
    *,
    kubeconfig: pulumi.Input[str],
    timeout_seconds: int,
    opts: pulumi.ResourceOptions,
) -> command.local.Command:
    """Run `python -m smoke.rollout` when the model's image changes.

    A serving resource cannot tell by itself: an InferenceService stays Ready while old pods serve, and neither KServe
    nor KubeAI reports a failed pull. This runs before anything waits for the pods, or beside it, so that the reason
    shows at once.

    Args:
        name: Kubernetes name of the model.
        model: what the stack's outputs say of it (`components.outputs.ModelOutput`).
        kubeconfig: text of a kubeconfig; reaches the command by its environment only, as a secret.
        timeout_seconds: how long the first pod may take to be ready.
        opts: resource options; must not depend on a resource that waits for these pods.
    """
    described = pulumi.Output.all(**model).apply(lambda known: json.dumps(known, sort_keys=True))
    return command.local.Command(
        f"{name}-rollout",
        create=shlex.join([python(), "-m", "smoke.rollout", "--timeout", str(timeout_seconds)]),
        stdin=described,
        environment={"SMOKE_KUBECONFIG": pulumi.Output.secret(kubeconfig)},
        triggers=[model["image"]],
        add_previous_output_in_env=False,
        logging=command.local.Logging.STDERR,
        opts=opts,
    )
