"""Points Google's Pulumi provider, and Google's own Python clients, at the loopback server.

    with loopback() as google:
        environment = {**os.environ, **google.environment}

The variables' names are the provider's `CustomEndpointEnvVar` (terraform-provider-google-beta 8.0.0,
`services/*/product.go`); each holds the version that the provider's client wants.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.google.faults import Faults
from tests.google.script import Script
from tests.google.server import Google, Request, serve
from tests.google.state import State

_VARIABLES = {
    "ARTIFACT_REGISTRY": "artifactregistry/v1/",
    "CERTIFICATE_MANAGER": "certificatemanager/v1/",
    "CLOUD_BUILD": "cloudbuild/v1/",
    "COMPUTE": "compute/compute/beta/",
    "CONTAINER": "container/v1beta1/",
    "IAM": "iam/v1/",
    "IAM_BETA": "iam/v1/",
    "KMS": "cloudkms/v1/",
    "RESOURCE_MANAGER": "cloudresourcemanager/v1/",
    "RESOURCE_MANAGER_V3": "cloudresourcemanager/v3/",
    "SECRET_MANAGER": "secretmanager/v1/",
    "SERVICE_USAGE": "serviceusage/v1/",
    "STORAGE": "storage/storage/v1/",
    "TAGS": "cloudresourcemanager/v3/",
}


@dataclass(frozen=True)
class Loopback:
    """The server, as those see it who run something against it."""

    google: Google

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead the provider here, with a token that nobody checks."""
        endpoints = {f"GOOGLE_{name}_CUSTOM_ENDPOINT": f"{self.google.url}/{path}" for name, path in _VARIABLES.items()}
        return {
            **endpoints,
            "GOOGLE_OAUTH_ACCESS_TOKEN": "loopback",
            # It would ask Google itself for its regions.
            "PULUMI_GCP_SKIP_REGION_VALIDATION": "true",
            "STORAGE_EMULATOR_HOST": self.address("storage"),
        }

    @property
    def url(self) -> str:
        """The server's address; a service is below it, by its name."""
        return self.google.url

    def address(self, service: str) -> str:
        """What stands for `https://<service>.googleapis.com`."""
        return f"{self.url}/{service}"

    @property
    def faults(self) -> Faults:
        """The switches, which may be changed while it runs."""
        return self.google.faults

    @property
    def script(self) -> Script:
        """What builds of Cloud Build do."""
        return self.google.state.script

    @property
    def requests(self) -> list[Request]:
        """All requests, in their order."""
        return self.google.requests

    @property
    def violations(self) -> list[str]:
        """Requests that Google's discovery documents do not know, or whose schema they break."""
        return self.google.violations

    @property
    def state(self) -> State:
        """What Google knows."""
        return self.google.state

    def named(self, service: str) -> dict[str, dict[str, Any]]:
        """A service's resources by their names."""
        return {name: resource for (own, name), resource in self.state.resources.items() if own == service}


@contextlib.contextmanager
def loopback(faults: Faults | None = None) -> Iterator[Loopback]:
    """Serve Google's APIs on loopback for as long as the context lasts."""
    with serve(faults) as google:
        yield Loopback(google)
