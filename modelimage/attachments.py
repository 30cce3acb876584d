"""What is attached to an image, as documents: manifests that name it as their subject, and lists of such manifests.

The forms are those of image-spec v1.1 (`subject`, "Guidelines for Artifact Usage"), of distribution-spec v1.1
("Referrers Tag Schema"), and the tags that cosign wrote before both.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelimage.documents import INDEX_TYPE
from modelimage.stores import Listed, StoredManifest
from oci_model_serving.reference import DIGEST, REFERRERS_PREFIX, digest_of

COSIGN_SUFFIXES = (".sig", ".att", ".sbom")
"""What cosign adds to `sha256-<hex>` to name the signatures, the attestations and the bill of materials of an image."""


def digest_of_cosign_tag(tag: str) -> str:
    """The digest of the image that one of cosign's tags belongs to; "" for any other tag."""
    for suffix in COSIGN_SUFFIXES:
        if tag.startswith(REFERRERS_PREFIX) and tag.endswith(suffix):
            return digest_of(tag.removesuffix(suffix))
    return ""


def subject_of(manifest: StoredManifest) -> str:
    """The digest of what a manifest is attached to; "" for nothing."""
    subject = json.loads(manifest.content).get("subject")
    digest = subject.get("digest") if isinstance(subject, dict) else None
    return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else ""


def type_of(manifest: StoredManifest) -> str:
    """Of what type an artifact is: as it says, or as its configuration is; "" where neither tells."""
    document: dict[str, Any] = json.loads(manifest.content)
    config = document.get("config")
    return str(document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None) or "")


def entry_of(manifest: StoredManifest) -> dict[str, Any]:
    """A manifest as it stands in a list: with its type, or its configuration's, and with its annotations."""
    document: dict[str, Any] = json.loads(manifest.content)
    entry = manifest.described()
    if artifact_type := type_of(manifest):
        entry["artifactType"] = artifact_type
    if document.get("annotations"):
        entry["annotations"] = document["annotations"]
    return entry


def listed_in(content: bytes) -> list[Listed] | None:
    """The entries of an index; None where the content is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    entries = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return None
    return [
        Listed(entry["digest"], str(entry.get("artifactType") or ""))
        for entry in entries
        if isinstance(entry, dict) and DIGEST.fullmatch(str(entry.get("digest")))
    ]


def merged(content: bytes | None, entries: Sequence[Mapping[str, Any]]) -> bytes | None:
    """A list with entries added, all that it had kept as it is; None where it has them all."""
    document: dict[str, Any] = json.loads(content) if content else {}
    there = {str(entry.get("digest")) for entry in document.get("manifests", []) if isinstance(entry, dict)}
    new = [entry for entry in entries if entry["digest"] not in there]
    if not new:
        return None
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            **document,
            "manifests": [*document.get("manifests", []), *new],
        }
    ).encode()
