"""Weights become one OCI image, the image has one digest, and the digest is all that later steps accept."""

from components.google.cluster import Cluster
from components.google.given_nodes import nodes
from components.google.registry import ModelRegistry, pods
from components.interpreter import for_one_run
from components.model_image import ModelImage
from components.serving.admission import admit
from components.serving.allow_list import enforce
from components.serving.platforms import install, serve
from components.serving.spare_nodes import keep_nodes
from components.settings.reader import load
from oci_model_serving import outputs

for_one_run()
settings = load()
cluster = Cluster("cluster", settings.cluster)
pools = {key: nodes(key, pool, cluster) for key, pool in settings.node_pools.items()}
accounts = {key: pool.service_account for key, pool in pools.items()}
registry = ModelRegistry("models", settings.registry, {**accounts, **cluster.readers}, pods(cluster, settings.models))
images = {key: ModelImage(key, image, registry.url, registry.first, cluster) for key, image in settings.images.items()}
admitted = admit(settings.models, images)
platforms = install(settings, cluster, admitted)
enforced = enforce(settings, platforms, cluster)
models = {
    key: serve(model, images, admitted, platforms, cluster, after=[registry, *pools.values(), *enforced])
    for key, model in settings.models.items()
}
keep_nodes(settings, models, cluster)
outputs.export(
    {
        "registry_url": registry.url,
        "node_service_accounts": accounts,
        "cluster": cluster.described,
        "node_pools": {key: pool.described for key, pool in pools.items()},
        "platforms": {name: platform.described for name, platform in platforms.items()},
        "models": {key: model.described for key, model in models.items()},
        "kubeconfig": cluster.kubeconfig,
    }
)
