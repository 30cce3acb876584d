"""Runs the Pulumi program in this process, without engine, cloud or cluster: the plan, the manifests, the diff.

What is named here is imported when it is first used: who wants a table of this room (`computed`, `replacements`) does
without the settings and Pulumi's SDKs, which take half a second to load.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offline.errors import RunFailedError as RunFailedError
    from offline.plan import Plan as Plan
    from offline.program import Program as Program
    from offline.recording import Recording as Recording
    from offline.recording import Resource as Resource
    from offline.recording import record as record
    from offline.values import KnownAfter as KnownAfter
    from offline.values import Secret as Secret

_LATER = {
    "KnownAfter": "values",
    "Plan": "plan",
    "Program": "program",
    "Recording": "recording",
    "Resource": "recording",
    "RunFailedError": "errors",
    "Secret": "values",
    "record": "recording",
}

__all__ = [
    "KnownAfter",
    "Plan",
    "Program",
    "Recording",
    "Resource",
    "RunFailedError",
    "Secret",
    "record",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"offline.{_LATER[name]}"), name)
    raise AttributeError(f"module 'offline' has no attribute {name!r}")
