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
pools = {key: GpuNodePool(key, wiring.node_pool(settings, key, cluster)) for key in settings.node_pools}
registry = ModelRegistry("models", wiring.registry(settings, pools))
images = {
    key: ModelImage(key, wiring.image(settings, key, registry), pulumi.ResourceOptions(depends_on=[registry]))
    for key in settings.models
}
inside = pulumi.ResourceOptions(providers=[cluster.provider], depends_on=[cluster], deleted_with=cluster.resource)
platforms = wiring.platforms(settings, inside)
models = {
    key: wiring.serve(
        settings,
        key,
        image,
        cluster,
        pulumi.ResourceOptions.merge(
            inside,
            pulumi.ResourceOptions(
                depends_on=[registry, image, platforms[settings.models[key].delivery.platform], *pools.values()]
            ),
        ),
    )
    for key, image in images.items()
}
outputs.export(wiring.outputs(settings, cluster=cluster, registry=registry, pools=pools, models=models))
