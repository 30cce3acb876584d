from dataclasses import replace

import pulumi
import pytest

from components.google.registry import ModelRegistry
from components.settings.places import StackRegistry
from components.settings.registry import RegistryCreate, RegistrySettings
from oci_model_serving.reference import GoogleRepository, google_repository
from tests.fields import observe, unreached
from tests.mocks import Recording, record

REPOSITORY = "gcp:artifactregistry/repository:Repository"
MEMBER = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"
SERVICE = "gcp:projects/service:Service"

CREATED = StackRegistry(
    RegistrySettings(create=RegistryCreate(repository="models")), project="demo", region="us-central1"
)
READERS = {"l4": "demo-l4@demo.iam.gserviceaccount.com"}


def run(args: StackRegistry) -> Recording:
    def program() -> None:
        registry = ModelRegistry("models", args, READERS)
        pulumi.export("url", registry.url)
        pulumi.export("repository", registry.repository)

    return record(program)


def adopted(url: str, **fields: object) -> StackRegistry:
    return replace(CREATED, settings=RegistrySettings.model_validate({"url": url, **fields}))


def with_create(**fields: object) -> StackRegistry:
    create = RegistryCreate.model_validate({"repository": "models", **fields})
    return replace(CREATED, settings=RegistrySettings(create=create))


def test_the_url_of_a_created_repository_is_known_in_the_plan() -> None:
    assert run(CREATED).outputs["url"] == "us-central1-docker.pkg.dev/demo/models"


def test_a_multi_region_and_another_project_make_the_url() -> None:
    outputs = run(with_create(location="us", project="shared")).outputs

    assert outputs["url"] == "us-docker.pkg.dev/shared/models"
    assert outputs["repository"] == "projects/shared/locations/us/repositories/models"


def test_a_project_of_a_domain_is_spelled_as_images_spell_it() -> None:
    assert run(replace(CREATED, project="example.com:demo")).outputs["url"] == (
        "us-central1-docker.pkg.dev/example.com/demo/models"
    )


def test_tags_are_immutable_and_weights_are_not_scanned() -> None:
    repository = run(CREATED).only(REPOSITORY)

    assert repository.inputs["dockerConfig"] == {"immutableTags": True}
    assert repository.inputs["vulnerabilityScanningConfig"] == {"enablementConfig": "DISABLED"}


def test_cleanup_keeps_what_serving_refers_to_and_the_newest_and_deletes_only_untagged_versions() -> None:
    policies = {policy["id"]: policy for policy in run(CREATED).only(REPOSITORY).inputs["cleanupPolicies"]}

    assert policies["keep-digest-tags"] == {
        "id": "keep-digest-tags",
        "action": "KEEP",
        "condition": {"tagState": "TAGGED", "tagPrefixes": ["digest-", "sha256-"]},
    }
    assert policies["keep-newest"]["mostRecentVersions"] == {"keepCount": 5}
    deleting = [policy for policy in policies.values() if policy["action"] == "DELETE"]
    assert [policy["condition"] for policy in deleting] == [{"tagState": "UNTAGGED", "olderThan": "2592000s"}]


def test_scanning_enables_the_api_that_it_needs() -> None:
    def services(args: StackRegistry) -> list[str]:
        return [resource.inputs["service"] for resource in run(args).of_type(SERVICE)]

    assert services(CREATED) == ["artifactregistry.googleapis.com"]
    assert services(with_create(scanning=True)) == [
        "artifactregistry.googleapis.com",
        "containerscanning.googleapis.com",
    ]
    assert services(with_create(enable_apis=False)) == []


def test_apis_stay_enabled_when_the_stack_goes() -> None:
    assert run(CREATED).only(SERVICE).inputs["disableOnDestroy"] is False


def test_a_repository_is_protected_by_default_and_stays_on_destroy() -> None:
    options = observe(lambda: ModelRegistry("models", CREATED, READERS)).options[REPOSITORY, "models"]

    assert options["protect"]
    assert options["retain_on_delete"]


def test_roles_are_bound_on_the_repository_only_and_each_to_its_member() -> None:
    args = with_create(
        extra_readers=["serviceAccount:serving@other.iam.gserviceaccount.com"],
        writers=["serviceAccount:ci@demo.iam.gserviceaccount.com"],
    )

    bindings = {
        (member.inputs["role"], member.inputs["repository"], member.inputs["member"])
        for member in run(args).of_type(MEMBER)
    }

    assert bindings == {
        ("roles/artifactregistry.reader", "models", "serviceAccount:demo-l4@demo.iam.gserviceaccount.com"),
        ("roles/artifactregistry.reader", "models", "serviceAccount:serving@other.iam.gserviceaccount.com"),
        ("roles/artifactregistry.writer", "models", "serviceAccount:ci@demo.iam.gserviceaccount.com"),
    }
    grants = {resource.type for resource in run(args).resources if "iam" in resource.type.lower()}
    assert grants == {MEMBER}, "nothing but additive bindings on the repository"


