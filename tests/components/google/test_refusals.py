"""Google's refusals, in the words that the APIs, the provider and gcloud use for them."""

import re
from pathlib import Path

import pytest

from components.google import refusals
from components.google.refusals import Refused, remedies

STACK = "urn:pulumi:dev::oci-model-serving::oci-model-serving:index:GpuNodePool"
POOL = f"{STACK}$gcp:container/nodePool:NodePool::l4"
ZONE = "The zone 'projects/demo/zones/us-central1-a' does not have enough resources available to fulfill the request"
HERE = "https://cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints"

SAID: dict[str, list[str]] = {
    "stockout": [
        "Error waiting for creating GKE NodePool: Google Compute Engine: Not all instances running in IGM after 1m6s. "
        f"Expected 1, running 0, transitioning 1. Current errors: [GCE_STOCKOUT]: Instance 'gke-demo-l4-abc' creation "
        f"failed: {ZONE}.  '(resource type:compute)'.",
        f"googleapi: Error 429: {ZONE}.  Try a different zone, or try again later.",
        f"googleapi: Error 503: {ZONE}.  Try a different zone, or try again later., backendError",
        "code: ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS, reason: resource_availability",
        "A a3-highgpu-8g VM instance with 8 nvidia-h100-80gb accelerator(s) is currently unavailable in the "
        "us-central1-a zone. Consider trying your request in the us-central1-b zone(s)",
        "Node scale up in zones us-central1-c associated with this pod failed: GCE out of resources.",
    ],
    "disk-quota": [
        'googleapi: Error 403: Insufficient regional quota to satisfy request: resource "SSD_TOTAL_GB": request '
        "requires '600.0' and is short '100.0'. project has a quota of '500.0' with '500.0' available., forbidden",
        "Quota 'SSD_TOTAL_GB' exceeded.  Limit: 500.0 in region us-central1.",
        "Quota 'DISKS_TOTAL_GB' exceeded.  Limit: 4096.0 in region us-central1.",
        "Quota 'LOCAL_SSD_TOTAL_GB_PER_VM_FAMILY' exceeded. Limit: 0.0 in region us-central1.",
        "Quota 'HDB_TOTAL_GB' exceeded. Limit: 1000.0 in region us-central1.",
    ],
    "quota": [
        "error creating NodePool: googleapi: Error 403: \n\t(1) insufficient regional quota to satisfy request: "
        "resource \"CPUS\": request requires '72.0' and is short '48.0'. project has a quota of '24.0'",
        'googleapi: Error 403: Insufficient regional quota to satisfy request: resource "NVIDIA_L4_GPUS": request '
        "requires '2.0' and is short '1.0'. project has a quota of '1.0' with '1.0' available., forbidden",
        "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.",
        'Error 403: Insufficient project quota to satisfy request: resource "CPUS_ALL_REGIONS"',
        "Code: QUOTA_EXCEEDED\nMessage: Quota 'N2_CPUS' exceeded.",
    ],
    "rate": [
        "googleapi: Error 429: Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute' "
        "of service 'container.googleapis.com' for consumer 'project_number:123'.",
        "reason: RATE_LIMIT_EXCEEDED",
        "googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded",
    ],
    "api-off": [
        "googleapi: Error 403: Kubernetes Engine API has not been used in project 123 before or it is disabled. Enable "
        "it by visiting https://console.developers.google.com/apis/api/container.googleapis.com/overview?project=123 "
        "then retry. If you enabled this API recently, wait a few minutes for the action to propagate, "
        "accessNotConfigured",
        "Failed to list enabled services for project demo: googleapi: Error 403: Service Usage API has not been used "
        "in project 123 before or it is disabled. Enable it by visiting "
        "https://console.developers.google.com/apis/api/serviceusage.googleapis.com/overview?project=123 then retry.",
        '"reason": "SERVICE_DISABLED", "service": "iam.googleapis.com"',
        "Error loading zone 'us-central1-a': googleapi: Error 403: ..., accessNotConfigured",
        "Cloud Resource Manager API has not been used in project demo before or it is disabled. Enable it by visiting "
        "https://console.cloud.google.com/apis/api/cloudresourcemanager.googleapis.com/overview?project=demo",
    ],
    "act-as": [
        'googleapi: Error 400: The user does not have access to service account "demo-l4@demo.iam.gserviceaccount.com".'
        " Ask a project owner to grant you the iam.serviceAccountUser role on the service account., badRequest",
        "Permission 'iam.serviceAccounts.actAs' denied on service account demo-l4@demo.iam.gserviceaccount.com",
        "caller does not have permission to act as service account: iam.serviceAccounts.actAs",
    ],
    "permission": [
        'googleapi: Error 403: Required "container.clusters.create" permission(s) for "projects/demo"., forbidden',
        "googleapi: Error 403: Permission 'artifactregistry.repositories.create' denied on resource "
        "'//artifactregistry.googleapis.com/projects/demo/locations/us-central1' (or it may not exist).",
        'Error retrieving IAM policy for project "demo": googleapi: Error 403: The caller does not have permission, '
        "forbidden",
        "googleapi: Error 403: Google Compute Engine: Required 'compute.networks.get' permission for "
        "'projects/demo/global/networks/shared'",
        "googleapi: Error 403: Policy update access denied., forbidden",
        "deploy@demo.iam.gserviceaccount.com does not have storage.buckets.get access to the Cloud Storage bucket",
    ],
    "no-credentials": [
        "google: could not find default credentials. See "
        "https://cloud.google.com/docs/authentication/external/set-up-adc for more information",
        'oauth2: "invalid_grant" "reauth related error (invalid_rapt)"',
        "Reauthentication is needed. Please run `gcloud auth application-default login` to reauthenticate.",
    ],
    "org-external-ip": [
        "Current errors: [CONDITION_NOT_MET]: Instance 'gke-demo-default-pool-5c2e367b-clkx' creation failed: "
        "Constraint constraints/compute.vmExternalIpAccess violated for project 123. Add instance "
        "projects/demo/zones/us-central1-f/instances/gke-demo to the constraint to use external IP with it",
        "googleapi: Error 412: Constraint constraints/compute.vmExternalIpAccess violated for project demo., "
        "conditionNotMet",
        "type: constraints/compute.managed.vmExternalIpAccess",
    ],
    "org-shielded-vm": [
        "[CONDITION_NOT_MET]: Instance 'gke-demo-l4' creation failed: Constraint constraints/compute.requireShieldedVm "
        f"violated for project projects/demo. Secure Boot is not enabled in the 'shielded_instance_config' field. See "
        f"{HERE}",
        "googleapi: Error 412: Constraint constraints/compute.requireShieldedVm violated for project projects/demo.",
    ],
    "org-keys": [
        "FAILED_PRECONDITION: Key creation is not allowed on this service account.",
        "type: constraints/iam.disableServiceAccountKeyCreation",
        "type: constraints/iam.managed.disableServiceAccountKeyCreation",
        "Constraint `constraints/iam.disableServiceAccountKeyUpload` violated for service account demo",
    ],
    "org-accounts": [
        "FAILED_PRECONDITION: Service account creation is not allowed on this project.",
        "googleapi: Error 400: Constraint constraints/iam.disableServiceAccountCreation violated",
    ],
    "org-cmek": [
        "googleapi: Error 400: Constraint constraints/gcp.restrictNonCmekServices violated for projects/demo "
        "attempting to create or modify a resource without specifying a KMS CryptoKey.",
        "Constraint 'constraints/gcp.restrictCmekCryptoKeyProjects' violated",
    ],
    "org-location": [
        "googleapi: Error 412: 'us-central1' violates constraint 'constraints/gcp.resourceLocations' on the resource "
        "'projects/demo/locations/us-central1/repositories/models'.",
        "Location us-central1 violates constraint constraints/gcp.resourceLocations on the resource projects/demo.",
    ],
    "org-members": [
        "Error applying IAM policy: googleapi: Error 412: One or more users named in the policy do not belong to a "
        "permitted customer, perhaps due to an organization policy., failedPrecondition",
        "constraints/iam.allowedPolicyMemberDomains",
    ],
    "org-nat": [
        "googleapi: Error 412: Constraint constraints/compute.restrictCloudNATUsage violated for projects/demo.",
    ],
    "no-accelerator-there": [
        'googleapi: Error 400: Accelerator type "nvidia-l4" does not exist in zone us-central1-f., badRequest',
        'Machine type "g2-standard-8" does not exist in zone europe-west9-a.',
        "The resource 'projects/demo/zones/us-east4-b/acceleratorTypes/nvidia-b200' was not found",
    ],
    "pool-in-error": [
        'sdk.helper_schema: NodePool l4-cff28a was created in the error state "ERROR": provider=google-beta@10.2.0',
        'creating urn: 1 error occurred:\n\t* NodePool l4-7b86c9 was created in the error state "ERROR"',
        'NodePool system-0b0d11 was created in the error state "RUNNING_WITH_ERROR"',
        'Cluster demo was created in the error state "ERROR"',
    ],
    "account-late": [
        "Error applying IAM policy for project: googleapi: Error 400: Service account l4@demo.iam.gserviceaccount.com "
        "does not exist., badRequest",
        "googleapi: Error 404: Unknown service account, notFound",
    ],
    "policy-race": [
        "googleapi: Error 409: There were concurrent policy changes. Please retry the whole read-modify-write with "
        "exponential backoff. The request's ETag 'BwX1' did not match the current policy's ETag 'BwX2'., aborted",
    ],
    "unavailable": [
        "googleapi: Error 503: The service is currently unavailable., backendError",
        "Error waiting for Creating Network: An internal error has occurred (0123456789).",
    ],
    "exists": [
        "googleapi: Error 409: Already exists: projects/demo/locations/us-central1/clusters/demo., alreadyExists",
        "googleapi: Error 409: the repository already exists.",
        "googleapi: Error 409: The resource 'projects/demo/global/networks/demo' already exists, alreadyExists",
        "googleapi: Error 409: Service account demo-l4 already exists within project projects/demo., alreadyExists",
    ],
    "owned-twice": [
        'resource "urn:pulumi:b::p::kubernetes:core/v1:Namespace::models" was not successfully created by the '
        'Kubernetes API server: namespaces "models" already exists\n\nThe resource already exists in the cluster. '
        "This can happen when:\n\n  - Renaming a Pulumi resource: use an alias to preserve the identity,",
        'gateways.gateway.networking.k8s.io "kserve-ingress-gateway" already exists\n\nThe resource already exists in '
        "the cluster. This can happen when:",
        # Helm 3.19, of a second stack's release: in the same namespace, and in another.
        "kubernetes:helm.sh/v3:Release (kserve-resources): error: cannot re-use a name that is still in use",
        'Unable to continue with install: CustomResourceDefinition "models.kubeai.org" in namespace "" exists and '
        "cannot be imported into the current release: invalid ownership metadata; annotation validation error: key "
        '"meta.helm.sh/release-namespace" must equal "theirs": current value is "ours"',
    ],
    "protected": [
        "Cannot destroy cluster because deletion_protection is set to true. Set it to false to proceed with instance "
        "deletion.",
        'unable to replace resource "urn:pulumi:dev::p::gcp:artifactregistry/repository:Repository::models" as part of '
        "replacing it as it is currently marked for protection.",
    ],
    "cluster-unreachable": [
        "Preview failed: failed to read resource state due to unreachable cluster. If the cluster was deleted, you can "
        "remove this resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE "
        'environment variable set to "true"',
        "configured Kubernetes cluster is unreachable: unable to load schema information from the API server",
    ],
}


