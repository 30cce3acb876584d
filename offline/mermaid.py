"""The plan as a mermaid flowchart: what belongs to what, and the way of the digest."""

import re
from collections.abc import Mapping

from oci_model_serving.foreign import shown
from offline.plan import Plan
from offline.recording import MODEL_IMAGE_TYPE, STACK_REFERENCE_TYPE, Resource
from offline.table import short_type
from offline.values import plain

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{12})[0-9a-f]{52}")
_OF_DIGEST = {MODEL_IMAGE_TYPE, STACK_REFERENCE_TYPE}


def mermaid(plan: Plan) -> str:
    """The flowchart, resources grouped by parent; thick arrows follow the digest from image to server."""
    by_urn = {resource.urn: resource for resource in plan.resources}
    ids = {urn: f"r{number}" for number, urn in enumerate(by_urn)}
    tops = {urn: _top(urn, by_urn) for urn in by_urn}
    # Between the groups that the digest passes: into a model's image, and from it to what serves it.
    arrows = dict.fromkeys(
        (tops[urn], tops[resource.urn]) for resource in plan.resources for urn in resource.dependencies if urn in tops
    )
    chain = [
        (source, target)
        for source, target in arrows
        if source != target and _OF_DIGEST & {by_urn[source].type, by_urn[target].type}
    ]
    lines = ["flowchart LR", *_groups(plan.children(), ids, "", "  ")]
    for source, target in chain:
        members = [resource for urn, resource in by_urn.items() if tops[urn] == target]
        carried = _carried(members) if by_urn[source].type == MODEL_IMAGE_TYPE else ""
        lines.append(f"  {ids[source]} ==>{carried} {ids[target]}")
    lines.append("  classDef digest stroke-width:3px")
    if chain:
        lines.append(f"  class {','.join(sorted({ids[urn] for arrow in chain for urn in arrow}))} digest")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """The text inside a quoted mermaid label; a backtick could end the block that the picture stands in."""
    return (
        shown(text)
        .replace("&", "#amp;")
        .replace('"', "#quot;")
        .replace("<", "#lt;")
        .replace(">", "#gt;")
        .replace("`", "#96;")
    )


def box(type_: str, name: str) -> str:
    """The label of a resource."""
    return f'["{escape(short_type(type_))}<br/>{escape(name)}"]'


def _groups(children: Mapping[str, list[Resource]], ids: Mapping[str, str], parent: str, indent: str) -> list[str]:
    lines = []
    for resource in children[parent]:
        node = f"{ids[resource.urn]}{box(resource.type, resource.name)}"
        if resource.urn in children:
            inner = _groups(children, ids, resource.urn, indent + "  ")
            lines += [f"{indent}subgraph {node}", *inner, f"{indent}end"]
        else:
            lines.append(f"{indent}{node}")
    return lines


def _top(urn: str, by_urn: Mapping[str, Resource]) -> str:
    while by_urn[urn].parent in by_urn:
        urn = by_urn[urn].parent
    return urn


def _carried(members: list[Resource]) -> str:
    digests = {found for resource in members for found in _DIGEST.findall(str(plain(resource.inputs)))}
    return f"|sha256:{digests.pop()}|" if len(digests) == 1 else "|digest|"
