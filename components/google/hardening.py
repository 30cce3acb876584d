"""What hardens a created cluster beyond its network and identity, as the CIS GKE Benchmark numbers it.

Every argument here updates a cluster in place (terraform-provider-google 7.45.0: none has ForceNew but
`client_certificate_config`, which is told to new clusters only and ignored of those that exist). `intranode_visibility`
has GKE recreate the nodes, in the maintenance window and by each pool's upgrade strategy (GKE, "Manage cluster
lifecycle changes to minimize disruption").
"""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from typing import Any

from components.google import image_volume
from components.google import sdk as gcp
from components.settings.google import ClusterCreate
from components.settings.hardening import ConfidentialType

_LIMITED_FROM = (1, 33)
"""GKE restricts anonymous requests to health checks from 1.32.2 (GKE, "Restrict anonymous access"): a minor that all of
has it."""
_CONTROL_PLANE = ("APISERVER", "SCHEDULER", "CONTROLLER_MANAGER")


def arguments(create: ClusterCreate) -> dict[str, Any]:
    """The cluster's arguments, by CIS GKE 1.6 recommendation."""
    asked = create.hardening
    domain = asked.rbac_groups_domain
    found: dict[str, Any] = {
        # 5.8.1, 5.8.2: neither password, which the API no longer knows, nor client certificate.
        "master_auth": {"client_certificate_config": {"issue_client_certificate": False}},
        # 5.6.1: what VPC flow logs see, where they are kept (newNetwork.flowLogs).
        "enable_intranode_visibility": asked.intranode_visibility,
        # 5.10.4. Without the vulnerability scan, whose answer GKE spells otherwise than it is asked for.
        "security_posture_config": {"mode": asked.security_posture},
        # 5.8.3, 5.10.5.
        "authenticator_groups_config": {"security_group": f"gke-security-groups@{domain}"} if domain else None,
        "binary_authorization": {"evaluation_mode": "PROJECT_SINGLETON_POLICY_ENFORCE"}
        if asked.binary_authorization
        else None,
        # 4.1.8 to 4.1.10: nothing is bound to everybody.
        "rbac_binding_config": {
            "enable_insecure_binding_system_authenticated": asked.anonymous_access,
            "enable_insecure_binding_system_unauthenticated": asked.anonymous_access,
        },
    }
    if image_volume.numbers(create.version)[:2] >= _LIMITED_FROM:
        found["anonymous_authentication_config"] = {"mode": "ENABLED" if asked.anonymous_access else "LIMITED"}
    return found


def logs(create: ClusterCreate) -> tuple[str, ...]:
    """The components that log beside the system and the workloads."""
    return _CONTROL_PLANE if create.hardening.control_plane_logs else ()


def apis(create: ClusterCreate) -> tuple[str, ...]:
    """The Google APIs that it needs, without `.googleapis.com`."""
    return ("binaryauthorization",) if create.hardening.binary_authorization else ()


def confidential(kind: ConfidentialType | None) -> gcp.container.NodePoolNodeConfigConfidentialNodesArgsDict | None:
    """Confidential GKE Nodes of a kind; None leaves the pool's input as it was."""
    return {"enabled": True, "confidential_instance_type": kind} if kind else None
