"""Projects (Resource Manager) and the services that are enabled in them (Service Usage)."""

from __future__ import annotations

from tests.google.errors import JSON, invalid
from tests.google.faults import PROJECT_NUMBER
from tests.google.generic import page
from tests.google.operations import answered
from tests.google.state import Call, State


def get_project(_state: State, call: Call) -> JSON:
    """A project: every one exists, and is active."""
    name = call.project
    if call.method.version == "v3":
        return {"name": f"projects/{PROJECT_NUMBER}", "projectId": name, "state": "ACTIVE", "displayName": name}
    return {"projectNumber": PROJECT_NUMBER, "projectId": name, "name": name, "lifecycleState": "ACTIVE"}


def enable(state: State, call: Call) -> JSON:
    """Enable one service."""
    return answered(state, call, call.name, lambda: {"service": _enable(state, call, _service(call.name))})


def enable_all(state: State, call: Call) -> JSON:
    """Enable up to twenty services."""
    services: list[str] = call.body.get("serviceIds", [])
    if not 1 <= len(services) <= 20:
        raise invalid("Between 1 and 20 services can be enabled in a batch.")
    return answered(
        state, call, call.name, lambda: {"services": [_enable(state, call, service) for service in services]}
    )


def disable(state: State, call: Call) -> JSON:
    """Disable one service."""

    def finish() -> JSON:
        service = _service(call.name)
        state.delete("serviceusage", f"projects/{call.project}/services/{service}")
        state.faults.apis_off.add(service.removesuffix(".googleapis.com"))
        return {"service": _shown(call, service, "DISABLED")}

    return answered(state, call, call.name, finish)


def get_service(state: State, call: Call) -> JSON:
    """One service, enabled or not."""
    return state.get("serviceusage", call.name) or _shown(call, _service(call.name), "DISABLED")


def list_services(state: State, call: Call) -> JSON:
    """The services of a project; the filter is on their state."""
    enabled = [service for _, service in state.below("serviceusage", call.name)]
    return page(call, [] if "DISABLED" in call.query.get("filter", "") else enabled)


def _enable(state: State, call: Call, service: str) -> JSON:
    state.faults.apis_off.discard(service.removesuffix(".googleapis.com"))
    return state.put("serviceusage", f"projects/{call.project}/services/{service}", _shown(call, service, "ENABLED"))


def _service(name: str) -> str:
    return name.rpartition("/")[2]


def _shown(_call: Call, service: str, state: str) -> JSON:
    parent = f"projects/{PROJECT_NUMBER}"
    return {"name": f"{parent}/services/{service}", "parent": parent, "config": {"name": service}, "state": state}
