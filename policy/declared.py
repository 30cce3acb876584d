"""A resource as a stack declares it, to whoever judges it."""

from dataclasses import dataclass

from policy.images import Props


@dataclass(frozen=True)
class Declared:
    """A resource as a stack declares it; the stack itself is one of type `pulumi:pulumi:Stack` with its outputs."""

    type: str
    name: str
    props: Props
