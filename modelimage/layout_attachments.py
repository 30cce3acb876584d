"""What a layout's index lists that is attached to an image: it is found by its subject, and goes when that goes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from modelimage.attachments import digest_of_cosign_tag, subject_of
from modelimage.errors import ImageError
from modelimage.layout_names import name_of
from modelimage.stores import MANIFEST_LIMIT_BYTES, Listed, StoredManifest

_Entry = Mapping[str, Any]
_Read = Callable[[str], StoredManifest]


def attached_to(entry: _Entry, read: _Read) -> str:
    """What an entry is attached to: its manifest's subject, or the digest that cosign's tag spells; "" for nothing."""
    if (subject := digest_of_cosign_tag(name_of(entry))) or int(entry["size"]) > MANIFEST_LIMIT_BYTES:
        return subject
    try:
        return subject_of(read(str(entry["digest"])))
    except ImageError:
        return ""  # damaged, or gone: nothing that could be carried anywhere


def listed(entries: Iterable[_Entry], digest: str, read: _Read) -> list[Listed]:
    """What is attached to a manifest by its subject."""
    return [
        Listed(str(entry["digest"]), str(entry.get("artifactType") or ""))
        for entry in entries
        if not digest_of_cosign_tag(name_of(entry)) and attached_to(entry, read) == digest
    ]


def staying(entries: Sequence[dict[str, Any]], digest: str, read: _Read) -> list[dict[str, Any]]:
    """The entries that stay beside the image `digest`: others' images, and what is attached to any that stays."""
    subjects = {id(entry): attached_to(entry, read) for entry in entries}
    kept = [entry for entry in entries if name_of(entry) and not subjects[id(entry)]]
    stay = {digest, *(str(entry["digest"]) for entry in kept)}
    while more := [entry for entry in entries if entry not in kept and subjects[id(entry)] in stay]:
        kept += more
        stay |= {str(entry["digest"]) for entry in more}
    return kept
