"""Weights become one OCI image, the image has one digest, and the digest is all that later steps accept."""

import signal

import pulumi

from components import outputs, wiring
from components.cluster import Cluster
from components.model_image import ModelImage
from components.node_pool import GpuNodePool
from components.registry import ModelRegistry
from components.settings import load

# When a resource fails the engine interrupts this program; a traceback of that would only hide the engine's message.
signal.signal(signal.SIGINT, signal.SIG_DFL)

settings = load()
cluster = Cluster("cluster", wiring.cluster(settings))
pools = {
    key: GpuNodePool(key, wiring.node_pool(settings, key, cluster), pulumi.ResourceOptions(depends_on=[cluster]))
    for key in settings.node_pools
}
registry = ModelRegistry("models", wiring.registry(settings, cluster, pools))
images = {
    key: ModelImage(key, wiring.image(settings, key, registry), pulumi.ResourceOptions(depends_on=[registry]))
    for key in settings.models
}
platforms = wiring.platforms(settings, cluster)
models = {
    key: wiring.serve(
        settings,
        key,
        image,
        cluster,
        wiring.inside(cluster, registry, image, platforms[settings.models[key].delivery.platform], *pools.values()),
    )
    for key, image in images.items()
}
outputs.export(wiring.outputs(settings, cluster=cluster, registry=registry, pools=pools, models=models))
