"""Whether a node account may pull, by the policies that Google's APIs answer with."""

import contextlib
from collections.abc import Iterator
from typing import Any

import google.auth
import google.auth.exceptions
import pytest

from oci_model_serving.reference import ImageReference
from smoke import iam
from smoke.checks import NotRunError
from smoke.iam import RegistryPolicies, google_token
from tests.google.endpoints import loopback
from tests.google.errors import GoogleError
from tests.google.faults import Faults, api_off, busy, denied, too_many
from tests.smoke.stacks import ACCOUNT, DIGEST, IMAGE
from watch.causes import NotHeldError

REFERENCE = ImageReference.parse(IMAGE)
REPOSITORY = "projects/demo/locations/us-central1/repositories/models"
PROJECT = "projects/demo"
READ_REPOSITORY = "artifactregistry.projects.locations.repositories.getIamPolicy"
READ_PROJECT = "cloudresourcemanager.projects.getIamPolicy"
MEMBER = f"serviceAccount:{ACCOUNT}"


def binding(role: str, member: str = MEMBER, **more: Any) -> dict[str, Any]:
    return {"bindings": [{"role": role, "members": [member], **more}]}


@contextlib.contextmanager
def google_apis(
    policies: dict[str, dict[str, Any]], refusing: dict[str, list[GoogleError]] | None = None
) -> Iterator[RegistryPolicies]:
    """Google with these policies; a repository exists if it has one."""
    with loopback(Faults(refusing=refusing or {})) as google:
        for name, policy in policies.items():
            service = "artifactregistry" if "/repositories/" in name else "cloudresourcemanager"
            google.state.put(service, name, {"name": name})
            google.state.policies[service, name] = policy
        yield RegistryPolicies(
            lambda: "token",
            artifact_registry=google.address("artifactregistry"),
            resource_manager=google.address("cloudresourcemanager"),
        )
        assert google.violations == []


def test_a_binding_on_the_repository_is_enough() -> None:
    with google_apis({REPOSITORY: binding("roles/artifactregistry.reader")}) as policies:
        assert "roles/artifactregistry.reader on models" in policies.check_reader(REFERENCE, ACCOUNT)


def test_a_binding_on_the_project_is_enough() -> None:
    answers = {REPOSITORY: {}, PROJECT: binding("roles/editor")}
    with google_apis(answers) as policies:
        assert "on the project demo" in policies.check_reader(REFERENCE, ACCOUNT)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        binding("roles/artifactregistry.reader", "serviceAccount:other@demo.iam.gserviceaccount.com"),
        binding("roles/logging.logWriter"),
        binding("roles/artifactregistry.reader", condition={"expression": "request.time < timestamp('2026-01-01')"}),
    ],
    ids=["no binding", "another account", "another role", "a condition"],
)
def test_no_binding_fails_and_names_the_one_that_is_missing(policy: dict[str, Any]) -> None:
    with (
        google_apis({REPOSITORY: policy, PROJECT: {}}) as policies,
        pytest.raises(NotHeldError) as failed,
    ):
        policies.check_reader(REFERENCE, ACCOUNT)

    assert f"roles/artifactregistry.reader on models to {MEMBER}" in failed.value.remedy


def test_an_unreadable_project_policy_is_no_failure_of_the_account() -> None:
    with (
        google_apis(
            {REPOSITORY: {}}, {READ_PROJECT: [denied("resourcemanager.projects.getIamPolicy", PROJECT)]}
        ) as policies,
        pytest.raises(NotRunError, match=r"project demo could not be read \(403\)"),
    ):
        policies.check_reader(REFERENCE, ACCOUNT)


@pytest.mark.parametrize("where", [REPOSITORY, PROJECT])
@pytest.mark.parametrize(
    ("role", "member"),
    [
        ("roles/artifactregistry.reader", "group:nodes@example.com"),
        ("roles/artifactregistry.reader", "domain:example.com"),
        ("roles/artifactregistry.reader", "principalSet://cloudresourcemanager.googleapis.com/projects/1/type/SA"),
        ("projects/demo/roles/puller", MEMBER),
        ("organizations/1/roles/puller", "group:nodes@example.com"),
    ],
)
def test_a_binding_that_may_or_may_not_apply_is_named_and_no_failure(where: str, role: str, member: str) -> None:
    answers = {REPOSITORY: {}, PROJECT: {}, where: binding(role, member)}
    with google_apis(answers) as policies, pytest.raises(NotRunError) as reason:
        policies.check_reader(REFERENCE, ACCOUNT)

    assert f"{role} of {member}" in str(reason.value)


@pytest.mark.parametrize(
    ("role", "member"),
    [
        ("roles/logging.logWriter", "group:nodes@example.com"),
        ("projects/demo/roles/puller", "serviceAccount:other@demo.iam.gserviceaccount.com"),
    ],
)
def test_a_group_of_another_role_and_another_accounts_custom_role_do_not_count(role: str, member: str) -> None:
    answers = {REPOSITORY: {}, PROJECT: binding(role, member)}
    with google_apis(answers) as policies, pytest.raises(NotHeldError):
        policies.check_reader(REFERENCE, ACCOUNT)


