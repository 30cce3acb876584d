"""What an image's files say to a server, as far as it is known: by the packer, or presumed in a plan."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import pulumi

from modelimage.traits import Traits

_T = TypeVar("_T")


def said(image: Mapping[str, Any]) -> Traits:
    """What the packer says of an image's files; one of an earlier version said nothing."""
    known = {part.name: image[part.name] for part in fields(Traits) if part.name in image}
    return Traits(**known)


def or_presumed(real: pulumi.Output[_T], presumed: _T | None) -> pulumi.Output[_T]:
    """What is known of an image; in a plan that cannot know it yet, what is presumed, if anything.

    Without them a plan would show nothing of what a server is started with, for the sake of the few images that need
    more than their folder to be named.
    """
    if presumed is None or not pulumi.runtime.is_dry_run():
        return real

    async def value() -> _T:
        known = await real.future()
        return presumed if known is None else known

    async def resources() -> set[pulumi.Resource]:
        return await real.resources() if await real.is_known() else set()

    async def known() -> bool:
        return True

    return pulumi.Output(
        asyncio.ensure_future(resources()), asyncio.ensure_future(value()), asyncio.ensure_future(known())
    )
