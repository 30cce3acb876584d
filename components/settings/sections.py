"""What the keys of a stack hold, as written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from components.settings.building import CloudBuildSettings, ClusterBuildSettings
from components.settings.google import ClusterSettings, NodePoolSettings
from components.settings.policy import PolicySettings
from components.settings.registry import RegistrySettings
from components.settings.serving import ModelSettings, Platforms, PullSecret


@dataclass(frozen=True)
class Sections:
    """What the keys of a stack hold, each by its schema."""

    registry: RegistrySettings = field(default_factory=RegistrySettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    platforms: Platforms = field(default_factory=Platforms)
    node_pools: Mapping[str, NodePoolSettings] = field(default_factory=dict)
    pull_secrets: Mapping[str, PullSecret] = field(default_factory=dict)
    hub_token: SecretStr | None = None
    cloud_build: CloudBuildSettings = field(default_factory=CloudBuildSettings)
    cluster_build: ClusterBuildSettings = field(default_factory=ClusterBuildSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
