"""The recording mocks of `offline`, with the answers that tests give in place of a registry and Docker."""

import json
from collections.abc import Mapping
from typing import Any

from components import commands
from offline.recording import IMAGE_TYPE, Answer, Recording, Resource, record
from offline.values import KnownAfter, Secret, plain

__all__ = ["DIGEST", "KnownAfter", "Recording", "Resource", "Secret", "built", "plain", "record"]

DIGEST = "sha256:" + "0123456789abcdef" * 4


def built(
    digest: str = DIGEST,
    size_bytes: int = 1_000_000,
    *,
    traits: Mapping[str, Mapping[str, Any]] | None = None,
    annotations: Mapping[str, Mapping[str, str]] | None = None,
) -> Answer:
    """Answers each step of a model image, by `modelimage` or Docker, as if it had gone well with this digest.

    `traits` has what an image's files say, by the last part of its repository; without it the packer of an earlier
    version answers, which said nothing. `annotations` are of the manifests of images that exist, likewise.
    """

    def answer(resource: Resource) -> Mapping[str, Any] | None:
        if resource.type == IMAGE_TYPE:
            return {"repoDigest": f"{_repository(str(plain(resource.inputs['imageName'])))}@{digest}"}
        if resource.runs is None or resource.runs.module != commands.IMAGE:
            return None
        return {"stdout": json.dumps(_result(resource.runs.arguments)), "stderr": ""}

    def _result(arguments: list[str]) -> dict[str, Any]:
        verb, first, *rest = arguments
        if verb == "context":
            return {"context": rest[0], "fingerprint": digest.partition(":")[2], "size_bytes": size_bytes}
        target = first if verb in {"tag", "inspect", "sign", "attest", "verify"} else rest[0]
        own = digest if verb in {"pack", "cloudbuild", "clusterbuild"} else first.partition("@")[2] or digest
        reference = f"{_repository(target)}@{own}"
        name = _repository(target).rpartition("/")[2]
        said = dict((traits or {}).get(name, {}))
        if verb == "inspect" and annotations and name in annotations:
            said["annotations"] = annotations[name]
        return {"digest": own, "reference": reference, "size_bytes": size_bytes, "layers": [], **said}

    return answer


def _repository(destination: str) -> str:
    """The destination without tag and digest; an OCI layout stays as it is."""
    path, slash, last = destination.partition("@")[0].rpartition("/")
    return destination if destination.startswith("oci:") else f"{path}{slash}{last.partition(':')[0]}"
