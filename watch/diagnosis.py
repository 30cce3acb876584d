"""Why a pod does not run: statuses, events and logs translated into causes with remedies. Pure: no cluster is asked.

`watch.table` has the causes; here they are looked for in what the cluster says, beside the few that show in a pod's own
spec. What no row knows is told in the cluster's own words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oci_model_serving.foreign import in_line
from watch.causes import Cause, short
from watch.complaints import Case, Complaint, Topic, complaints
from watch.containers import (
    MODELCAR,
    STORAGE_INITIALIZER,
    all_image_volumes,
    container_statuses,
    containers_of,
    image_volumes,
    repository_of,
    source_of,
)
from watch.facts import fill
from watch.table import ROWS
from watch.table.row import Row

JSON = Mapping[str, Any]

IMAGE_VOLUME_CONTAINERD = (2, 1)
"""containerd mounts image volumes from 2.1.0 on (release notes of containerd 2.1)."""
_LAST = {row.code for row in ROWS if row.last}
_GVISOR = "gvisor"
"""The RuntimeClass of GKE Sandbox (GKE documentation, "Harden workload isolation with GKE Sandbox")."""
_UNKNOWN, _CRASH = "unknown", "crash-"
_LINES = 4
_LINE_CHARACTERS = 300


def diagnose(case: Case) -> list[Cause]:
    """Return the causes that the recorded state shows, in order of likelihood; none when it shows no trouble."""
    said = list(complaints(case))
    seen = [(row, complaint, match) for row in ROWS for complaint in said if (match := row.match(complaint))]
    codes = {row.code for row, _, _ in seen}
    seen = [one for one in seen if not one[0].beside or codes & set(one[0].beside)]
    causes: dict[str, Cause] = {}
    for row, complaint, match in seen:
        if row.code not in causes and not any(_hides(other, about, row, complaint) for other, about, _ in seen):
            told = fill(row.remedy, match.groupdict(), case, complaint)
            causes[row.code] = Cause(row.code, f"{complaint.said_by}: {_around(match)}", told)
    for cause in (*_spec_causes(case), *_sandbox_causes(case), *_node_causes(case)):
        causes.setdefault(cause.code, cause)
    found = [cause for code, cause in causes.items() if code not in _LAST] or list(causes.values())
    return found or list(_crashes(case)) or list(_unknown(case, said))


def _hides(row: Row, complaint: Complaint, other: Row, about: Complaint) -> bool:
    """Whether one cause explains another away; not where the two are about different images."""
    images = {repository_of(image) for image in (complaint.image, about.image) if image}
    return other.code in row.hides and len(images) < 2


def without_guesses(causes: Iterable[Cause]) -> list[Cause]:
    """The causes of several pods of a model, without what is not known of one where it is known of another."""
    found = list(causes)
    known = [cause for cause in found if cause.code != _UNKNOWN]
    return [cause for cause in known if not cause.code.startswith(_CRASH)] or known or found


def empty_mount(path: str, node: JSON | None) -> Cause:
    """Return the cause of an empty mount under a running pod: a runtime that ignores image volumes."""
    runtime = _node_info(node).get("containerRuntimeVersion", "an unknown runtime")
    return Cause(
        "empty-mount",
        f"{path} is empty, and nothing reports an error; the node runs {runtime}",
        "the node's runtime does not mount image volumes: containerd must be 2.1 or newer (GKE 1.34.4 and later); "
        "upgrade the node pool, or set `models.NAME.delivery: modelcar`",
    )


def containerd_version(node: JSON) -> tuple[int, int] | None:
    """Return (major, minor) of a node's containerd, None for another runtime."""
    match = re.match(r"containerd://v?(\d+)\.(\d+)", str(_node_info(node).get("containerRuntimeVersion", "")))
    return (int(match[1]), int(match[2])) if match else None


def _node_info(node: JSON | None) -> dict[str, Any]:
    return dict((node or {}).get("status", {}).get("nodeInfo", {}))


def _around(match: re.Match[str]) -> str:
    """The lines in which a row's pattern was found: a log may hold many others."""
    text = match.string
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    lines = text[start : None if end < 0 else end].splitlines()
    kept = lines if len(lines) <= _LINES else [lines[0], *lines[-(_LINES - 1) :]]
    return short(" ".join(kept))


