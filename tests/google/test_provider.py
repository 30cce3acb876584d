"""Google's real provider against the loopback API: the program's Google side, through the real engine.

Needs the engine and the provider `gcp` on PATH. The program is the project's own components, run inline by the
Automation API, so that no language host is needed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pulumi import automation

from tests.engine.ground import ENGINE, install
from tests.engine.provider.switches import FOLDER
from tests.google import faults, real
from tests.google.endpoints import Loopback

ROOT = Path(__file__).parents[2]

pytestmark = real.REAL


def program() -> None:
    """Cluster, node pools and registry, as `__main__.py` makes them; nothing that goes into the cluster."""
    from components.google.cluster import Cluster
    from components.google.given_nodes import nodes
    from components.google.registry import ModelRegistry
    from components.settings.reader import load

    settings = load()
    cluster = Cluster("cluster", settings.cluster)
    pools = {key: nodes(key, pool, cluster) for key, pool in settings.node_pools.items()}
    accounts = {key: pool.service_account for key, pool in pools.items()}
    ModelRegistry("models", settings.registry, {**accounts, **cluster.readers})


class Deployed:
    """The Google side of the committed `dev` stack, with changes."""

    def __init__(self, folder: Path, google: Loopback) -> None:
        config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
        self.config: dict[str, Any] = {**config, "oci-model-serving:models": {}, "oci-model-serving:platforms": {}}
        # No object goes into the cluster: its provider is the tests' own.
        (folder / "bin").mkdir()
        install(folder / "bin", "kubernetes")
        environment = {
            **google.environment,
            FOLDER: str(folder),
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "loopback",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        (folder / "state").mkdir()
        self.stack = automation.create_or_select_stack(
            stack_name="dev",
            project_name="oci-model-serving",
            program=program,
            opts=automation.LocalWorkspaceOptions(
                env_vars=environment,
                project_settings=automation.ProjectSettings(
                    name="oci-model-serving",
                    runtime="python",
                    backend=automation.ProjectBackend(url=(folder / "state").as_uri()),
                ),
            ),
        )
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the settings, some of them changed."""
        settings = {f"oci-model-serving:{key}": value for key, value in changes.items()}
        for key, value in {**self.config, **settings}.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self.stack.set_config(key, automation.ConfigValue(text))

    def up(self) -> Counter[str]:
        """Apply, and count what was done."""
        return Counter(self.stack.up().summary.resource_changes)


