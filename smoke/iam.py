"""Whether a node pool's service account may read the repository that its images come from."""

from collections.abc import Callable
from typing import Any

import google.auth
import google.auth.exceptions
import google.auth.transport.requests
import httpx

from modelimage.answers import BoundedClient
from oci_model_serving.reference import ImageReference, google_repository
from smoke.answers import object_of
from smoke.checks import NotRunError
from watch.causes import NotHeldError, said

READER_ROLES = frozenset(
    f"roles/artifactregistry.{role}" for role in ("reader", "writer", "repoAdmin", "admin", "createOnPushWriter")
)
"""Roles that hold artifactregistry.repositories.downloadArtifacts (Artifact Registry documentation, "Access control
with IAM"). The basic roles viewer, editor and owner of the project hold it too."""
_PROJECT_ROLES = READER_ROLES | {"roles/viewer", "roles/editor", "roles/owner"}
_CUSTOM_ROLES = ("projects/", "organizations/")
# Members that stand for many (IAM documentation, "Principal identifiers").
_SETS = ("group:", "domain:", "principalSet:")
_SECONDS = 30
_ANSWER_LIMIT_BYTES = 4 << 20
_REGISTRY = "artifactregistry.googleapis.com"


_POOL = ".svc.id.goog/"
"""How the pools of Workload Identity end (GKE, "Workload Identity Federation", principal identifiers)."""
_POD_ACCOUNT = "subject/ns/"


def pod_account(namespace: str, name: str) -> str:
    """A Kubernetes service account, as `RegistryPolicies.check_reader` takes it and members of policies end with it."""
    return f"{_POD_ACCOUNT}{namespace}/sa/{name}"


def google_token() -> str:
    """Return an access token of the ambient Google credentials.

    Raises:
        NotRunError: there are none.
    """
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]
    except google.auth.exceptions.GoogleAuthError as error:
        reason = f"no Google credentials here ({said(error)}): `gcloud auth application-default login`"
        raise NotRunError(reason) from None
    return str(credentials.token)


class RegistryPolicies:
    """Reads IAM policies of Artifact Registry repositories and their projects.

    The policy is read rather than testIamPermissions asked, since that answers for the caller and not for the nodes.
    """

    def __init__(
        self,
        token: Callable[[], str] = google_token,
        *,
        artifact_registry: str = f"https://{_REGISTRY}",
        resource_manager: str = "https://cloudresourcemanager.googleapis.com",
    ) -> None:
        self._token = token
        self._artifact_registry = artifact_registry
        self._resource_manager = resource_manager

    def check_reader(self, reference: ImageReference, account: str) -> str:
        """Return which binding lets the account (an email, or a `pod_account`) pull the image.

        Raises:
            NotHeldError: no binding does.
            NotRunError: the repository is not in Artifact Registry, a policy may not be read, or a binding may or may
                not let the account pull (a group, a domain, a custom role).
        """
        found = google_repository(reference.repository)
        if found is None:
            raise NotRunError(f"{reference.host} is not Artifact Registry: IAM says nothing about it")
        project, repository, name = found.project, found.repository, found.name
        with BoundedClient(
            _ANSWER_LIMIT_BYTES, headers={"Authorization": f"Bearer {self._token()}"}, timeout=_SECONDS
        ) as http:
            policy = _policy(http.get(f"{self._artifact_registry}/v1/{name}:getIamPolicy"), name)
            role = _role(policy, account, READER_ROLES)
            if role:
                return f"{account} has {role} on {repository}"
            response = http.post(f"{self._resource_manager}/v1/projects/{project}:getIamPolicy", json={})
            # Not being allowed to read the project's policy leaves the repository's, where the binding belongs.
            if not response.is_success:
                raise NotRunError(
                    f"{account} has no role on {repository} itself, and the IAM policy of the project {project} could "
                    f"not be read ({response.status_code}): ask for resourcemanager.projects.getIamPolicy"
                )
            project_policy = _bindings(response, project)
            role = _role(project_policy, account, _PROJECT_ROLES)
            if role:
                return f"{account} has {role} on the project {project}"
        undecided = _undecided(policy, account, READER_ROLES) + _undecided(project_policy, account, _PROJECT_ROLES)
        if undecided:
            raise NotRunError(
                f"{account} has no role of its own that lets it pull; whether these do cannot be seen from here: "
                f"{', '.join(dict.fromkeys(undecided))}"
            )
        raise NotHeldError(
            f"{account} has no role on {name} that lets it pull",
            f"bind roles/artifactregistry.reader on {repository} to {_member(account)}: `pulumi up` does for a "
            "repository of the stack; in an adopted one its owner must",
        )


