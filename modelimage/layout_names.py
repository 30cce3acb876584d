"""How the index of an image layout lists our image: what it is called there, and which entries are ours.

The image is called `latest` in its folder, which is what umoci takes when it is told no name and skopeo knows as
`oci:FOLDER:latest`, and `localhost/<the folder's name>:latest` elsewhere: containerd's import, podman and Docker with
containerd's store read that from `io.containerd.image.name` (containerd, core/images/annotations.go; podman,
common/libimage/pull.go). Docker's own store knows `manifest.json` alone (moby, image/tarexport/load.go).
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelimage.stores import StoredManifest

_NAME_ANNOTATION = "org.opencontainers.image.ref.name"
_FULL_NAME_ANNOTATION = "io.containerd.image.name"
_OWN_ANNOTATION = "oci-model-serving.named"
"""Of an entry of ours: the name that it was given here. Under another name it is somebody else's (`umoci tag`)."""
_PACKED_ANNOTATION = "oci-model-serving.packed"
"""Of an entry: the digest of the image, where it was packed into the folder and not copied into it."""
_NAME = "latest"


def entry(
    manifest: StoredManifest,
    folder: Path,
    platform: Mapping[str, str] | None,
    kept: Sequence[Mapping[str, Any]],
    *,
    packed: bool = False,
) -> dict[str, Any]:
    """The entry of the folder's image beside the `kept` ones; `packed` says that it was made for this folder.

    It has no name where another tool has given that to an image of its own.
    """
    described = manifest.described()
    if platform:
        described["platform"] = platform
    if all(name_of(other) != _NAME for other in kept):
        described["annotations"] = {
            _NAME_ANNOTATION: _NAME,
            _FULL_NAME_ANNOTATION: full_name(folder),
            _OWN_ANNOTATION: _NAME,
        }
    if packed:
        described["annotations"] = {**_noted(described), _PACKED_ANNOTATION: manifest.digest}
    return described


def entry_beside(manifest: StoredManifest, name: str) -> dict[str, Any]:
    """The entry of an artifact that lies beside the folder's image."""
    artifact_type = json.loads(manifest.content)["artifactType"]
    noted = {_NAME_ANNOTATION: name, _OWN_ANNOTATION: name}
    return {**manifest.described(), "artifactType": artifact_type, "annotations": noted}


def full_name(folder: Path) -> str:
    """The image's name in stores that hold many, after its folder."""
    words = re.findall(r"[a-z0-9]+", folder.absolute().name.lower())
    return f"localhost/{'-'.join(words) or 'image'}:{_NAME}"


def name_of(listed: Mapping[str, Any]) -> str:
    """What an entry is called in its folder; "" for nothing."""
    return str(_noted(listed).get(_NAME_ANNOTATION) or "")


def named(listed: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An entry by that name, as cosign's tags are kept in a layout."""
    return {**listed, "annotations": {_NAME_ANNOTATION: name}}


def is_named_by_us(listed: Mapping[str, Any]) -> bool:
    """Whether an entry has the name that we gave it."""
    name = name_of(listed)
    return bool(name) and name == _noted(listed).get(_OWN_ANNOTATION)


def is_named_otherwise(listed: Mapping[str, Any]) -> bool:
    """Whether an entry has a name that we never give an image."""
    return name_of(listed) not in {"", _NAME}


def is_packed(listed: Mapping[str, Any]) -> bool:
    """Whether an entry's image was packed into the folder."""
    return _noted(listed).get(_PACKED_ANNOTATION) == str(listed["digest"])


def _noted(listed: Mapping[str, Any]) -> Mapping[str, str]:
    return listed.get("annotations") or {}
