"""Asks the loopback API as any client does, and reads its answers."""

from __future__ import annotations

from typing import Any

import httpx

from tests.google.endpoints import Loopback

JSON = dict[str, Any]
REGION = "projects/demo/locations/us-central1"
REPOSITORIES = f"artifactregistry/v1/{REGION}/repositories"
CLUSTERS = f"container/v1/{REGION}/clusters"
NETWORKS = "compute/compute/v1/projects/demo/global/networks"
SUBNETWORKS = "compute/compute/v1/projects/demo/regions/us-central1/subnetworks"
ACCOUNTS = "iam/v1/projects/demo/serviceAccounts"
PROJECT_POLICY = "cloudresourcemanager/v1/projects/demo"
L4 = {"accelerators": [{"acceleratorType": "nvidia-l4", "acceleratorCount": "1"}]}


def ask(google: Loopback, verb: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    said = {"Authorization": "Bearer token", **headers}
    return httpx.request(verb, f"{google.url}/{path}", json=body, headers=said)


def get(google: Loopback, path: str) -> JSON:
    response = ask(google, "GET", path)
    assert response.status_code == 200, response.text
    return dict(response.json())


def post(google: Loopback, path: str, body: JSON) -> JSON:
    response = ask(google, "POST", path, body)
    assert response.status_code == 200, response.text
    return dict(response.json())


def told(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    error = response.json()["error"]
    assert error["code"] == response.status_code
    return response.status_code, error["status"], error["message"]


def cluster(google: Loopback, **more: Any) -> JSON:
    return post(google, CLUSTERS, {"cluster": {"name": "demo", "initialNodeCount": 1, **more}})


def pool(google: Loopback, **more: Any) -> httpx.Response:
    body = {"nodePool": {"name": "l4", "initialNodeCount": 1, **more}}
    return ask(google, "POST", f"{CLUSTERS}/demo/nodePools", body)


def stopped(google: Loopback) -> list[float]:
    """Stop the server's clock; its time is the list's entry."""
    now = [0.0]
    google.state.clock = lambda: now[0]
    return now
