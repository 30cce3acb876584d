"""Each way in which Google fails, as an update's closing lines tell it: one line, and what to do.

The messages are those of the loopback API, in the form that the provider gives them (`googleapi: Error …`).
"""

from __future__ import annotations

import httpx
import pytest

from components.google.refusals import RULES, Refused, remedies
from tests.google import faults
from tests.google.asking import ACCOUNTS, CLUSTERS, L4, PROJECT_POLICY, ask, cluster, pool, post
from tests.google.endpoints import Loopback
from tests.google.errors import GoogleError

POOL = "urn:pulumi:dev::p::oci-model-serving:index:GpuNodePool$gcp:container/nodePool:NodePool::l4"
CREATE_POOL = "container.projects.locations.clusters.nodePools.create"


def passed_on(response: httpx.Response) -> str:
    """What the provider says of a refusal, or of an operation that has failed."""
    if response.status_code == 200:
        return f"Error waiting for creating GKE NodePool: {response.json()['statusMessage']}"
    error = response.json()["error"]
    return f"googleapi: Error {error['code']}: {error['message']}, {error['errors'][0]['reason']}"


def asked_for_a_pool(google: Loopback) -> str:
    cluster(google)
    return passed_on(pool(google, config={**L4, "bootDisk": {"sizeGb": "400"}}, locations=["us-central1-a"]))


def no_capacity(google: Loopback) -> str:
    google.faults.stockout_zones = {"us-central1-a"}
    return asked_for_a_pool(google)


def no_gpus_left(google: Loopback) -> str:
    google.faults.quotas = {"NVIDIA_L4_GPUS": 0}
    return asked_for_a_pool(google)


def no_disk_left(google: Loopback) -> str:
    google.faults.quotas = {"SSD_TOTAL_GB": 300}  # what the cluster itself needs
    return asked_for_a_pool(google)


def a_broken_operation(google: Loopback) -> str:
    google.faults.failing = {CREATE_POOL: GoogleError(500, "An internal error has occurred.")}
    return asked_for_a_pool(google)


def an_api_that_is_off(google: Loopback) -> str:
    google.faults.apis_off = {"container"}
    return passed_on(ask(google, "GET", CLUSTERS))


def a_lost_race(google: Loopback) -> str:
    policy = post(google, f"{PROJECT_POLICY}:getIamPolicy", {})
    google.faults.iam_races = 1
    return passed_on(ask(google, "POST", f"{PROJECT_POLICY}:setIamPolicy", {"policy": policy}))


def a_late_account(google: Loopback) -> str:
    google.faults.account_seconds = 60
    email = post(google, ACCOUNTS, {"accountId": "nodes1"})["email"]
    policy = {"bindings": [{"role": "roles/viewer", "members": [f"serviceAccount:{email}"]}]}
    return passed_on(ask(google, "POST", f"{PROJECT_POLICY}:setIamPolicy", {"policy": policy}))


def something_of_that_name(google: Loopback) -> str:
    cluster(google)
    return passed_on(ask(google, "POST", CLUSTERS, {"cluster": {"name": "demo"}}))


STATES = [
    (no_capacity, "stockout"),
    (no_gpus_left, "quota"),
    (no_disk_left, "disk-quota"),
    (a_broken_operation, "unavailable"),
    (an_api_that_is_off, "api-off"),
    (a_lost_race, "policy-race"),
    (a_late_account, "account-late"),
    (something_of_that_name, "exists"),
]
REFUSALS = [
    (faults.busy(), "unavailable"),
    (faults.too_many("Write requests", "container"), "rate"),
    (faults.denied("container.clusters.create", "projects/demo"), "permission"),
    (faults.org_policy("constraints/compute.vmExternalIpAccess", "demo", "No."), "org-external-ip"),
    (faults.org_policy("constraints/compute.requireShieldedVm", "demo", "No."), "org-shielded-vm"),
    (faults.org_policy("constraints/gcp.restrictNonCmekServices", "demo", "No."), "org-cmek"),
]


def check(message: str, code: str) -> None:
    (line,) = remedies([Refused(message, POOL)])
    assert line.startswith("l4: ")
    assert "\n" not in line
    # What the remedy says between the words that it fills in.
    fixed = RULES[code][1].replace("}", "{").split("{")[::2]
    assert all(part in line for part in fixed)


@pytest.mark.parametrize(("failing", "code"), STATES, ids=[code for _, code in STATES])
def test_a_failure_is_told_in_one_line_with_what_to_do(google: Loopback, failing: object, code: str) -> None:
    assert callable(failing)
    check(failing(google), code)
    assert google.violations == []


@pytest.mark.parametrize(("refusal", "code"), REFUSALS, ids=[code for _, code in REFUSALS])
def test_a_refusal_is_told_in_one_line_with_what_to_do(google: Loopback, refusal: GoogleError, code: str) -> None:
    google.faults.refusing = {"container.projects.locations.clusters.create": [refusal]}
    check(passed_on(ask(google, "POST", CLUSTERS, {"cluster": {"name": "demo"}})), code)


def test_what_the_provider_makes_of_a_pool_in_error_is_told_too() -> None:
    """Its own words, seen in `test_provider.py`: GKE's do not come through."""
    check('NodePool l4-cff28a was created in the error state "ERROR"', "pool-in-error")
