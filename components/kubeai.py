"""KubeAI: the platform that serves models by image volume behind one OpenAI endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components import admission, objects, schema
from components.charts import release
from components.scheduling import Scheduling

PULL_SECRET = "oci-pull"  # noqa: S105 - its name


@dataclass(frozen=True)
class KubeAIArgs:
    """What the platform needs to know.

    Attributes:
        kubeai: the platform's settings.
        profiles: resource profile -> what one unit of it gets (a GPU's share of a node, or a whole CPU pod).
        pull_secrets: registries that the nodes cannot read by themselves.
        surge: whether every pool has room for one pod more during a rollout; without it, a new pod would wait for ever.
    """

    kubeai: schema.KubeAI
    profiles: Mapping[str, Scheduling] = field(default_factory=dict)
    pull_secrets: Mapping[str, schema.PullSecret] = field(default_factory=dict)
    surge: bool = True


class KubeAI(pulumi.ComponentResource):
    """Installs KubeAI with a resource profile for each of the stack's node pools.

    Deliberately leaves its chat UI out. KubeAI watches its own namespace only, so the models live there too.
    """

    ready: pulumi.Output[bool]
    """True once everything is in place; serving resources depend on the component."""
    namespace: pulumi.Output[str]
    """Namespace of the platform and its models."""

    def __init__(self, name: str, args: KubeAIArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:KubeAI", name, None, opts)
        kubeai = args.kubeai
        admission.advise_digest("platforms.kubeai.server.image", kubeai.server.image)
        # KubeAI's model pods do not set runAsNonRoot (chart 0.22.1, modelServerPods), so `restricted` refuses them.
        namespace = objects.namespace(kubeai.namespace, "baseline", pulumi.ResourceOptions(parent=self))
        before: list[pulumi.Resource] = [namespace]
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        if args.pull_secrets:
            before.append(
                objects.pull_secret(
                    f"{kubeai.namespace}-{PULL_SECRET}",
                    PULL_SECRET,
                    kubeai.namespace,
                    args.pull_secrets.values(),
                    after,
                )
            )
        if kubeai.install:
            before.append(
                release(
                    "kubeai",
                    repository=kubeai.chart_repository,
                    version=kubeai.version,
                    namespace=kubeai.namespace,
                    values=_values(args),
                    opts=pulumi.ResourceOptions(parent=self, depends_on=before),
                )
            )
        self.namespace = pulumi.Output.from_input(kubeai.namespace)
        self.ready = pulumi.Output.all(*[resource.id for resource in before]).apply(lambda _: True)  # type: ignore[attr-defined]
        self.register_outputs({"ready": self.ready, "namespace": self.namespace})


def _values(args: KubeAIArgs) -> dict[str, Any]:
    """Values of chart kubeai (0.22.1; `secrets.oci.name` from the chart that knows oci://, KubeAI documentation)."""
    values: dict[str, Any] = {
        "open-webui": {"enabled": False},
        "resourceProfiles": {name: _profile(unit) for name, unit in args.profiles.items()},
        "modelRollouts": {"surge": int(args.surge)},
        # The engine has no business with the API server.
        "modelServiceAccount": {"automount": False},
    }
    if args.pull_secrets:
        values["secrets"] = {"oci": {"name": PULL_SECRET}}
    return values


def _profile(unit: Scheduling) -> dict[str, Any]:
    amounts = {"cpu": unit.cpu, "memory": unit.memory}
    if unit.gpus:
        amounts["nvidia.com/gpu"] = str(unit.gpus)
    profile: dict[str, Any] = {
        "imageName": "nvidia-gpu" if unit.gpus else "cpu",
        "requests": amounts,
        "limits": amounts,
    }
    if unit.node_selector:
        profile["nodeSelector"] = dict(unit.node_selector)
    if unit.tolerations:
        profile["tolerations"] = [dict(toleration) for toleration in unit.tolerations]
    return profile