def test_every_kind_has_wordings_that_were_seen() -> None:
    assert SAID.keys() == refusals.RULES.keys()


@pytest.mark.parametrize(("code", "message"), [(code, text) for code, texts in SAID.items() for text in texts])
def test_a_refusal_is_told_as_the_one_kind_that_it_is(code: str, message: str) -> None:
    (told,) = remedies([Refused(message, POOL)])

    fixed = re.split(r"\{\w+\}", refusals.RULES[code][1])
    assert all(part in told for part in fixed), told
    assert told.startswith("l4: ")
    assert not re.search(r"\{\w+\}", told)


def test_the_setting_is_the_pools_and_an_api_a_permission_and_a_quota_are_named() -> None:
    stockout, api, permission = (SAID[code][0] for code in ("stockout", "api-off", "permission"))

    assert "add zones to nodePools.l4.zones" in remedies([Refused(stockout, POOL)])[0]
    assert "add zones to nodePools.NAME.zones" in remedies([Refused(stockout, POOL.replace("l4", "cluster-system"))])[0]
    assert "`gcloud services enable container.googleapis.com --project 123`" in remedies([Refused(api)])[0]
    assert "lacks the permission container.clusters.create:" in remedies([Refused(permission)])[0]
    assert (
        "node-pools describe l4-7b86c9 "
        in remedies([Refused('NodePool l4-7b86c9 was created in the error state "ERROR"')])[0]
    )
    assert "quota SSD_TOTAL_GB is used up" in remedies([Refused(SAID["disk-quota"][0])])[0]


