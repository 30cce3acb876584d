"""Google's own Python clients, pointed at the loopback server."""

from __future__ import annotations

from typing import Any

from google.cloud import storage
from google.cloud.devtools import cloudbuild_v1
from google.oauth2.credentials import Credentials

from tests.google.endpoints import Loopback

_storage: Any = storage
_credentials: Any = Credentials


def cloud_build(google: Loopback) -> Any:
    """Cloud Build's client, by REST."""
    return cloudbuild_v1.CloudBuildClient(
        credentials=_credentials("loopback"),
        transport="rest",
        client_options={"api_endpoint": google.address("cloudbuild")},
    )


def storage_client(google: Loopback, project: str) -> Any:
    """Cloud Storage's client."""
    return _storage.Client(
        project=project,
        credentials=_credentials("loopback"),
        client_options={"api_endpoint": google.address("storage")},
    )
