"""Runs the Pulumi program in this process, without engine, cloud or cluster: the plan, the manifests, the diff."""

from offline.errors import RunFailedError
from offline.plan import Plan
from offline.program import Program
from offline.recording import Recording, Resource, record
from offline.values import KnownAfter, Secret

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
