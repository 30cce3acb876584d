"""IAM policies with their etags, and service accounts."""

from __future__ import annotations

import base64
import copy

from tests.google.errors import JSON, GoogleError, invalid, not_found
from tests.google.state import Call, State

_NONE = "ACAB"
"""The etag of a policy that has never been set (`google.iam.v1.Policy`)."""
_ACCOUNTS = ".iam.gserviceaccount.com"
_OTHER = {"role": "roles/viewer", "members": ["user:another-writer@example.com"]}


def get_policy(state: State, call: Call) -> JSON:
    """The policy of a resource; empty, with an etag, where none has been set."""
    return copy.deepcopy(_policy(state, call))


def set_policy(state: State, call: Call) -> JSON:
    """Replace a policy, if it is still the one that the caller has read."""
    policy: JSON = call.body["policy"]
    if state.faults.iam_races:
        state.faults.iam_races -= 1
        _write(state, call, {**_policy(state, call), "bindings": _with_other(_policy(state, call))})
    before = _policy(state, call)
    if policy.get("etag") and policy["etag"] != before["etag"]:
        raise GoogleError(
            409,
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff. "
            f"The request's ETag '{policy['etag']}' did not match the current policy's ETag '{before['etag']}'.",
            code="ABORTED",
            reason="aborted",
        )
    for binding in policy.get("bindings", ()):
        for member in binding.get("members", ()):
            _check_member(state, member)
    return copy.deepcopy(_write(state, call, policy))


def granted(_state: State, call: Call) -> JSON:
    """Every permission that was asked about: the caller is the owner."""
    return {"permissions": list(call.body.get("permissions", ()))}


def create_account(state: State, call: Call) -> JSON:
    """Make a service account: its email is in the project's own domain."""
    project, account = call.project, str(call.body["accountId"])
    if not 6 <= len(account) <= 30:
        raise invalid(f'The account ID "{account}" does not have a length between 6 and 30.')
    email = f"{account}@{project}{_ACCOUNTS}"
    name = f"projects/{project}/serviceAccounts/{email}"
    if state.get("iam", name) is not None:
        raise GoogleError(409, f"Service account {account} already exists within project projects/{project}.")
    number = f"1{state.number():020d}"
    made = {
        **call.body.get("serviceAccount", {}),
        "name": name,
        "projectId": project,
        "uniqueId": number,
        "oauth2ClientId": number,
        "email": email,
        "etag": _etag(state),
    }
    return copy.deepcopy(state.put("iam", name, made))


def get_account(state: State, call: Call) -> JSON:
    """A service account, by its name."""
    return copy.deepcopy(_account(state, call))


def patch_account(state: State, call: Call) -> JSON:
    """Change what the mask names; only title and description can be."""
    account = _account(state, call)
    for field in str(call.body.get("updateMask", "")).split(","):
        if field not in {"displayName", "display_name", "description"}:
            raise invalid(f"Invalid update mask: {field!r}")
        key = "displayName" if field != "description" else field
        account[key] = call.body.get("serviceAccount", {}).get(key, "")
    account["etag"] = _etag(state)
    return copy.deepcopy(account)


def delete_account(state: State, call: Call) -> JSON:
    """Remove a service account. Bindings of it stay, as in IAM."""
    _account(state, call)
    state.delete("iam", call.name)
    return {}


def _account(state: State, call: Call) -> JSON:
    email = call.name.rpartition("/")[2]
    found = _known(state, email)
    if found is None:
        raise not_found(f"Unknown service account: {email}")
    return found


def _known(state: State, email: str) -> JSON | None:
    """An account of that email, once IAM has told its own parts of it (about a minute on Google)."""
    for (service, name), account in state.resources.items():
        if service == "iam" and email in {account.get("email"), account.get("uniqueId")}:
            return account if state.age(service, name) >= state.faults.account_seconds else None
    return None


def _check_member(state: State, member: str) -> None:
    kind, _, email = member.partition(":")
    if not email and kind not in {"allUsers", "allAuthenticatedUsers"}:
        raise invalid(f"Invalid member: {member!r}: the type prefix is missing")
    # Google's own agents and the accounts of other projects are not this server's to know.
    project = email.partition("@")[2].removesuffix(_ACCOUNTS)
    ours = any(service == "iam" and name.startswith(f"projects/{project}/") for service, name in state.resources)
    if kind == "serviceAccount" and email.endswith(_ACCOUNTS) and ours and _known(state, email) is None:
        raise invalid(f"Service account {email} does not exist.")


def _policy(state: State, call: Call) -> JSON:
    # Projects are not made here: all exist.
    if call.method.service != "cloudresourcemanager" and state.get(call.method.service, call.name) is None:
        raise not_found(f"Resource '{call.name}' was not found")
    return state.policies.get(_key(call), {"version": 1, "etag": _NONE})


def _write(state: State, call: Call, policy: JSON) -> JSON:
    bindings = [binding for binding in policy.get("bindings", ()) if binding.get("members")]
    kept: JSON = {"version": policy.get("version") or 1, "etag": _etag(state)}
    if bindings:
        kept["bindings"] = copy.deepcopy(bindings)
    if policy.get("auditConfigs"):
        kept["auditConfigs"] = copy.deepcopy(policy["auditConfigs"])
    state.policies[_key(call)] = kept
    return kept


def _key(call: Call) -> tuple[str, str]:
    return call.method.service, call.name


def _with_other(policy: JSON) -> list[JSON]:
    bindings: list[JSON] = copy.deepcopy(policy.get("bindings", []))
    return bindings if _OTHER in bindings else [*bindings, copy.deepcopy(_OTHER)]


def _etag(state: State) -> str:
    return base64.b64encode(b"BwX" + state.number().to_bytes(6, "big")).decode()
