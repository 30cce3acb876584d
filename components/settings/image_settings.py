"""The keys of an image that holds a model's or an adapter's files."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from components.settings.building import Files
from components.settings.policy import Licence
from components.settings.types import DigestReference, Section
from modelimage.origins import Origin, origin_of
from modelimage.source import Selection
from oci_model_serving.errors import InputError


class ImageSettings(Section):
    """Where an image comes from: exactly one of `source`, `digest` and `fromStack`."""

    source: Annotated[
        str | None,
        Field(description="folder, hf://org/name@<commit>, gs://bucket/prefix or oci://HOST/REPO@sha256:…"),
    ] = None
    digest: Annotated[DigestReference | None, Field(description="an image that exists: host/path@sha256:…")] = None
    from_stack: Annotated[str | None, Field(description="organization/project/stack whose image is taken")] = None
    model: Annotated[str | None, Field(description="the model's key in that stack; default: the same key")] = None
    copy_image: Annotated[
        bool, Field(alias="copy", description="copy the image into this stack's registry, digest unchanged")
    ] = False
    size_gb: Annotated[float | None, Field(gt=0, le=10000, description="size of the image in GB, where not known")] = (
        None
    )
    builder: Annotated[Literal["docker", "direct", "cloudbuild", "cluster"], Field(description="of source")] = "direct"
    files: Files = Files()
    platform: Annotated[
        Literal["linux/amd64", "linux/arm64"] | None,
        Field(description="what the image runs on; default: linux/amd64, of an adapter its model's"),
    ] = None
    licence: Annotated[
        Licence | None,
        Field(description="under which it is published, where no card tells; attested as well (docs/trust.md)"),
    ] = None
    modelpack: Annotated[
        bool, Field(description="write a ModelPack artifact over the same layers as well (docs/weights.md)")
    ] = False

    @property
    def selection(self) -> Selection:
        """Which files of `source` are packed."""
        return self.files.selection

    @property
    def origin(self) -> Origin | None:
        """What kind of place `source` names; None without a source, and for one of no kind that there is."""
        try:
            return origin_of(self.source) if self.source else None
        except InputError:
            return None


class AdapterSettings(ImageSettings):
    """A LoRA adapter of a model: an image of its own, of which pods mount the files."""

    adapter: Annotated[
        str | None, Field(description="of fromStack: the adapter's name there; default: the same name")
    ] = None

    @property
    def selection(self) -> Selection:
        """Which files of `source` are packed."""
        return replace(self.files.selection, adapter=True)


class CompileCacheSettings(Section):
    """What the server of a model has compiled before, as an image that `oms cache make` has made."""

    digest: Annotated[
        DigestReference, Field(description="the cache's image: host/path@sha256:…, as `oms cache make` prints it")
    ]


def adapter_key(model: str, label: str) -> str:
    """The key that names the resources of a model's adapter, and its image below the registry's URL."""
    return f"{model}/{label}"
