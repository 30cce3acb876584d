"""What `pulumi up` waits for after a change: that pods of the new digest are ready, or the reason why they are not."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_command as command

from components import commands
from components.settings.models import StackModel


def watch(
    model: StackModel,
    described: Mapping[str, pulumi.Input[Any]],
    kubeconfig: pulumi.Input[str] | None,
    opts: pulumi.ResourceOptions,
) -> list[command.local.Command]:
    """Run the rollout command when the model's image changes; nothing where no pod has to come up or nobody waits.

    A serving resource cannot tell by itself: an InferenceService stays Ready while old pods serve, and neither KServe
    nor KubeAI reports a failed pull. This runs before anything waits for the pods, or beside it, so that the reason
    shows at once.

    Args:
        model: the model.
        described: what the stack's outputs say of it (`oci_model_serving.outputs.ModelOutput`).
        kubeconfig: text of a kubeconfig, which reaches the command by its environment only, as a secret; None where
            there is no cluster.
        opts: resource options; must not depend on a resource that waits for these pods.
    """
    if kubeconfig is None or not model.awaited or not model.live_replicas:
        return []
    text = pulumi.Output.all(**described).apply(lambda known: json.dumps(known, sort_keys=True))
    run = commands.local(
        f"{model.name}-rollout",
        commands.ROLLOUT,
        ["--timeout", model.settings.startup_timeout],
        stdin=text,
        environment={"SMOKE_KUBECONFIG": pulumi.Output.secret(kubeconfig)},
        triggers=[described["image"]],
        opts=opts,
    )
    return [run]
