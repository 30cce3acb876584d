"""Operations, in the three forms that Google has: Compute Engine's, GKE's and `google.longrunning`'s (AIP-151)."""

from __future__ import annotations

import copy
from collections.abc import Callable

from tests.google.errors import JSON, GoogleError, not_found
from tests.google.state import Call, Operation, State, timestamp

_PROTOCOL_NAMES = {
    "artifactregistry": "google.devtools.artifactregistry",
    "certificatemanager": "google.cloud.certificatemanager",
    "serviceusage": "google.api.serviceusage",
    "cloudresourcemanager": "google.cloud.resourcemanager",
    "cloudbuild": "google.devtools.cloudbuild",
}


def answered(
    state: State,
    call: Call,
    target: str,
    finish: Callable[[], JSON],
    failed: Callable[[GoogleError], object] = lambda _error: None,
) -> JSON:
    """What a method that changes something answers: an operation where it has one, else its result."""
    if call.method.response != "Operation":
        return copy.deepcopy(finish())
    return shown(state.start(call, _name(state, call), target, finish, failed))


def shown(operation: Operation) -> JSON:
    """An operation in the form of its service."""
    form = {"compute": _compute, "container": _container}.get(operation.call.method.service, _longrunning)
    return form(operation)


def get(state: State, call: Call) -> JSON:
    """Answer a service's `operations.get`, and Compute Engine's `wait`."""
    operation = state.operations.get(call.name)
    if operation is None:
        raise not_found(f"Operation '{call.name}' was not found")
    return shown(operation)


def _name(state: State, call: Call) -> str:
    number = f"operation-1700000000000-{state.number():08x}"
    parts = call.name.split("/")
    if call.method.service == "compute":
        place = parts[:3] if parts[2] == "global" else parts[:4]
        return "/".join([*place, "operations", number])
    if "locations" in parts:
        return "/".join([*parts[:4], "operations", number])
    return f"operations/{number}"


def _longrunning(operation: Operation) -> JSON:
    method = operation.call.method
    package = f"{_PROTOCOL_NAMES.get(method.service, method.service)}.{method.version}"
    verb = method.action[:1].upper() + method.action[1:]
    answer: JSON = {
        "name": operation.name,
        "metadata": {"@type": f"type.googleapis.com/{package}.OperationMetadata", "verb": verb},
    }
    if not operation.done:
        return answer
    answer["done"] = True
    if operation.error is not None:
        return {**answer, "error": operation.error.rpc()}
    kind = f"{package}.{method.request}" if operation.result else "google.protobuf.Empty"
    return {**answer, "response": {"@type": f"type.googleapis.com/{kind}", **copy.deepcopy(operation.result)}}


def _compute(operation: Operation) -> JSON:
    version = operation.call.method.version
    base = f"https://www.googleapis.com/compute/{version}"
    now = timestamp()
    answer: JSON = {
        "kind": "compute#operation",
        "id": str(int(operation.name.rpartition("-")[2], 16)),
        "name": operation.name.rpartition("/")[2],
        "operationType": operation.call.method.action,
        "targetLink": f"{base}/{operation.target}",
        "selfLink": f"{base}/{operation.name}",
        "status": "DONE" if operation.done else "RUNNING",
        "progress": 100 if operation.done else 0,
        "insertTime": now,
        "startTime": now,
    }
    parts = operation.name.split("/")
    if parts[2] in {"regions", "zones"}:
        answer[parts[2][:-1]] = f"{base}/{'/'.join(parts[:4])}"
    if operation.done:
        answer["endTime"] = now
    if operation.done and operation.error is not None:
        answer["error"] = {"errors": [operation.error.compute()]}
        answer |= {"httpErrorStatusCode": operation.error.status, "httpErrorMessage": operation.error.code}
    return answer


def _container(operation: Operation) -> JSON:
    version, parts = operation.call.method.version, operation.name.split("/")
    base = f"https://container.googleapis.com/{version}"
    location = parts[3]
    answer: JSON = {
        "name": parts[-1],
        "operationType": _CONTAINER_TYPES.get(operation.call.method.id.partition("locations.")[2], "UPDATE_CLUSTER"),
        "status": "DONE" if operation.done else "RUNNING",
        "selfLink": f"{base}/{operation.name}",
        "targetLink": f"{base}/{operation.target}",
        "location": location,
        "startTime": timestamp(),
    }
    if location.count("-") == 2:
        answer["zone"] = location
    if operation.done:
        answer["endTime"] = timestamp()
    if operation.done and operation.error is not None:
        answer |= {"error": operation.error.rpc(), "statusMessage": operation.error.message}
    return answer


_CONTAINER_TYPES = {
    "clusters.create": "CREATE_CLUSTER",
    "clusters.delete": "DELETE_CLUSTER",
    "clusters.nodePools.create": "CREATE_NODE_POOL",
    "clusters.nodePools.delete": "DELETE_NODE_POOL",
    "clusters.nodePools.update": "UPGRADE_NODES",
    "clusters.nodePools.setSize": "SET_NODE_POOL_SIZE",
    "clusters.nodePools.setManagement": "SET_NODE_POOL_MANAGEMENT",
    "clusters.setMasterAuth": "SET_MASTER_AUTH",
    "clusters.setResourceLabels": "SET_LABELS",
}
