"""How Google's APIs fail, by switch.

The texts are Google's own. Sources: the error references of Compute Engine ("Troubleshooting resource availability
errors", "Allocation quotas"), of GKE ("Troubleshoot cluster creation", `StatusCondition.code` of its discovery
document), of Service Usage (`google.rpc.ErrorInfo`, reason SERVICE_DISABLED) and of IAM ("Policies", on etags).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.google.errors import GoogleError

PROJECT_NUMBER = "123456789012"


@dataclass
class Faults:
    """What goes wrong. The server looks at it at each request, so that a test may mend things between two."""

    stockout_zones: set[str] = field(default_factory=set)
    """Zones without GPUs: a node pool that needs a node with some there now fails, after it was made."""
    quotas: dict[str, float] = field(default_factory=dict)
    """What a region has left, by Compute Engine's metric: `NVIDIA_L4_GPUS`, `SSD_TOTAL_GB` (disks), `CPUS`."""
    apis_off: set[str] = field(default_factory=set)
    """Services (`container`) that are disabled, until they are enabled."""
    iam_races: int = 0
    """How many of the next `setIamPolicy` come after another writer's, which they have not seen."""
    account_seconds: float = 0
    """How long IAM and policies do not know a new service account."""
    operation_seconds: float = 0
    """How long operations run. Without it they are done when they are first answered."""
    slow: dict[str, float] = field(default_factory=dict)
    """The same for the operations of a method, by its id."""
    failing: dict[str, GoogleError] = field(default_factory=dict)
    """Operations that end with an error, by the id of the method that starts them."""
    refusing: dict[str, list[GoogleError]] = field(default_factory=dict)
    """What the next calls of a method are refused with, by its id; `*` stands for every method."""
    page_size: int = 1000
    """How many objects of a bucket are listed at once."""
    unasked_blocks: bool = False
    """GKE reports blocks of node pools that were not asked for."""

    def refusal(self, method: str) -> GoogleError | None:
        """Take the refusal that is due for a method."""
        for key in (method, "*"):
            if self.refusing.get(key):
                return self.refusing[key].pop(0)
        return None


def busy(retry_after: int = 1) -> GoogleError:
    """A service that has no time (503)."""
    text = "The service is currently unavailable."
    return GoogleError(503, text, headers={"Retry-After": str(retry_after)})


def too_many(method: str = "Read requests", service: str = "artifactregistry", retry_after: int = 1) -> GoogleError:
    """A rate limit (429)."""
    text = (
        f"Quota exceeded for quota metric '{method}' and limit '{method} per minute' of service "
        f"'{service}.googleapis.com' for consumer 'project_number:{PROJECT_NUMBER}'."
    )
    return GoogleError(429, text, headers={"Retry-After": str(retry_after)}, reason="rateLimitExceeded")


def api_off(title: str, service: str, project: str) -> GoogleError:
    """A service that is not enabled in the project, with the address where it is."""
    address = f"https://console.developers.google.com/apis/api/{service}.googleapis.com/overview?project={project}"
    text = (
        f"{title} has not been used in project {project} before or it is disabled. Enable it by visiting {address} "
        "then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems "
        "and retry."
    )
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {
            "service": f"{service}.googleapis.com",
            "consumer": f"projects/{project}",
            "serviceTitle": title,
            "containerInfo": project,
            "activationUrl": address,
        },
    }
    links = [{"description": "Google developers console API activation", "url": address}]
    help_ = {"@type": "type.googleapis.com/google.rpc.Help", "links": links}
    return GoogleError(403, text, details=[info, help_], reason="accessNotConfigured")


def denied(permission: str, resource: str) -> GoogleError:
    """A permission that the caller does not have."""
    text = f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": "iam.googleapis.com",
        "metadata": {"permission": permission, "resource": resource},
    }
    return GoogleError(403, text, details=[info])


def org_policy(constraint: str, project: str, reason: str) -> GoogleError:
    """An organisation's constraint (`constraints/compute.vmExternalIpAccess`) that the request breaks."""
    text = f"Constraint {constraint} violated for project {project}. {reason}"
    violation = {"type": constraint, "subject": f"projects/{project}", "description": reason}
    failure = {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}
    return GoogleError(412, text, details=[failure], reason="conditionNotMet")


def stockout(project: str, zone: str) -> GoogleError:
    """A zone without the machines that were asked for."""
    text = (
        f"The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the request. "
        "Try a different zone, or try again later."
    )
    return GoogleError(429, text, reason="ZONE_RESOURCE_POOL_EXHAUSTED")


def quota(metric: str, asked: float, left: float, project: str) -> GoogleError:
    """A regional quota that the request goes beyond, as GKE says it before it makes anything."""
    text = (
        f"Insufficient regional quota to satisfy request: resource \"{metric}\": request requires '{asked:.1f}' and is "
        f"short '{asked - left:.1f}'. project has a quota of '{left:.1f}' with '{left:.1f}' available. View and manage "
        f"quotas at https://console.cloud.google.com/iam-admin/quotas?usage=USED&project={project}."
    )
    return GoogleError(403, text)


def in_use(kind: str, name: str, by: str) -> GoogleError:
    """A resource of Compute Engine that another one needs."""
    text = f"The {kind} resource '{name}' is already being used by '{by}'"
    return GoogleError(400, text, reason="resourceInUseByAnotherResource")
