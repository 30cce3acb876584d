"""The Google APIs that a component needs, enabled as its children."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from collections.abc import Iterable

import pulumi

from components.google import sdk as gcp


def enabled(component: pulumi.Resource, name: str, project: str, apis: Iterable[str]) -> list[pulumi.Resource]:
    """Enable APIs of a project and return what has to be depended on.

    They are never disabled again: other things of the project may have come to need them, and two stacks of one
    project would disable each other's.

    Args:
        component: the parent of the resources.
        name: the component's name, with which the resources' names begin.
        project: Google project.
        apis: names without `.googleapis.com`.
    """
    return [
        gcp.projects.Service(
            f"{name}-{api}",
            service=f"{api}.googleapis.com",
            project=project,
            disable_on_destroy=False,
            disable_dependent_services=False,
            opts=pulumi.ResourceOptions(parent=component),
        )
        for api in apis
    ]
