"""The plan as a mermaid flowchart: what belongs to what, and the way of the digest."""

import re
from collections import defaultdict

from offline.plan import Plan
from offline.recording import MODEL_IMAGE_TYPE, STACK_REFERENCE_TYPE, Resource
from offline.table import short_type
from offline.values import plain

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{12})[0-9a-f]{52}")
_SHOWN_CHARACTERS = 12


def mermaid(plan: Plan) -> str:
    """The flowchart, resources grouped by parent; thick arrows follow the digest from image to server."""
    picture = _Picture(plan)
    lines = ["flowchart LR", *picture.groups("", "  "), *picture.chain()]
    lines.append("  classDef digest stroke-width:3px")
    if picture.on_chain:
        lines.append(f"  class {','.join(sorted(picture.on_chain))} digest")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """The text inside a quoted mermaid label."""
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


class _Picture:
    def __init__(self, plan: Plan) -> None:
        self._by_urn = {resource.urn: resource for resource in plan.resources}
        self._children: dict[str, list[Resource]] = defaultdict(list)
        for resource in plan.resources:
            self._children[resource.parent].append(resource)
        self._ids = {resource.urn: f"r{number}" for number, resource in enumerate(plan.resources)}
        self.on_chain: set[str] = set()

    def groups(self, parent: str, indent: str) -> list[str]:
        lines = []
        for resource in self._children[parent]:
            label = f'["{escape(short_type(resource.type))}<br/>{escape(resource.name)}"]'
            if self._children[resource.urn]:
                lines.append(f"{indent}subgraph {self._ids[resource.urn]}{label}")
                lines += self.groups(resource.urn, indent + "  ")
                lines.append(f"{indent}end")
            else:
                lines.append(f"{indent}{self._ids[resource.urn]}{label}")
        return lines

    def chain(self) -> list[str]:
        """Arrows between the groups that the digest passes: into a model's image, and from it to what serves it."""
        lines = []
        seen = set()
        for resource in self._by_urn.values():
            for dependency in resource.dependencies:
                source, target = self._top(dependency), self._top(resource.urn)
                if source == target or (source, target) in seen or not self._passes_digest(source, target):
                    continue
                seen.add((source, target))
                lines.append(f"  {self._ids[source]} ==>{self._carried(source, target)} {self._ids[target]}")
                self.on_chain |= {self._ids[source], self._ids[target]}
        return lines

    def _top(self, urn: str) -> str:
        while urn in self._by_urn and self._by_urn[urn].parent in self._by_urn:
            urn = self._by_urn[urn].parent
        return urn

    def _passes_digest(self, source: str, target: str) -> bool:
        if source not in self._by_urn or target not in self._by_urn:
            return False
        types = {self._by_urn[source].type, self._by_urn[target].type}
        return bool(types & {MODEL_IMAGE_TYPE, STACK_REFERENCE_TYPE})

    def _carried(self, source: str, target: str) -> str:
        if self._by_urn[source].type != MODEL_IMAGE_TYPE:
            return ""
        digests = {
            found
            for resource in self._by_urn.values()
            if self._top(resource.urn) == target
            for found in _DIGEST.findall(str(plain(resource.inputs)))
        }
        return f"|sha256:{min(digests)[:_SHOWN_CHARACTERS]}|" if len(digests) == 1 else "|digest|"
