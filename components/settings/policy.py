"""The keys of what a stack serves at all."""

from typing import Annotated

from pydantic import Field, StringConstraints

from components.settings.types import Section

Licence = Annotated[str, StringConstraints(pattern=r"^[^\s,][^,]{0,199}$", strip_whitespace=True)]
"""An identifier of SPDX or of the hub, or the name that a card gives where it says `other`."""


class PolicySettings(Section):
    """What may be served: absent, whatever the settings name."""

    licences: Annotated[
        tuple[Licence, ...] | None,
        Field(
            strict=False,
            min_length=1,
            description="the licences under which models and adapters may be published, as apache-2.0; others, and "
            "unknown ones, are refused (docs/trust.md)",
        ),
    ] = None
