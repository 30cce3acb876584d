"""That every setting of a model reaches what serves it, on either platform."""

from typing import Any

import pulumi
import pytest
from pydantic import SecretStr

from components.serving.adapters import ServedAdapter
from components.serving.compile_cache import ServedCache
from components.serving.inference_service import InferenceService
from components.serving.kubeai_model import KubeAIModel
from components.settings.google import NodePoolSettings
from components.settings.image_settings import AdapterSettings, CompileCacheSettings
from components.settings.pods import ModelServer, TopologySpread
from components.settings.sections import Sections
from components.settings.serving import KServeSettings, KubeAISettings, ModelSettings, Platforms
from components.settings.stack import Settings
from components.settings.types import Target
from modelimage.architecture import Task
from modelimage.traits import Traits
from oci_model_serving.reference import ImageReference
from tests.fields import unreached
from tests.serving import IMAGE

OF_THE_IMAGE: tuple[str, ...] = ("source", "from_stack", "model", "copy_image", "size_gb", "builder", "base", "digest")
OF_THE_IMAGE += tuple(f"files.{name}" for name in ("allow", "ignore", "shard_gb", "convert", "pickle"))
OF_THE_IMAGE += ("platform", "modelpack", "licence")
POOL = NodePoolSettings.model_validate({"accelerator": "nvidia-l4", "count": 2, "max_nodes": 9})
KSERVE = KServeSettings(gateway="none", keda=True, prometheus="http://prometheus:9090")


def serve(given: ModelSettings) -> None:
    platforms = Platforms(kserve=KSERVE, kubeai=KubeAISettings(version="0.24.0"))
    sections = Sections(platforms=platforms, node_pools={"l4": POOL, "t4": POOL}, models={"qwen": given})
    model = Settings(target=Target.GKE, region="us-central1", sections=sections).models["qwen"]
    known: dict[str, Any] = {
        "reference": pulumi.Output.from_input(ImageReference.parse(IMAGE)),
        "size_bytes": 1,
        "traits": pulumi.Output.from_input(Traits()),
        "kubeconfig": "text",
    }
    if isinstance(model.platform, KServeSettings):
        adapters = [
            ServedAdapter(
                adapter.label,
                pulumi.Output.from_input(ImageReference.parse(IMAGE.replace("qwen", "lora"))),
                pulumi.Output.from_input(1),
                pulumi.Output.from_input(Traits(lora_rank=8)),
            )
            for adapter in model.adapters
        ]
        cache = None
        if model.compile_cache:
            image = pulumi.Output.from_input(ImageReference.parse(model.compile_cache.settings.digest or ""))
            cache = ServedCache(image, pulumi.Output.from_input(1), pulumi.Output.from_input(True))
        InferenceService("qwen", model, model.platform, **known, adapters=adapters, cache=cache)
    else:
        KubeAIModel("qwen", model, **known)


@pytest.mark.parametrize("delivery", ["modelcar", "native", "fetch", "stream", "kubeai"])
def test_every_setting_of_a_model_has_an_effect(delivery: str) -> None:
    base = ModelSettings.model_validate({"delivery": delivery, "node_pool": "l4", "replicas": {"max": 3}})
    others = {name: ModelSettings.model_validate({"delivery": name}).asked for name in ("modelcar", "native")}
    values: dict[str, Any] = {
        "asked": others["native" if delivery == "modelcar" else "modelcar"],
        "node_pool": "t4",
        "gpus": 1,
        "served_name": "other",
        "task": Task.EMBEDDING,
        "adapters": {"sql": AdapterSettings(digest=IMAGE)},
        "args": ("--max-model-len=1",),
        "env": {"A": "b"},
        "secret_env": {"K": SecretStr("v")},
        "server": ModelServer(image="r.example/sglang:v1", command=("serve",)),
        "labels": {"team": "search"},
        "priority_class": "high",
        "topology_spread": (TopologySpread(),),
        "fallback_pools": ("t4",),
        "resources.cpu": "3",
        "resources.memory": "9Gi",
        "resources.shm": "9Gi",
        "scaling.query": "sum(x)",
        "scaling.target": 70,
        "scaling.target_requests": 20,
        "scaling.scale_down_delay": 300,
        "pull_secrets": ("private",),
        "warm": "prepull",
        "compile_cache": CompileCacheSettings(digest=IMAGE.replace("qwen", "cache")),
        "await_ready": False,
    }
    exempt = dict.fromkeys(OF_THE_IMAGE, "is of the image (test_model_image.py)")
    exempt["hosts"] = "is of the gateway (test_setups.py)"
    if delivery in {"kubeai", "fetch"}:
        exempt["pull_secrets"] = "is of pods with credentials of their own (test_pulling.py)"
    if delivery == "kubeai":
        of_kserve = ("served_name", "adapters", "resources.shm", "scaling.query", "scaling.target", "server", "labels")
        exempt["topology_spread"] = "is KServe's, and refused for KubeAI (cases_setups_serving.py)"
        exempt["compile_cache"] = "is KServe's, and refused for KubeAI (test_compile_cache.py)"
        exempt |= dict.fromkeys(of_kserve, "is KServe's, and refused for KubeAI (test_checks.py)")
    else:
        of_kubeai = ("scaling.target_requests", "scaling.scale_down_delay")
        exempt |= dict.fromkeys(of_kubeai, "is KubeAI's, and refused for KServe (test_checks.py)")

    changes = {key: value for key, value in values.items() if key not in exempt}
    assert unreached(serve, base, changes, exempt=exempt) == []
