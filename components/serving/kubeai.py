"""KubeAI: the platform that serves models by image volume behind one OpenAI endpoint."""

from typing import Any

import pulumi

from components.serving import admission, objects, vllm
from components.serving.charts import release
from components.serving.objects import Annotations
from components.serving.scheduling import Scheduling
from components.settings.pulling import PULL_SECRET
from components.settings.serving import KubeAISettings
from components.settings.stack import Settings
from oci_model_serving.delivery import KUBEAI


class KubeAI(pulumi.ComponentResource):
    """Installs KubeAI with a resource profile for each of the stack's node pools.

    Deliberately leaves its chat UI out. KubeAI watches its own namespace only, so the models live there too.
    """

    described: dict[str, str]
    """The platform as the stack's outputs show it (`oci_model_serving.outputs.PlatformOutput`)."""

    def __init__(
        self,
        name: str,
        kubeai: KubeAISettings,
        settings: Settings,
        opts: pulumi.ResourceOptions | None = None,
        *,
        listed: Annotations = None,
    ) -> None:
        """Install what `kubeai` says, for the models and with the credentials of `settings`.

        `listed` are the annotations of its namespace that say what it may run.
        """
        super().__init__("oci-model-serving:index:KubeAI", name, None, opts)
        admission.advise_digest("platforms.kubeai.server.image", kubeai.server.image)
        # Pods of a KubeAI that others have installed are as they say: `restricted` refuses the chart's defaults.
        level = "restricted" if kubeai.install else "baseline"
        namespace = objects.namespace(kubeai.namespace, level, pulumi.ResourceOptions(parent=self), annotations=listed)
        before: list[pulumi.Resource] = [namespace]
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        if settings.pull_secrets:
            before.append(
                objects.pull_secret(
                    f"{kubeai.namespace}-{PULL_SECRET}",
                    PULL_SECRET,
                    kubeai.namespace,
                    settings.pull_secrets.values(),
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
                    values=_values(settings),
                    keep_crds=True,
                    opts=pulumi.ResourceOptions(parent=self, depends_on=before),
                )
            )
        self.described = {"version": kubeai.version, "namespace": kubeai.namespace}
        self.register_outputs(dict(self.described))


def _values(settings: Settings) -> dict[str, Any]:
    """Values of chart kubeai (0.22.1; `secrets.oci.name` from the chart that knows oci://, KubeAI documentation)."""
    # Without room in every pool, a new pod would wait for ever.
    surge = all(model.scheduling.surge for model in settings.models_of(KUBEAI))
    values: dict[str, Any] = {
        "open-webui": {"enabled": False},
        "resourceProfiles": {name: _profile(unit) for name, unit in settings.resource_profiles.items()},
        "modelRollouts": {"surge": int(surge)},
        # The engine has no business with the API server.
        "modelServiceAccount": {"automount": False},
        # All that the chart leaves out of what `restricted` asks of KubeAI's own pod.
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "modelServerPods": {
            "podSecurityContext": {
                "runAsNonRoot": True,
                "runAsUser": vllm.UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "securityContext": {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
            # Without room a pod that drains is one that KubeAI counts, and it would replace its successor meanwhile.
            "jsonPatches": [*_home(), *_last_words(), *(_drain(settings.kubeai_drain_timeout) if surge else [])],
        },
    }
    if settings.pull_secrets:
        values["secrets"] = {"oci": {"name": PULL_SECRET}}
    return values


def _home() -> list[dict[str, Any]]:
    """Patches of all model pods: a home that the server may write to.

    By the chart and not by the Model, whose change would replace the pods a second time.
    """
    variables = [{"name": name, "value": value} for name, value in vllm.HOME_ENV.items()]
    return [
        # A Model of ours has an environment, so that there is a list to add to.
        *({"op": "add", "path": "/spec/containers/0/env/-", "value": variable} for variable in variables),
        {"op": "add", "path": "/spec/volumes/-", "value": vllm.WRITABLE},
        {"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": vllm.WRITABLE_MOUNT},
    ]


def _last_words() -> list[dict[str, Any]]:
    """Patches of all model pods, as `_home`: neither a Model nor the chart has a place for it (0.23.2)."""
    return [
        {"op": "add", "path": f"/spec/containers/0/{name}", "value": value} for name, value in vllm.LAST_WORDS.items()
    ]


def _drain(patience: int) -> list[dict[str, Any]]:
    """Patches of all model pods, which KubeAI knows no other place for."""
    return [
        {"op": "add", "path": "/spec/terminationGracePeriodSeconds", "value": vllm.grace(patience)},
        {"op": "add", "path": "/spec/containers/0/lifecycle", "value": vllm.drain(patience, port=vllm.KUBEAI_PORT)},
    ]


def _profile(unit: Scheduling) -> dict[str, Any]:
    profile: dict[str, Any] = {
        "imageName": "nvidia-gpu" if unit.gpus else "cpu",
        "requests": unit.amounts,
        "limits": unit.amounts,
    }
    return {**profile, **unit.on()}
