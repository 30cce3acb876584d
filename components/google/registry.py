"""ModelRegistry: where the models' images live, and who may read and write them."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pulumi

from components.google import google_apis, replacement
from components.google import sdk as gcp
from components.google.cluster import Cluster
from components.settings.models import StackModel
from components.settings.places import StackRegistry
from components.settings.registry import RegistryCleanup, RegistryCreate
from oci_model_serving.reference import DIGEST_TAG_PREFIX, REFERRERS_PREFIX, SHARE_TAG_PREFIX, google_repository

READER = "roles/artifactregistry.reader"
WRITER = "roles/artifactregistry.writer"
LAYOUT_PREFIX = "localhost"
"""Stands before the images' names where there is no registry and images are only OCI layouts in folders."""
_DAY_S = 86_400


class ModelRegistry(pulumi.ComponentResource):
    """An Artifact Registry repository for model images, or an existing registry, with its readers.

    They are the nodes, and the pods that read an image by themselves: each by its own Kubernetes service account.

    Deliberately binds roles on the repository only, one member at a time (additive): a binding on the project would
    open every repository in it, and an authoritative one would remove what others have granted. The clean-up policies
    never delete what carries a tag `digest-…`: that is what serving refers to, and Artifact Registry cannot see it.
    """

    url: pulumi.Output[str]
    """`host[:port]/path`, to which the images' names are appended."""
    repository: pulumi.Output[str]
    """Full name of the Artifact Registry repository, empty when the registry is not Google's."""

    def __init__(
        self,
        name: str,
        settings: StackRegistry,
        readers: Mapping[str, pulumi.Input[str]],
        pods: Mapping[str, pulumi.Input[str]] = MappingProxyType({}),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make it.

        Args:
            name: of the component.
            settings: the stack's.
            readers: emails of the nodes' service accounts by node pool.
            pods: IAM members of the pods that read images of this registry by themselves, by model (`pods`).
            opts: resource options.
        """
        super().__init__("oci-model-serving:index:ModelRegistry", name, None, opts)
        self._name, self._settings, self._readers, self._pods = name, settings, readers, pods
        create, url = settings.settings.create, settings.settings.url
        if create:
            self._create(create)
        else:
            adopted = google_repository(url) if url else None
            if adopted and settings.settings.grant_readers:
                self._grant_readers(_Target(adopted.project, adopted.location, adopted.repository))
            self.url = pulumi.Output.from_input(url or LAYOUT_PREFIX)
            self.repository = pulumi.Output.from_input(adopted.name if adopted else "")
        self.register_outputs({"url": self.url, "repository": self.repository})

    @property
    def first(self) -> pulumi.ResourceOptions:
        """Options of what needs the registry to be there."""
        return pulumi.ResourceOptions(depends_on=[self])

    def _create(self, create: RegistryCreate) -> None:
        project = create.project or self._settings.project
        apis = ["artifactregistry", *(["containerscanning"] if create.scanning else [])] if create.enable_apis else []
        enabled = google_apis.enabled(self, self._name, project, apis)
        options = pulumi.ResourceOptions(
            parent=self, depends_on=enabled, protect=create.protect, retain_on_delete=create.protect
        )
        repository = gcp.artifactregistry.Repository(
            self._name,
            repository_id=create.repository,
            location=create.location or self._settings.region,
            project=project,
            format="DOCKER",
            mode="STANDARD_REPOSITORY",
            description="Model images, served by digest",
            # Where it would say false, the provider reads no block back, and each update would set it again.
            docker_config={"immutable_tags": True} if create.immutable_tags else None,
            cleanup_policies=_cleanup(create.cleanup, shared=self._settings.shared),
            cleanup_policy_dry_run=create.cleanup.dry_run,
            vulnerability_scanning_config={"enablement_config": "INHERITED" if create.scanning else "DISABLED"},
            kms_key_name=create.kms_key,
            labels=create.labels,
            opts=pulumi.ResourceOptions.merge(options, replacement.SUCCESSOR_FIRST),
        )
        # Of a protected repository, which a destroy leaves alone, the bindings are deleted one by one.
        owner = None if create.protect else repository
        target = _Target(repository.project, repository.location, repository.repository_id, owner)
        self._grant_readers(target)
        for member in create.extra_readers:
            self._bind(f"reader-{_digits(member)}", target, READER, member)
        for member in create.writers:
            self._bind(f"writer-{_digits(member)}", target, WRITER, member)
        # A domain's project is example.com:name, in an image's name example.com/name.
        path = repository.project.apply(lambda known: known.replace(":", "/"))
        self.url = pulumi.Output.concat(repository.location, "-docker.pkg.dev/", path, "/", repository.repository_id)
        self.repository = repository.id

    def _grant_readers(self, target: _Target) -> None:
        for pool, email in self._readers.items():
            # An account of others may have the role from others, and may serve other pools.
            stays = pool in self._settings.borrowed
            self._bind(f"reader-{pool}", target, READER, pulumi.Output.concat("serviceAccount:", email), stays=stays)
        for model, member in self._pods.items():
            self._bind(f"pods-{model}", target, READER, member)

    def _bind(self, suffix: str, target: _Target, role: str, member: pulumi.Input[str], *, stays: bool = False) -> None:
        gcp.artifactregistry.RepositoryIamMember(
            f"{self._name}-{suffix}",
            project=target.project,
            location=target.location,
            repository=target.repository,
            role=role,
            member=member,
            # The bindings go with the repository; asking for them one by one would fail once it is gone.
            opts=pulumi.ResourceOptions(parent=self, deleted_with=target.owner, retain_on_delete=stays or None),
        )


def pods(cluster: Cluster, models: Mapping[str, StackModel]) -> dict[str, pulumi.Output[str]]:
    """The models' Kubernetes service accounts whose pods read the stack's registry themselves, as members of policies.

    Those that read a registry of others are for its owner to let in.

    Args:
        cluster: where the pods are (GKE, "Workload Identity Federation", principal identifiers).
        models: the stack's.
    """
    own = {key: model for key, model in models.items() if model.delivery.streamed and model.in_registry}
    project = cluster.settings.project
    if not (own and project and cluster.settings.serves):
        return {}
    found = gcp.organizations.get_project_output(project_id=project, opts=pulumi.InvokeOutputOptions(parent=cluster))
    # The pool of identities comes with a project's first cluster: a binding before that is refused.
    number = pulumi.Output.all(found.number, cluster.name).apply(lambda known: str(known[0]))
    pool = pulumi.Output.concat(
        "principal://iam.googleapis.com/projects/", number, "/locations/global/workloadIdentityPools/", project
    )
    return {
        key: pulumi.Output.concat(pool, f".svc.id.goog/subject/ns/{model.namespace}/sa/{model.name}")
        for key, model in own.items()
    }


@dataclass(frozen=True)
class _Target:
    """The repository that a role is bound on; `owner` is its resource where this stack creates it."""

    project: pulumi.Input[str]
    location: pulumi.Input[str]
    repository: pulumi.Input[str]
    owner: pulumi.Resource | None = None


def _cleanup(cleanup: RegistryCleanup, *, shared: bool) -> list[gcp.artifactregistry.RepositoryCleanupPolicyArgsDict]:
    """Keep wins over delete in Artifact Registry, whatever the order ("Configure cleanup policies")."""
    old = f"{cleanup.delete_untagged_after_days * _DAY_S}s"
    # A record is of use until its image is there; the layers stay with that.
    shares: gcp.artifactregistry.RepositoryCleanupPolicyArgsDict = {
        "id": "delete-shares",
        "action": "DELETE",
        "condition": {"tag_state": "TAGGED", "tag_prefixes": [SHARE_TAG_PREFIX], "older_than": old},
    }
    return [
        {
            "id": "keep-digest-tags",
            "action": "KEEP",
            # The second is the tags' former name, which images in use may still have alone.
            "condition": {"tag_state": "TAGGED", "tag_prefixes": [DIGEST_TAG_PREFIX, REFERRERS_PREFIX]},
        },
        {"id": "keep-newest", "action": "KEEP", "most_recent_versions": {"keep_count": cleanup.keep_newest}},
        {
            "id": "delete-untagged",
            "action": "DELETE",
            "condition": {"tag_state": "UNTAGGED", "older_than": old},
        },
        *([shares] if shared else []),
    ]


def _digits(member: str) -> str:
    """A part of a resource's name for an IAM member, whose own letters URNs do not take."""
    return hashlib.sha256(member.encode()).hexdigest()[:8]
