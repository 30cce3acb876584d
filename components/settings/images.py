"""The images of a stack, with all that its other settings say of them."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import SecretStr

from components.settings.building import CloudBuildSettings, ClusterBuildSettings, in_secret_manager
from components.settings.image_settings import AdapterSettings, CompileCacheSettings, ImageSettings
from components.settings.places import LOCAL, StackRegistry
from components.settings.types import Target, kubernetes_name
from modelimage.cache_key import PURPOSE
from modelimage.machines import PLATFORM
from modelimage.traits import Traits


@dataclass(frozen=True)
class StackImage:
    """An image of a stack.

    Attributes:
        key: names its resources.
        settings: where it comes from.
        target: where the stack lives.
        registry: where it goes.
        size_gb: its size in GB, where it is known before a build.
        traits: what its files say to a server, as far as that is known before a build; None where nothing is.
        hub_token: the stack's, of a source on the hub.
        cloud_build: where builder cloudbuild packs.
        cluster_build: where builder cluster packs.
    """

    key: str
    settings: ImageSettings
    target: Target
    registry: StackRegistry
    size_gb: float | None = field(default=None, kw_only=True)
    traits: Traits | None = field(default=None, kw_only=True)
    hub_token: SecretStr | None = field(default=None, kw_only=True)
    cloud_build: CloudBuildSettings = field(default_factory=CloudBuildSettings, kw_only=True)
    cluster_build: ClusterBuildSettings = field(default_factory=ClusterBuildSettings, kw_only=True)

    @property
    def name(self) -> str:
        """Its name in Kubernetes and below the registry's URL."""
        return kubernetes_name(self.key)

    @property
    def base(self) -> str:
        """Base of an image that is built here: `scratch`, `oci:FOLDER` or a reference by digest."""
        return "scratch"

    @property
    def runs_on(self) -> str:
        """What it is for, as `linux/amd64`."""
        return self.settings.platform or PLATFORM

    @property
    def image_host(self) -> str:
        """Host of the registry that it is pulled from; empty where another stack decides on it, or none."""
        settings = self.settings
        if settings.digest:
            return settings.digest.split("/")[0]
        return "" if settings.from_stack and not settings.copy_image else self.registry.host

    @property
    def in_registry(self) -> bool:
        """Whether it is, or will be, in this stack's own registry."""
        settings = self.settings
        if settings.source or settings.copy_image:
            return True
        own = self.registry.own
        return bool(own) and (settings.digest or "").startswith(f"{own}/")

    @property
    def token(self) -> SecretStr | None:
        """The token with which this machine asks the hub for its source; None where another machine does, or nobody."""
        named = self.hub_token is not None and in_secret_manager(self.hub_token.get_secret_value())
        builder = self.settings.builder
        elsewhere = builder == "cloudbuild" or (builder == "cluster" and self.cluster_build.hub_token_secret)
        return None if named or elsewhere else self.hub_token

    @property
    def layout(self) -> str | None:
        """Folder of the OCI image layout that is built where there is no registry."""
        return f"{LOCAL}/images/{self.name}" if self.registry.layouts else None

    @property
    def context(self) -> str:
        """Folder of its Docker context."""
        return f"{LOCAL}/contexts/{self.name}"

    @property
    def meant_for(self) -> str:
        """What an image that exists is held against: a delivery, or `adapter`."""
        return "adapter"

    @property
    def by_digest_tag(self) -> bool:
        """Whether it is pulled by the tag that spells its digest."""
        return False

    @property
    def promoted(self) -> tuple[str, str | None]:
        """The model, and the adapter of it if it is one, that it is in the stack which it comes from."""
        return self.settings.model or self.key, None


@dataclass(frozen=True)
class StackAdapter(StackImage):
    """A LoRA adapter: `label` is what requests call it, `of` the key of its model, `beside` what that runs on."""

    settings: AdapterSettings
    label: str
    of: str
    beside: str = field(default=PLATFORM, kw_only=True)

    @property
    def runs_on(self) -> str:
        """What it is for: the machines of its model, if nothing else is said."""
        return self.settings.platform or self.beside

    @property
    def promoted(self) -> tuple[str, str | None]:
        """The model, and the adapter of it if it is one, that it is in the stack which it comes from."""
        return self.settings.model or self.of, self.settings.adapter or self.label


@dataclass(frozen=True)
class StackCompileCache(StackImage):
    """What a model's server has compiled before."""

    @classmethod
    def of(
        cls,
        model: str,
        settings: CompileCacheSettings | None,
        platform: Literal["linux/amd64", "linux/arm64"] | None,
        target: Target,
        registry: StackRegistry,
    ) -> "StackCompileCache | None":
        """That of the model with this key; None of one that names none."""
        if settings is None:
            return None
        return cls(cache_key(model), ImageSettings(digest=settings.digest, platform=platform), target, registry)

    @property
    def meant_for(self) -> str:
        """What an image that exists is held against."""
        return PURPOSE


def cache_key(model: str) -> str:
    """The key that names the resources of a model's compile cache; no adapter's name begins like this."""
    return f"{model}/_compile-cache"
