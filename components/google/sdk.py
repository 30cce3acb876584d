"""`pulumi_gcp`, loaded when a stack first names something of it, and only that.

A stack without Google's cloud needs none of it. And a service's package imports all that the service has, which for
`compute` are 290 modules and half a second, where a cluster's network needs four.
"""

import importlib
import re
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_gcp import *  # noqa: F403


class _Service(ModuleType):
    """A service's package that was not run yet: it loads the module of a name, or all where a name has none."""

    def __getattr__(self, name: str) -> Any:
        words = re.sub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
        module = "_inputs" if words.endswith("_args") else words.removesuffix("_output")
        with suppress(ModuleNotFoundError, AttributeError):
            own = importlib.import_module(f"{self.__name__}.{module}")
            return own if name == module else getattr(own, name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]
        return getattr(self, name)


def __getattr__(name: str) -> Any:
    found = getattr(importlib.import_module("pulumi_gcp"), name)
    # The SDK's own kind of module for a service means that nobody has used it.
    if isinstance(found, ModuleType) and type(found) is not ModuleType:
        found.__class__ = _Service
    return found