def _spec_causes(case: Case) -> Iterator[Cause]:
    """Find what the pod's own spec shows: that KServe's webhook did not do its part."""
    source, names = source_of(case.pod), containers_of(case.pod).keys()
    if not source.startswith(("oci://", "oci+native://")):
        return
    if STORAGE_INITIALIZER in names:
        yield Cause(
            "modelcar-disabled",
            f"the pod has a {STORAGE_INITIALIZER} instead of a modelcar; it cannot read {source.split('://')[0]}://",
            "modelcar is switched off in KServe: set `kserve.storage.enableModelcar: true` in the chart's values "
            "(this project's KServe component does) and delete the pod",
        )
    elif MODELCAR not in names and not image_volumes(case.pod):
        yield Cause(
            "webhook-missing",
            f"the pod asks for {source.split('@')[0]}, but has neither a modelcar nor an image volume",
            "KServe's Pod webhook did not see the pod, or modelcar is switched off: check enableModelcar, the "
            "MutatingWebhookConfiguration inferenceservice.serving.kserve.io, and that the namespace has no label "
            "`control-plane`; then delete the pod",
        )


def _sandbox_causes(case: Case) -> Iterator[Cause]:
    """Find image volumes of a pod that runs in gVisor, which brings none into its sandbox (google/gvisor #14471)."""
    if case.pod.get("spec", {}).get("runtimeClassName") == _GVISOR and all_image_volumes(case.pod):
        yield Cause(
            "image-volume-sandbox",
            f"the pod runs in the sandbox {_GVISOR}, and mounts images as volumes",
            "GKE Sandbox mounts no image volumes: set `models.NAME.delivery: modelcar`, or take a pool without "
            f"`nodePools.{case.pool or 'NAME'}.sandbox`",
        )


def _node_causes(case: Case) -> Iterator[Cause]:
    version = containerd_version(case.node) if case.node else None
    if all_image_volumes(case.pod) and version and version < IMAGE_VOLUME_CONTAINERD:
        yield empty_mount("the image volume", case.node)


def _crashes(case: Case) -> Iterator[Cause]:
    """Find containers that end by themselves, for want of a more telling cause."""
    for container in container_statuses(case.pod):
        ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            words = str(ended.get("message") or case.logs.get(container["name"], ""))
            said = in_line("\n".join(words.splitlines()[-_LINES:]), _LINE_CHARACTERS) or "it left no message"
            yield Cause(
                f"{_CRASH}{container['name']}",
                f"container {container['name']} ended with exit code {ended['exitCode']} "
                f"({container.get('restartCount', 0)} restarts): {said}",
                "its cause is not one that is known here: read its log, "
                f"`kubectl -n {case.pod['metadata'].get('namespace', 'default')} logs "
                f"{case.pod['metadata']['name']} -c {container['name']} --previous`",
            )


def _unknown(case: Case, said: list[Complaint]) -> Iterator[Cause]:
    """What the cluster complains of without a row that knows it: the last word of each who says something."""
    if any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in case.pod.get("status", {}).get("conditions") or ()
    ):
        return
    last = {complaint.said_by: complaint for complaint in said if complaint.text.strip(": ")}
    pod = case.pod.get("metadata", {})
    shows = f"pod {pod['name']}" if pod.get("name") else "pods"
    told = (
        "these are the cluster's own words, and their cause is not one that is known here: "
        f"`kubectl -n {pod.get('namespace', 'NAMESPACE')} describe {shows}` shows all that it says"
    )
    starting = (
        "it has not ended, and these are its last words: it is still starting, or stands still. Give it more time "
        "(`models.NAME.startupTimeout`, seconds); "
        f"`kubectl -n {pod.get('namespace', 'NAMESPACE')} logs -f {pod.get('name', 'POD')}` shows whether it goes on"
    )
    starts = {one["name"] for one in container_statuses(case.pod) if _starts(one)}
    for complaint in list(last.values())[:_LINES]:
        of_log = complaint.topic is Topic.ENGINE and complaint.container in starts
        yield Cause(_UNKNOWN, f"{complaint.said_by}: {short(complaint.text)}", starting if of_log else told)


def _starts(container: JSON) -> bool:
    """Whether a container runs for the first time and is not ready."""
    running = "running" in (container.get("state") or {})
    return running and not container.get("ready") and not container.get("restartCount")
