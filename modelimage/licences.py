"""Under which licence a model is published, as its card says it: the metadata at the head of its README.md.

The form is that of the hub (documentation, "Model Cards", "License"): `license` has an identifier or several, and of
`other` `license_name` or `license_link` tells which. The same file says it in a folder, a bucket and an image.
"""

from collections.abc import Iterable, Mapping

import yaml

from modelimage.source import SourceFile

CARD = "README.md"
_HEAD_BYTES = 64 << 10
"""Metadata with evaluation results have some kilobytes; what is longer tells no licence."""
_LONGEST, _MOST = 200, 10
_FENCE = "---"


def of_files(files: Iterable[SourceFile]) -> str:
    """The licence that the card among a model's files names; empty where none does.

    Raises:
        ImageError: the card cannot be read.
    """
    card = next((file for file in files if file.path == CARD), None)
    return of_card(metadata(card.head(_HEAD_BYTES))) if card else ""


def metadata(card: bytes) -> object:
    """What stands between the first two fences of a card; None where nothing does."""
    first, *lines = card.decode("utf-8-sig", errors="replace").splitlines() or [""]
    if first.rstrip() != _FENCE or _FENCE not in (ends := [line.rstrip() for line in lines]):
        return None
    try:
        return yaml.safe_load("\n".join(lines[: ends.index(_FENCE)]))
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None  # explicit tags, as `!!bool x`, end in any of them


def of_card(said: object) -> str:
    """The licence that a card's metadata name; several as `mit, apache-2.0`, of `other` the name that it has."""
    if not isinstance(said, Mapping):
        return ""
    names = said.get("license")
    own = said.get("license_name") or said.get("license_link")
    known = [own or one if one == "other" else one for one in (names if isinstance(names, list) else [names])]
    if not all(isinstance(one, str) or type(one) in {int, float} for one in known[:_MOST]) or len(known) > _MOST:
        return ""
    return ", ".join(str(one).strip()[:_LONGEST] for one in known)


def parts(licence: str) -> list[str]:
    """The single licences of a text of `of_card`, as they are compared: without regard to capitals."""
    return [one.strip().lower() for one in licence.split(",") if one.strip()]