def test_bindings_go_with_a_repository_that_may_go() -> None:
    options = observe(lambda: ModelRegistry("models", with_create(protect=False), READERS)).options

    assert options[MEMBER, "models-reader-l4"]["deleted_with"] == "models"


@pytest.mark.parametrize("borrowed", [set(), {"l4"}])
def test_an_account_of_others_stays_a_reader_when_its_pool_goes(borrowed: set[str]) -> None:
    registry = replace(CREATED, borrowed=frozenset(borrowed))

    options = observe(lambda: ModelRegistry("models", registry, READERS)).options

    assert options[MEMBER, "models-reader-l4"]["retain_on_delete"] is bool(borrowed)


def test_an_adopted_repository_of_another_project_gets_its_readers_there() -> None:
    recording = run(adopted("europe-docker.pkg.dev/shared/models/team"))

    binding = recording.only(MEMBER).inputs
    assert (binding["project"], binding["location"], binding["repository"]) == ("shared", "europe", "models")
    assert recording.outputs["url"] == "europe-docker.pkg.dev/shared/models/team"
    assert recording.outputs["repository"] == "projects/shared/locations/europe/repositories/models"


def test_readers_of_an_adopted_repository_can_be_left_to_its_owner() -> None:
    recording = run(adopted("us-docker.pkg.dev/shared/models", grant_readers=False))

    assert recording.of_type(MEMBER) == []


def test_a_registry_that_is_not_googles_gets_no_bindings() -> None:
    recording = run(adopted("registry.example:5000/models"))

    assert [resource.type for resource in recording.resources] == ["oci-model-serving:index:ModelRegistry"]
    assert recording.outputs["repository"] == ""


def test_without_a_registry_images_are_named_after_this_machine() -> None:
    assert run(StackRegistry(RegistrySettings())).outputs == {"url": "localhost", "repository": ""}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("us-docker.pkg.dev/demo/models", GoogleRepository("demo", "us", "models")),
        (
            "us-central1-docker.pkg.dev/example.com/demo/models",
            GoogleRepository("example.com:demo", "us-central1", "models"),
        ),
        ("gcr.io/demo", GoogleRepository("demo", "us", "gcr.io")),
        ("eu.gcr.io/demo/models", GoogleRepository("demo", "europe", "eu.gcr.io")),
        ("registry.example/docker.pkg.dev/x", None),
        ("ghcr.io/org/models", None),
    ],
)
def test_the_repository_behind_a_url(url: str, expected: GoogleRepository | None) -> None:
    assert google_repository(url) == expected


def test_every_field_of_a_created_registry_reaches_a_resource() -> None:
    values = {
        "project": "other",
        "region": "europe-west4",
        "shared": True,
        "settings.create.repository": "weights",
        "settings.create.location": "us",
        "settings.create.project": "shared",
        "settings.create.labels": {"team": "serving"},
        "settings.create.kms_key": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "settings.create.extra_readers": ("group:readers@example.com",),
        "settings.create.writers": ("group:writers@example.com",),
    }
    exempt = {
        "borrowed": "an option of the bindings; has its own test",
        "settings.url": "excludes create; see the test of adopted repositories",
        "settings.grant_readers": "for adopted repositories; has its own test",
        "settings.allow": "is of images that exist: tests/components/test_model_image.py, checks/models.py",
        "settings.mutable_tags": "is a check: tests/components/serving/test_digest_tags.py",
        "settings.sign": "is of images: tests/components/test_vouching.py",
        "settings.verify": "is of images: tests/components/test_vouching.py",
        "settings.jobs": "is for the packer: tests/components/test_model_image.py",
    }

    assert unreached(lambda args: ModelRegistry("models", args, READERS), CREATED, values, exempt=exempt) == []


def test_records_of_shares_are_cleaned_up_where_pods_leave_some_and_nothing_else_changes() -> None:
    def policies(settings: StackRegistry) -> list[dict[str, object]]:
        recording = record(lambda: ModelRegistry("models", settings, READERS))
        return list(recording.only("gcp:artifactregistry/repository:Repository").inputs["cleanupPolicies"])

    usual, shared = policies(CREATED), policies(replace(CREATED, shared=True))
    assert shared[:-1] == usual
    days = CREATED.settings.create.cleanup.delete_untagged_after_days  # type: ignore[union-attr]
    condition = {"tagState": "TAGGED", "tagPrefixes": ["share-"], "olderThan": f"{days * 86400}s"}
    assert shared[-1] == {"id": "delete-shares", "action": "DELETE", "condition": condition}
