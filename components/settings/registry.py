"""The keys of the registry: types, bounds, defaults and what each means."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.trust import SignSettings, VerifySettings
from components.settings.types import Days, GoogleLabels, Member, RegistryUrl, Section


class RegistryCleanup(Section):
    """What Artifact Registry may delete by itself. Tags `digest-*` (images in use) are always kept."""

    keep_newest: Annotated[int, Field(ge=1, le=100, description="newest versions of each image to keep")] = 5
    delete_untagged_after_days: Annotated[Days, Field(description="age in days at which untagged versions go")] = 30
    dry_run: Annotated[bool, Field(description="only log what would be deleted")] = False


class RegistryCreate(Section):
    """An Artifact Registry Docker repository that this stack creates."""

    repository: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", description="repository id")]
    location: Annotated[str | None, Field(description="region or multi-region; default: gcp:region")] = None
    project: Annotated[str | None, Field(description="default: gcp:project")] = None
    immutable_tags: Annotated[bool, Field(description="a tag, once pushed, never moves")] = True
    cleanup: RegistryCleanup = RegistryCleanup()
    scanning: Annotated[bool, Field(description="vulnerability scanning, billed per image: off for weights")] = False
    labels: Annotated[GoogleLabels, Field(description="Google labels of the repository")] = {}  # noqa: RUF012 - pydantic copies it
    kms_key: Annotated[str | None, Field(pattern=r"^projects/.+/cryptoKeys/[^/]+$", description="CMEK key")] = None
    extra_readers: Annotated[tuple[Member, ...], Field(strict=False, description="further IAM members that pull")] = ()
    writers: Annotated[tuple[Member, ...], Field(strict=False, description="IAM members that push")] = ()
    protect: Annotated[bool, Field(description="refuse to delete the repository, and keep it on destroy")] = True
    enable_apis: Annotated[bool, Field(description="enable the Google APIs that the repository needs")] = True


class RegistrySettings(Section):
    """Where the images live: `create` a repository, or adopt one by `url`. Neither: a layout folder (local target)."""

    create: RegistryCreate | None = None
    url: Annotated[RegistryUrl | None, Field(description="host[:port]/path of an existing registry")] = None
    grant_readers: Annotated[
        bool, Field(description="bind the reader role for the nodes on an adopted Artifact Registry repository")
    ] = True
    mutable_tags: Annotated[
        Literal["refuse", "accept"],
        Field(
            description="of models on KubeAI, which pulls by tag: whether the registry may be one whose tags can move"
        ),
    ] = "refuse"

    allow: Annotated[
        tuple[RegistryUrl, ...] | None,
        Field(
            strict=False,
            description="registries (host[:port] or host[:port]/path) that images of digest and fromStack may come "
            "from, beside the stack's own; none: any",
        ),
    ] = None
    jobs: Annotated[
        int | None,
        Field(
            ge=1,
            le=64,
            description="layers that this machine packs or copies at once; none: 8 to 16, by its cores; a change runs "
            "builds and copies again (docs/weights.md)",
        ),
    ] = None

    sign: Annotated[SignSettings | None, Field(description="sign and attest what the stack builds (docs/trust.md)")] = (
        None
    )
    verify: Annotated[
        VerifySettings | None,
        Field(description="copy and serve only what is signed by one of these (docs/trust.md); none: anything"),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> "RegistrySettings":
        if self.create and self.url:
            raise ValueError("has both create and url: keep one")
        return self
