"""The recording mocks of `offline`, with the answers that tests give in place of a registry and Docker."""

import json
from collections.abc import Mapping
from typing import Any

from offline.builds import build_command
from offline.recording import IMAGE_TYPE, Answer, Recording, Resource, record
from offline.values import KnownAfter, Secret, plain

__all__ = ["DIGEST", "KnownAfter", "Recording", "Resource", "Secret", "built", "plain", "record"]

DIGEST = "sha256:" + "0123456789abcdef" * 4


def built(digest: str = DIGEST, size_bytes: int = 1_000_000) -> Answer:
    """Answers each build of a model image, by `modelimage` or Docker, as if it had been pushed with this digest."""

    def answer(resource: Resource) -> Mapping[str, Any] | None:
        arguments = build_command(resource)
        if arguments is not None:
            destination = next(item for item in reversed(arguments) if "/" in item or item.startswith("oci:"))
            reference = f"{_without_tag(destination)}@{digest}"
            data = {"digest": digest, "reference": reference, "size_bytes": size_bytes, "layers": []}
            return {"stdout": json.dumps(data), "stderr": ""}
        if resource.type == IMAGE_TYPE:
            return {"repoDigest": f"{_without_tag(str(plain(resource.inputs['imageName'])))}@{digest}"}
        return None

    return answer


def _without_tag(destination: str) -> str:
    path, slash, last = destination.rpartition("/")
    return (
        f"{path}{slash}{last.partition('@')[0].partition(':')[0]}"
        if not destination.startswith("oci:")
        else destination
    )
