"""What `pulumi up` waits for: that a model's pods are those of its settings and ready, or the reason why they are not.

The serving resource itself cannot be waited for. An InferenceService's `Ready` stays True while old pods serve (KServe
v0.20.0, InferenceServiceStatus.PropagateRawStatus), and its `observedGeneration` is the Deployment's, which starts
again at 1 after a pause: Pulumi compares that with the InferenceService's own generation for every form of
`pulumi.com/waitFor` (pulumi-kubernetes v4, pkg/await/condition) and would wait until the timeout. KubeAI's Model says
nothing of a rollout. Neither reports why a pod does not start.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi

from components import commands
from components.settings.models import StackModel

_DIGITS = 16
_NOT_ASKED = frozenset({"task", "traits", "adapters", "compile_cache", "cold_start"})
"""Outputs that say nothing of pods which the revision does not say: without them an earlier version's text stays."""


def revision(pod: Mapping[str, Any]) -> pulumi.Output[str]:
    """Name what a pod is made of: another name for each other content, fit for a label."""
    return pulumi.Output.from_input(pod).apply(
        lambda known: hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    )


def watch(
    model: StackModel,
    described: Mapping[str, pulumi.Input[Any]],
    kubeconfig: pulumi.Input[str] | None,
    opts: pulumi.ResourceOptions,
) -> None:
    """Run the watch whenever what the outputs say of the model changes; its failure is the update's.

    Args:
        model: the model.
        described: what the stack's outputs say of it (`oci_model_serving.outputs.ModelOutput`): the revision and the
            number of its pods among it.
        kubeconfig: text or path of a kubeconfig, which reaches the command by its environment only, as a secret; None
            where there is no cluster.
        opts: resource options; must depend on the resource that makes the pods.
    """
    if kubeconfig is None or not model.awaited:
        return
    asked = {key: value for key, value in described.items() if key not in _NOT_ASKED}
    commands.local(
        f"{model.name}-rollout",
        commands.ROLLOUT,
        ["--timeout", model.settings.startup_timeout],
        # Another text is an update of the command, which runs it again (pulumi-command, `update`).
        stdin=pulumi.Output.all(**asked).apply(lambda known: json.dumps(known, sort_keys=True)),
        environment={"SMOKE_KUBECONFIG": pulumi.Output.secret(kubeconfig)},
        triggers=[described["image"]],
        opts=opts,
    )