def test_a_policy_of_no_kind_of_its_own_is_named() -> None:
    said = "googleapi: Error 412: Constraint constraints/compute.vmCanIpForward violated for projects/demo."

    assert "an organization policy (constraints/compute.vmCanIpForward) forbids it" in remedies([Refused(said)])[0]


def test_what_befell_several_resources_is_told_once_and_each_kind_for_itself() -> None:
    quota = SAID["quota"][2]
    both = f"{SAID['org-shielded-vm'][1]} {SAID['org-external-ip'][1]}"

    told = remedies([Refused(quota, "urn::gcp:a::a"), Refused(quota, "urn::gcp:a::b"), Refused(both, POOL)])

    assert [line.partition(":")[0] for line in told] == ["a, b", "l4", "l4"]


@pytest.mark.parametrize(
    "message",
    [
        "update failed",
        "a model's image is not in the registry",
        "Resource operation failed: 3 resources exist in the namespace models",
        "the cluster's version 1.34 has ImageVolume off",
    ],
)
def test_what_is_no_refusal_of_googles_gets_no_remedy_of_ours(message: str) -> None:
    assert remedies([Refused(message)]) == []


def test_the_table_of_the_docs_is_the_table_of_the_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "gke.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## When Google refuses")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|$", section.partition("\n## ")[0], re.MULTILINE))

    assert rows == {code: refusals.shown(code) for code in refusals.RULES}
