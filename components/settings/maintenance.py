"""The keys of a cluster's maintenance: when GKE may upgrade it, and when not."""

from typing import Annotated, Literal

from pydantic import Field

from components.settings.types import Instant, Section


class MaintenanceExclusion(Section):
    """A time in which GKE may not upgrade: `endTime`, or `endTimeBehavior` where it ends by itself."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-_ A-Za-z0-9]{0,61}[A-Za-z0-9])?$", description="its name")]
    start_time: Annotated[Instant, Field(description="begin, UTC")]
    end_time: Annotated[Instant | None, Field(description="end, UTC")] = None
    end_time_behavior: Annotated[
        Literal["UNTIL_END_OF_SUPPORT"] | None, Field(description="instead of endTime: as long as the version lives")
    ] = None
    scope: Annotated[
        Literal["NO_UPGRADES", "NO_MINOR_UPGRADES", "NO_MINOR_OR_NODE_UPGRADES"],
        Field(description="what may not happen meanwhile"),
    ] = "NO_UPGRADES"


class MaintenanceWindow(Section):
    """When GKE may upgrade: RFC 3339 times and an RFC 5545 recurrence."""

    start_time: Annotated[
        str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", description="begin of the first window, UTC")
    ] = "2026-01-03T02:00:00Z"
    end_time: Annotated[
        str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", description="end of the first window, UTC")
    ] = "2026-01-03T10:00:00Z"
    recurrence: Annotated[str, Field(pattern=r"^FREQ=\S+$", description="when the window comes again")] = (
        "FREQ=WEEKLY;BYDAY=SA,SU"
    )
    exclusions: Annotated[
        tuple[MaintenanceExclusion, ...], Field(strict=False, description="times in which GKE may not upgrade")
    ] = ()
