"""Settings as the tests of this folder read them: of a stack `dev` in project `demo`, unless they say otherwise."""

from collections.abc import Mapping
from typing import Any

import pytest

from components.settings import reader as settings
from components.settings.stack import Settings


def read(values: Mapping[str, Any], **arguments: Any) -> Settings:
    return settings.parse(values, **{"stack": "dev", "project": "demo", "region": "us-central1", **arguments})


def problems(values: Mapping[str, Any], **arguments: Any) -> list[str]:
    with pytest.raises(settings.SettingsError) as caught:
        read(values, **arguments)
    return list(caught.value.problems)
