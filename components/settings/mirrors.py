"""The keys of the places where a pool's nodes ask for images before they ask the registry itself."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from components.settings.types import Section

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST = rf"{_LABEL}(\.{_LABEL})*(:\d{{1,5}})?"


def _server(value: str) -> str:
    if not re.fullmatch(_HOST, value):
        raise ValueError(f"{value!r} is no registry's host: write it as images are named, for example docker.io")
    if value == "index.docker.io":
        # containerd knows such images by the other name (distribution/reference, legacyDefaultDomain).
        raise ValueError(f"{value!r} is never asked for: write docker.io, which nodes know its images by")
    return value


def _mirror(value: str) -> str:
    if not re.fullmatch(rf"https?://{_HOST}(/v2(/[a-z0-9._-]+)+)?", value):
        raise ValueError(
            f"{value!r} is no mirror: write https://HOST[:PORT], or with the API's whole path https://HOST/v2/PATH"
        )
    return value


class RegistryMirror(Section):
    """A mirror of a registry (GKE, "Customize containerd configuration in GKE nodes", registryHosts)."""

    host: Annotated[
        str,
        AfterValidator(_mirror),
        Field(
            description="https://HOST[:PORT]; with a path, as of a proxy of several registries, https://HOST/v2/PATH"
        ),
    ]
    tags: Annotated[
        bool, Field(description="it says what a tag means as well; otherwise it serves what has a digest, and no more")
    ] = False

    @property
    def has_path(self) -> bool:
        """Whether the API's root is named as well."""
        return self.host.count("/") > 2


RegistryMirrors = dict[
    Annotated[str, AfterValidator(_server)],
    Annotated[tuple[RegistryMirror, ...], Field(strict=False, min_length=1)],
]
"""Registry's host -> its mirrors, in the order in which they are asked."""