def test_an_unreadable_repository_policy_is_no_failure_of_the_account() -> None:
    refused = {READ_REPOSITORY: [denied("artifactregistry.repositories.getIamPolicy", REPOSITORY)]}
    with google_apis({REPOSITORY: {}}, refused) as policies, pytest.raises(NotRunError, match="may not read"):
        policies.check_reader(REFERENCE, ACCOUNT)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (
            api_off("Artifact Registry API", "artifactregistry", "demo"),
            "artifactregistry.googleapis.com is not enabled in demo: `gcloud services enable "
            "artifactregistry.googleapis.com --project demo`",
        ),
        (busy(), "Google answered 503 for the IAM policy of projects/demo/.*: run the check again in a few minutes"),
        (
            too_many(),
            "Google answered 429 for the IAM policy of projects/demo/.*: run the check again in a few minutes",
        ),
    ],
    ids=["api off", "503", "429"],
)
def test_an_api_that_does_not_answer_is_told_in_one_line_with_what_to_do(refusal: GoogleError, told: str) -> None:
    with (
        google_apis({REPOSITORY: {}}, {READ_REPOSITORY: [refusal]}) as policies,
        pytest.raises(NotRunError, match=told) as reason,
    ):
        policies.check_reader(REFERENCE, ACCOUNT)
    assert "\n" not in str(reason.value)


def test_an_absent_repository_fails() -> None:
    with google_apis({}) as policies, pytest.raises(NotHeldError, match="there is no projects/demo"):
        policies.check_reader(REFERENCE, ACCOUNT)


@pytest.mark.parametrize(
    ("repository", "name", "project"),
    [
        (
            "us-docker.pkg.dev/example.com/proj/repo/img",
            "projects/example.com:proj/locations/us/repositories/repo",
            "example.com:proj",
        ),
        ("gcr.io/demo/img", "projects/demo/locations/us/repositories/gcr.io", "demo"),
        ("eu.gcr.io/example.com/proj/img", "projects/example.com:proj/locations/europe/repositories/eu.gcr.io", ""),
    ],
)
def test_every_form_of_googles_names_is_asked_for_its_own_policy(repository: str, name: str, project: str) -> None:
    reference = ImageReference.parse(f"{repository}@{DIGEST}")

    with google_apis({name: binding("roles/artifactregistry.reader")}) as policies:
        assert "roles/artifactregistry.reader" in policies.check_reader(reference, ACCOUNT)
    if project:
        with google_apis({name: {}, f"projects/{project}": binding("roles/viewer")}) as policies:
            assert f"on the project {project}" in policies.check_reader(reference, ACCOUNT)


@pytest.mark.parametrize(
    "repository",
    [
        "evil-docker.pkg.dev.example.com/demo/models/x",
        "x-docker-pkg.dev/demo/models/x",
        "evilpkg.dev/demo/models/x",
        "gcr.io.example.com/demo/x",
    ],
)
def test_a_host_that_only_looks_like_googles_is_never_shown_a_token(repository: str) -> None:
    def token() -> str:
        raise AssertionError

    with pytest.raises(NotRunError, match="not Artifact Registry"):
        RegistryPolicies(token).check_reader(ImageReference.parse(f"{repository}@{DIGEST}"), ACCOUNT)


def test_another_registry_is_skipped_without_asking_for_credentials() -> None:
    def token() -> str:
        raise AssertionError

    with pytest.raises(NotRunError, match="not Artifact Registry"):
        RegistryPolicies(token).check_reader(ImageReference.parse(f"localhost:5000/models/x@{DIGEST}"), ACCOUNT)


def test_without_google_credentials_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: object) -> None:
        raise google.auth.exceptions.DefaultCredentialsError("no credentials were found")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)

    with pytest.raises(NotRunError, match="gcloud auth application-default login"):
        google_token()


POD = iam.pod_account("models", "qwen")
POOL = "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/demo.svc.id.goog/"


def test_a_binding_to_the_pods_own_account_is_found_by_its_namespace_and_name() -> None:
    with google_apis({REPOSITORY: binding("roles/artifactregistry.reader", f"{POOL}{POD}")}) as policies:
        assert "roles/artifactregistry.reader on models" in policies.check_reader(REFERENCE, POD)


@pytest.mark.parametrize(
    "member",
    [f"{POOL}subject/ns/models/sa/qwen2", f"{POOL}subject/ns/other/sa/qwen", f"{POOL}subject/ns/x/ns/models/sa/qwen"],
)
def test_a_binding_to_another_pods_account_is_none_and_the_member_to_bind_is_named(member: str) -> None:
    answers = {REPOSITORY: binding("roles/artifactregistry.reader", member), PROJECT: {}}
    with google_apis(answers) as policies, pytest.raises(NotHeldError) as failed:
        policies.check_reader(REFERENCE, POD)

    assert "PROJECT.svc.id.goog/subject/ns/models/sa/qwen" in failed.value.remedy


def test_a_binding_to_all_pods_of_a_namespace_may_hold() -> None:
    member = f"{POOL.replace('principal:', 'principalSet:')}namespace/models"
    answers = {REPOSITORY: binding("roles/artifactregistry.reader", member), PROJECT: {}}
    with google_apis(answers) as policies, pytest.raises(NotRunError, match="principalSet"):
        policies.check_reader(REFERENCE, POD)
