"""The keys of what the cluster accepts in the models' namespaces."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from components.settings.types import Section
from oci_model_serving.reference import split


def _image(value: str) -> str:
    name, tag, digest = split(value)
    if (
        # A pod's image may have no host, and the list is compared with what the pod says, to the letter.
        not re.fullmatch(r"[\w.-]+(:[0-9]+(?=/))?(/[\w.-]+)*", name)
        or bool(tag) == bool(digest)
        or not re.fullmatch(r"[\w.-]+|sha256:[0-9a-f]{64}", tag or digest)
    ):
        raise ValueError(
            f"{value!r} is no image as pods name it: write what the pod has, as HOST/PATH@sha256:<64 hex>, or with "
            ":TAG where its owner names a tag"
        )
    return value


class AllowListSettings(Section):
    """What the cluster accepts in the models' namespaces: a ValidatingAdmissionPolicy each, of Kubernetes 1.30."""

    enforce: Annotated[
        bool, Field(description="refuse pods with other images than the stack's own, and with rights on the node")
    ] = True
    images: Annotated[
        tuple[Annotated[str, AfterValidator(_image)], ...],
        Field(strict=False, description="further images, as of sidecars that a mesh or an agent puts into pods"),
    ] = ()
    remote_code: Annotated[
        bool, Field(description="accept --trust-remote-code, with which a server runs code from the model's files")
    ] = False
