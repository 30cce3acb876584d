"""What `pulumi up` waits for after a change: that pods of the new digest are ready, or the reason why they are not."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_command as command

from components.interpreter import python
from components.schema import Model


def watch(
    name: str,
    model: Mapping[str, pulumi.Input[Any]],
    *,
    settings: Model,
    kubeconfig: pulumi.Input[str] | None,
    opts: pulumi.ResourceOptions,
) -> list[command.local.Command]:
    """Run `python -m smoke.rollout` when the model's image changes; nothing where no pod has to come up.

    A serving resource cannot tell by itself: an InferenceService stays Ready while old pods serve, and neither KServe
    nor KubeAI reports a failed pull. This runs before anything waits for the pods, or beside it, so that the reason
    shows at once.

    Args:
        name: Kubernetes name of the model.
        model: what the stack's outputs say of it (`components.outputs.ModelOutput`).
        settings: the model's settings: how many pods, and how long the first one may take to be ready.
        kubeconfig: text of a kubeconfig, which reaches the command by its environment only, as a secret; None where
            the update does not wait or there is no cluster.
        opts: resource options; must not depend on a resource that waits for these pods.
    """
    if kubeconfig is None or settings.paused or not settings.replicas.min:
        return []
    described = pulumi.Output.all(**model).apply(lambda known: json.dumps(known, sort_keys=True))
    run = command.local.Command(
        f"{name}-rollout",
        create=shlex.join([python(), "-m", "smoke.rollout", "--timeout", str(settings.startup_timeout)]),
        stdin=described,
        environment={"SMOKE_KUBECONFIG": pulumi.Output.secret(kubeconfig)},
        triggers=[model["image"]],
        add_previous_output_in_env=False,
        logging=command.local.Logging.STDERR,
        opts=opts,
    )
    return [run]
