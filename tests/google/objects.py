"""Cloud Storage: the objects of buckets, listed in pages and read by generation and range."""

from __future__ import annotations

from tests.google.errors import JSON, not_found
from tests.google.generic import page
from tests.google.state import Call, State
from tests.modelimage.servers import Answer, Request, ranged


def list_objects(state: State, call: Call) -> JSON:
    """A page of a bucket's objects, by prefix."""
    bucket, prefix = call.path["bucket"], call.query.get("prefix", "")
    if ("storage", f"b/{bucket}") not in state.resources:
        raise not_found("The specified bucket does not exist.")
    start = f"b/{bucket}/o/"
    names = sorted(name for service, name in state.contents if service == "storage" and name.startswith(start + prefix))
    return page(call, [_shown(state, bucket, name.removeprefix(start)) for name in names], state.faults.page_size)


def get_object(state: State, call: Call) -> JSON | Answer:
    """An object's description, or its content (`alt=media`), at the generation that is asked for."""
    bucket, name = call.path["bucket"], call.path["object"]
    key = ("storage", f"b/{bucket}/o/{name}")
    found = state.resources.get(key)
    wanted = call.query.get("generation")
    if found is None or (wanted and wanted != found["generation"]):
        raise not_found(f"No such object: {bucket}/{name}")
    if call.query.get("alt") != "media":
        return _shown(state, bucket, name)
    return ranged(Request("GET", call.name, call.headers, b""), state.contents[key])


def _shown(state: State, bucket: str, name: str) -> JSON:
    key = ("storage", f"b/{bucket}/o/{name}")
    size = str(len(state.contents[key]))
    return {"kind": "storage#object", "name": name, "bucket": bucket, "size": size, **state.resources[key]}


HANDLERS = {"storage.objects.list": list_objects, "storage.objects.get": get_object}