def _policy(response: httpx.Response, name: str) -> dict[str, Any]:
    if response.status_code == 404:
        raise NotHeldError(f"there is no {name}", "correct `registry.url`, or create the repository with `pulumi up`")
    if "SERVICE_DISABLED" in response.text:
        project = name.split("/")[1]
        reason = f"{_REGISTRY} is not enabled in {project}: `gcloud services enable {_REGISTRY} --project {project}`"
        raise NotRunError(reason)
    if response.status_code in {401, 403}:
        raise NotRunError(f"your credentials may not read the IAM policy of {name}: ask for artifactregistry.admin")
    if not response.is_success:
        raise NotRunError(
            f"Google answered {response.status_code} for the IAM policy of {name}: run the check again in a few minutes"
        )
    return _bindings(response, name)


def _bindings(response: httpx.Response, name: str) -> dict[str, Any]:
    """The policy that was answered, if it has the form of one."""
    policy = object_of(response.content)
    bindings = policy.get("bindings") or [] if policy is not None else None
    if policy is None or not isinstance(bindings, list) or not all(_is_binding(one) for one in bindings):
        raise NotRunError(f"what was answered for the IAM policy of {name} is none: run the check again")
    return policy


def _is_binding(one: object) -> bool:
    members = one.get("members") or [] if isinstance(one, dict) else None
    return isinstance(members, list) and all(isinstance(member, str) for member in members)


def _member(account: str) -> str:
    if not account.startswith(_POD_ACCOUNT):
        return f"serviceAccount:{account}"
    return (
        f"principal://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/PROJECT{_POOL}{account}"
    )


def _are(account: str, members: set[str]) -> set[str]:
    """Which of these members are the account, or everybody.

    A policy does not say of which cluster a Kubernetes account is: all clusters of a project have one pool.
    """
    found = members & {f"serviceAccount:{account}", "allUsers", "allAuthenticatedUsers"}
    if account.startswith(_POD_ACCOUNT):
        found |= {one for one in members if one.startswith("principal://") and one.endswith(f"{_POOL}{account}")}
    return found


def _undecided(policy: dict[str, Any], account: str, roles: frozenset[str]) -> list[str]:
    """Bindings that may let the account pull: who is in a group, and what a custom role holds, is asked elsewhere."""
    found = []
    for binding in policy.get("bindings") or ():
        role, members = str(binding.get("role")), set(binding.get("members") or ())
        custom = role.startswith(_CUSTOM_ROLES)
        if binding.get("condition") or not (custom or role in roles):
            continue
        if custom:
            found += [f"{role} of {member}" for member in sorted(_are(account, members))]
        found += [f"{role} of {member}" for member in sorted(members) if member.startswith(_SETS)]
    return found


def _role(policy: dict[str, Any], account: str, roles: frozenset[str]) -> str | None:
    for binding in policy.get("bindings") or ():
        there = binding.get("role") in roles and _are(account, set(binding.get("members") or ()))
        # A conditional binding may not apply to the node's requests; it cannot be counted on.
        if there and not binding.get("condition"):
            return str(binding["role"])
    return None
