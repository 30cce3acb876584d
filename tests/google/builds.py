"""Cloud Build: a build is queued, works, and ends; its step's output and log are what a test has said."""

from __future__ import annotations

import base64
import copy
import re

from tests.google.errors import JSON, GoogleError, invalid, not_found
from tests.google.script import Script
from tests.google.state import Call, State, timestamp

_STATES = ("QUEUED", "WORKING")


def create(state: State, call: Call) -> JSON:
    """Queue a build; the operation's metadata has it."""
    # The older path is for every location, which `parent` tells.
    place = call.query.get("parent") or call.name.removesuffix("/builds")
    if not re.fullmatch("projects/[^/]+/locations/[^/]+", place):
        raise invalid(f"Invalid value at 'parent': {place!r}")
    project, location = place.split("/")[1::2]
    identity = f"00000000-0000-4000-8000-{state.number():012d}"
    name = f"{place}/builds/{identity}"
    build = {
        **copy.deepcopy(call.body),
        "name": name,
        "id": identity,
        "projectId": project,
        "status": "QUEUED",
        "createTime": timestamp(),
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds;region={location}/{identity}?project=123456789012",
        "logsBucket": f"gs://{project}_{location}_cloudbuild",
        "queueTtl": "3600s",
    }
    state.put("cloudbuild", name, build)
    kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
    operation = base64.b64encode(identity.encode()).decode().rstrip("=")
    return {
        "name": f"projects/{project}/locations/{location}/operations/{operation}",
        "metadata": {"@type": kind, "build": copy.deepcopy(build)},
    }


def get(state: State, call: Call) -> JSON:
    """A build, one step further than at the last look."""
    build = _existing(state, call)
    script = state.script
    if build["status"] in _STATES:
        _advance(state, build, script)
    return copy.deepcopy(build)


def cancel(state: State, call: Call) -> JSON:
    """End a build that has not ended."""
    build = _existing(state, call)
    if build["status"] not in _STATES:
        text = f"Build {build['id']} is already in a terminal state"
        raise GoogleError(400, text, code="FAILED_PRECONDITION")
    build |= {"status": "CANCELLED", "finishTime": timestamp()}
    return copy.deepcopy(build)


def _advance(state: State, build: JSON, script: Script) -> None:
    if build["status"] == "QUEUED":
        missing = _unreadable(state, build)
        if missing:
            text = (
                f"failed to access secret version for secret {missing}: rpc error: code = PermissionDenied desc = "
                f"Permission 'secretmanager.versions.access' denied for resource '{missing}' (or it may not exist)."
            )
            build |= {"status": "FAILURE", "statusDetail": text, "finishTime": timestamp()}
            return
        build |= {"status": "WORKING", "startTime": timestamp()}
        return
    if script.log:
        bucket = build["logsBucket"].removeprefix("gs://")
        state.append(bucket, f"log-{build['id']}.txt", script.log.pop(0))
        if script.log:
            return
    build |= {"status": script.ends, "finishTime": timestamp()}
    if script.ends == "SUCCESS":
        build["results"] = {"buildStepOutputs": [base64.b64encode(script.output).decode()]}
    elif script.detail:
        build["failureInfo"] = {"type": "USER_BUILD_STEP", "detail": script.detail}


def _unreadable(state: State, build: JSON) -> str | None:
    """The first version of a secret that the build's steps need and cannot have."""
    for secret in build.get("availableSecrets", {}).get("secretManager", ()):
        name = str(secret["versionName"])
        version = state.get("secretmanager", name)
        if version is None or version["state"] != "ENABLED":
            return name
    return None


def _existing(state: State, call: Call) -> JSON:
    name = call.query.get("name") or call.body.get("name") or call.name
    found = state.get("cloudbuild", name)
    if found is None:
        raise not_found("Requested entity was not found.")
    return found


HANDLERS = {
    f"cloudbuild.{place}.builds.{action}": handler
    for place in ("projects", "projects.locations")
    for action, handler in (("create", create), ("get", get), ("cancel", cancel))
}