@pytest.fixture
def dev(tmp_path: Path, google: Loopback, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    # The Automation API looks for the CLI on its own PATH, the engine for providers on that of the stack.
    monkeypatch.setenv("PATH", str(ENGINE), prepend=os.pathsep)
    return Deployed(tmp_path, google)


CREATE = {"name": "demo", "channel": "REGULAR", "version": "1.35"}
UNPROTECTED = {"create": {**CREATE, "deletionProtection": False}}


def refused(dev: Deployed) -> str:
    with pytest.raises(automation.CommandError) as failed:
        dev.stack.up()
    return str(failed.value)


def test_what_was_made_is_unchanged_until_it_is_destroyed_and_a_protected_cluster_is_not(
    dev: Deployed, google: Loopback
) -> None:
    first = dev.up()
    assert first["create"] > 20
    assert dev.up() == {"same": first["create"]}
    assert Counter(dev.stack.refresh().summary.resource_changes) == {"same": first["create"]}

    with pytest.raises(automation.CommandError, match="Cannot destroy cluster because deletion_protection is set"):
        dev.stack.destroy()
    assert [name for name in google.named("container") if name.endswith("clusters/demo")]

    dev.configure(cluster=UNPROTECTED)
    dev.up()
    dev.stack.destroy()
    assert {service for service, _ in google.state.resources} == {"serviceusage"}  # APIs stay enabled on purpose
    assert google.violations == []


def test_races_of_policies_a_late_account_and_a_moment_without_time_do_not_stop_an_update(
    dev: Deployed, google: Loopback
) -> None:
    google.faults.iam_races = 2
    google.faults.account_seconds = 3
    google.faults.refusing = {
        "container.projects.locations.clusters.get": [faults.busy(), faults.busy()],
        "compute.networks.get": [faults.too_many("Read requests", "compute")],
    }
    dev.up()
    members = [one["members"] for one in google.state.policies["cloudresourcemanager", "projects/demo"]["bindings"]]
    assert ["user:another-writer@example.com"] in members
    assert google.violations == []


def test_a_pool_without_gpus_in_its_zone_is_in_error_and_comes_where_there_are_some(
    dev: Deployed, google: Loopback
) -> None:
    google.faults.stockout_zones = {"us-central1-a"}
    pools = dev.config["oci-model-serving:nodePools"]
    dev.configure(nodePools={"l4": {**pools["l4"], "minNodes": 1}})
    # The provider keeps GKE's own words (the stock-out) to itself: they are in the pool's status.
    assert 'was created in the error state "ERROR"' in refused(dev)
    (pool,) = [pool for name, pool in google.named("container").items() if "/nodePools/l4" in name]
    assert "does not have enough resources available to fulfill the request" in pool["statusMessage"]

    dev.configure(nodePools={"l4": {**pools["l4"], "minNodes": 1, "zones": ["us-central1-b"]}})
    dev.up()
    assert {pool["status"] for name, pool in google.named("container").items() if "/nodePools/" in name} == {"RUNNING"}
    assert google.violations == []


def test_an_existing_cluster_is_adopted_as_google_reports_it(dev: Deployed, google: Loopback) -> None:
    body = {
        "cluster": {
            "name": "shared",
            "initialNodeCount": 1,
            "network": "default",
            "workloadIdentityConfig": {"workloadPool": "demo.svc.id.goog"},
            "networkConfig": {"datapathProvider": "ADVANCED_DATAPATH"},
        }
    }
    clusters = f"{google.address('container')}/v1/projects/demo/locations/us-central1/clusters"
    httpx.post(clusters, json=body, headers={"Authorization": "Bearer token"}).raise_for_status()
    before = dict(google.named("container"))

    dev.configure(cluster={"name": "shared", "location": "us-central1"})
    first = dev.up()
    assert dev.up() == {"same": first["create"]}
    assert {name: one for name, one in google.named("container").items() if name in before} == before
    (pool,) = google.named("container").keys() - before.keys()
    assert "/clusters/shared/nodePools/l4-" in pool
    assert google.violations == []


def test_a_pool_of_an_existing_cluster_is_taken_as_google_reports_it_or_refused(
    dev: Deployed, google: Loopback
) -> None:
    body = {
        "cluster": {
            "name": "shared",
            "network": "default",
            "workloadIdentityConfig": {"workloadPool": "demo.svc.id.goog"},
            "nodePools": [
                {
                    "name": "gpu",
                    "initialNodeCount": 1,
                    "config": {
                        "machineType": "g2-standard-8",
                        "diskSizeGb": 300,
                        "serviceAccount": "nodes@demo.iam.gserviceaccount.com",
                        "accelerators": [{"acceleratorType": "nvidia-l4", "acceleratorCount": "1"}],
                        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
                    },
                    "autoscaling": {"enabled": True, "totalMaxNodeCount": 2},
                }
            ],
        }
    }
    clusters = f"{google.address('container')}/v1/projects/demo/locations/us-central1/clusters"
    httpx.post(clusters, json=body, headers={"Authorization": "Bearer token"}).raise_for_status()
    before = dict(google.named("container"))
    pool = {"accelerator": "nvidia-l4", "existing": "gpu"}
    dev.configure(cluster={"name": "shared", "location": "us-central1"}, nodePools={"l4": {**pool, "maxNodes": 5}})
    with pytest.raises(automation.CommandError, match=r"nodePools\.l4\.maxNodes: pool gpu has 2 nodes at most"):
        dev.up()

    dev.configure(nodePools={"l4": pool})
    first = dev.up()
    assert dev.up() == {"same": first["create"]}
    assert dict(google.named("container")) == before
    policies = google.state.policies.values()
    members = [binding["members"] for policy in policies for binding in policy.get("bindings", [])]
    assert ["serviceAccount:nodes@demo.iam.gserviceaccount.com"] in members
    assert google.violations == []


def test_blocks_that_gke_reports_without_being_asked_for_them_replace_nothing(dev: Deployed, google: Loopback) -> None:
    google.faults.unasked_blocks = True
    first = dev.up()
    dev.stack.refresh()
    assert dev.up() == {"same": first["create"]}
    assert google.violations == []
