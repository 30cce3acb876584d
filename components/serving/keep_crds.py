#!/usr/bin/env python3
"""Marks the CRDs of a chart to be kept, as Helm's post-renderer: manifests come by stdin and go by stdout.

With a CRD every object of its kind goes, in all namespaces. Helm leaves alone what its own manifest of the release says
is to be kept (helm 3, pkg/action/resource_policy.go): an annotation on the CRD in the cluster would not do. An install
of the same name takes the kept CRDs on again.

It is started by Pulumi's provider for Kubernetes, which gives a post-renderer no arguments and knows no interpreter of
ours: so it is a file that runs by itself, of the standard library alone. What it does not understand it refuses, and
with that the install.
"""

import re
import sys
from collections.abc import Iterator

KEEP = "helm.sh/resource-policy: keep"
_CRD = re.compile(r"^kind:[ \t]*[\"']?CustomResourceDefinition[\"']?[ \t]*(#.*)?$", re.MULTILINE)
_HIDDEN = re.compile(
    r"""^(?:---\s+)?\{.*["']?kind["']?:\s*["']?CustomResourceDefinition\b"""
    r"""|^kind:[ \t]*["']?List\b.*^[ \t-]+kind:[ \t]*["']?CustomResourceDefinition\b""",
    re.MULTILINE | re.DOTALL,
)
"""CRDs in braces, or in a list."""
_METADATA = re.compile(r"^metadata:[ \t]*(#.*)?\n((?:[ \t]+.*\n|[ \t]*\n|#.*\n)*)", re.MULTILINE)
_FIRST = re.compile(r"^([ ]+)[^\s#]", re.MULTILINE)


def kept(manifests: str) -> str:
    """The manifests, with the annotation on each CRD.

    Raises:
        ValueError: a CRD is written in a form that is not read here.
    """
    return "".join(_document(one) for one in _documents(manifests))


def _documents(manifests: str) -> Iterator[str]:
    """The documents, each with the line that begins it: `---` at the start of a line is nothing else in YAML."""
    text = manifests if manifests.endswith("\n") else f"{manifests}\n"
    yield from re.split(r"(?m)^(?=---(?:\s|$))", text)


def _document(text: str) -> str:
    if _HIDDEN.search(text):
        raise ValueError("a CustomResourceDefinition in braces or in a List")
    if not _CRD.search(text):
        return text
    found = _METADATA.search(text)
    first = _FIRST.search(found[2]) if found else None
    if not found or not first:
        raise ValueError("a CustomResourceDefinition whose metadata is no block of lines")
    indent, body, start = first[1], found[2], found.start(2)
    own = re.search(rf"^{indent}annotations:(.*)\n((?:{indent}[ ]+.*\n|[ \t]*\n)*)", body, re.MULTILINE)
    if own is None:
        added = f"{indent}annotations:\n{indent}  {KEEP}\n"
        return text[:start] + added + text[start:]
    if own[1].split("#")[0].strip():
        raise ValueError("a CustomResourceDefinition whose annotations are no block of lines")
    policy = re.search(r"^\s*[\"']?helm\.sh/resource-policy[\"']?:\s*[\"']?(\w*)", own[2], re.MULTILINE)
    if policy and policy[1] == "keep":
        return text
    if policy:
        raise ValueError(f"a CustomResourceDefinition with the resource policy {policy[1]!r}")
    deeper = _FIRST.search(own[2])
    at = start + own.start(2)
    return f"{text[:at]}{deeper[1] if deeper else f'{indent}  '}{KEEP}\n{text[at:]}"


if __name__ == "__main__":
    try:
        sys.stdout.write(kept(sys.stdin.read()))
    except ValueError as error:
        sys.exit(f"error: {error}: its chart cannot be installed, for a later uninstall would delete all its objects")
