"""Whether a node pool's service account may read the repository that its images come from."""

import re
from collections.abc import Callable
from typing import Any

import google.auth
import google.auth.exceptions
import google.auth.transport.requests
import httpx

from components.references import ImageReference
from smoke.checks import NotHeldError, NotRunError

READER_ROLES = frozenset(
    f"roles/artifactregistry.{role}" for role in ("reader", "writer", "repoAdmin", "admin", "createOnPushWriter")
)
"""Roles that hold artifactregistry.repositories.downloadArtifacts (Artifact Registry documentation, "Access control
with IAM"). The basic roles viewer, editor and owner of the project hold it too."""
_PROJECT_ROLES = READER_ROLES | {"roles/viewer", "roles/editor", "roles/owner"}
_SECONDS = 30

Token = Callable[[], str]


def google_token() -> str:
    """Return an access token of the ambient Google credentials.

    Raises:
        NotRunError: there are none.
    """
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]
    except google.auth.exceptions.GoogleAuthError as error:
        reason = str(error).splitlines()[0]
        raise NotRunError(f"no Google credentials here ({reason}): `gcloud auth application-default login`") from None
    return str(credentials.token)


class RegistryPolicies:
    """Reads IAM policies of Artifact Registry repositories and their projects.

    The policy is read rather than testIamPermissions asked, since that answers for the caller and not for the nodes.

    Args:
        token: gives an access token when one is needed.
        artifact_registry, resource_manager: addresses of the two APIs.
    """

    def __init__(
        self,
        token: Token = google_token,
        *,
        artifact_registry: str = "https://artifactregistry.googleapis.com",
        resource_manager: str = "https://cloudresourcemanager.googleapis.com",
    ) -> None:
        self._token = token
        self._artifact_registry = artifact_registry
        self._resource_manager = resource_manager

    def check_reader(self, reference: ImageReference, account: str) -> str:
        """Return which binding lets the account pull the image.

        Args:
            reference: the image.
            account: the service account's email.

        Raises:
            NotHeldError: no binding does.
            NotRunError: the repository is not in Artifact Registry, or its policy may not be read.
        """
        match = re.fullmatch(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/.+", reference.repository)
        if not match:
            raise NotRunError(f"{reference.host} is not Artifact Registry: IAM says nothing about it")
        location, project, repository = match.groups()
        name = f"projects/{project}/locations/{location}/repositories/{repository}"
        token = self._token()
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=_SECONDS) as http:
            policy = _policy(http.get(f"{self._artifact_registry}/v1/{name}:getIamPolicy"), name)
            role = _role(policy, account, READER_ROLES)
            if role:
                return f"{account} has {role} on {repository}"
            response = http.post(f"{self._resource_manager}/v1/projects/{project}:getIamPolicy", json={})
            # Not being allowed to read the project's policy leaves the repository's, where the binding belongs.
            role = _role(response.json(), account, _PROJECT_ROLES) if response.is_success else None
            if role:
                return f"{account} has {role} on the project {project}"
        seen = "" if response.is_success else f" (the policy of {project} could not be read: {response.status_code})"
        raise NotHeldError(
            f"{account} has no role on {name} that lets it pull{seen}",
            f"bind roles/artifactregistry.reader on {repository} to serviceAccount:{account}: `pulumi up` does for a "
            "repository of the stack; in an adopted one its owner must",
        )


def _policy(response: httpx.Response, name: str) -> dict[str, Any]:
    if response.status_code == 404:
        raise NotHeldError(f"there is no {name}", "correct `registry.url`, or create the repository with `pulumi up`")
    if response.status_code in {401, 403}:
        raise NotRunError(f"your credentials may not read the IAM policy of {name}: ask for artifactregistry.admin")
    response.raise_for_status()
    return dict(response.json())


def _role(policy: dict[str, Any], account: str, roles: frozenset[str]) -> str | None:
    members = {f"serviceAccount:{account}", "allUsers", "allAuthenticatedUsers"}
    for binding in policy.get("bindings") or ():
        # A conditional binding may not apply to the node's requests; it cannot be counted on.
        if (
            binding.get("role") in roles
            and members & set(binding.get("members") or ())
            and not binding.get("condition")
        ):
            return str(binding["role"])
    return None
