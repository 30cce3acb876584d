"""How another stack of the project makes the images that a stack promotes, as a name for each.

Before that stack's update nobody knows its digests, and a plan of the promoting stack looks the same whatever the other
builds: by these names a plan of a pull request says that the next update of both brings another image.
"""

import hashlib
import json
from collections.abc import Mapping

from components.settings.image_settings import AdapterSettings, adapter_key
from components.settings.stack import Settings
from offline.plan import portable
from offline.recording import MODEL_IMAGE_TYPE, Recording
from offline.values import plain

_DIGITS = 16


def promoted(settings: Settings, made: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """By the key of each image that is promoted, the name of how its stack makes it.

    Args:
        settings: of the promoting stack.
        made: those names by stack and key; a stack whose outputs were given has none.
    """
    found = {}
    for key, image in settings.images.items():
        asked = image.settings
        there = made.get(asked.from_stack or "", {}).get(_key_there(key, asked.model, asked))
        if there:
            found[key] = there
    return found


def ways(recording: Recording, promoted: Mapping[str, str]) -> dict[str, str]:
    """By the key of each image of a run the name of how it is made: from the inputs of its steps, or as promoted."""
    keys = {one.urn: one.name for one in recording.of_type(MODEL_IMAGE_TYPE)}
    steps: dict[str, list[object]] = {key: [promoted.get(key, "")] for key in keys.values()}
    for one in sorted(recording.resources, key=lambda one: (one.type, one.name)):
        if one.parent in keys:
            steps[keys[one.parent]].append([one.type, portable(plain(one.inputs))])
    return {
        key: hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()[:_DIGITS]
        for key, one in steps.items()
    }


def _key_there(key: str, model: str | None, asked: object) -> str:
    own, _, label = key.partition("/")
    if isinstance(asked, AdapterSettings):
        return adapter_key(model or own, asked.adapter or label)
    return model or key
