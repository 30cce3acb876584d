"""Writes what replaces a resource into `offline/replacing.json`, from the providers' own schemas: `make replacements`.

The schemas are what `pulumi package get-schema NAME@VERSION` prints, of the versions in requirements.txt; it needs the
Pulumi CLI and its plugins. A property that a schema marks `willReplaceOnChanges` (a bridged provider's ForceNew) or
`replaceOnChanges` replaces the resource; one of a nested type is found through its `$ref`. What is kept by hand is what
a provider decides in its code instead (pulumi-kubernetes); `sources` says of each provider where its rows are from.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

OUTPUT = Path(__file__).parents[2] / "offline" / "replacing.json"
REQUIREMENTS = OUTPUT.parents[1] / "requirements.txt"
PROVIDERS = ("command", "gcp")


def replacing(schema: Mapping[str, Any], type_: str) -> list[str]:
    """The inputs of a resource type whose change replaces it; a nested block's own mark ends in `{}`."""
    resource = schema["resources"][type_]
    return sorted(_marked(schema, resource["inputProperties"], "", ()))


def _marked(
    schema: Mapping[str, Any], properties: Mapping[str, Any], prefix: str, within: tuple[str, ...]
) -> Iterator[str]:
    for name, spec in properties.items():
        path, nested = f"{prefix}{name}", _nested(spec)
        if spec.get("willReplaceOnChanges") or spec.get("replaceOnChanges"):
            yield f"{path}{{}}" if nested else path
        if nested and nested not in within:
            inner = schema["types"][nested].get("properties", {})
            yield from _marked(schema, inner, f"{path}.", (*within, nested))


def _nested(spec: Mapping[str, Any]) -> str | None:
    """The type of the object, or of the list's objects, that a property holds."""
    reference = str(spec.get("items", spec).get("$ref", ""))
    return unquote(reference.removeprefix("#/types/")) if reference.startswith("#/types/") else None


def updated(table: Mapping[str, Any], name: str, schema: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The table with a provider's rows from its schema: of the types that are there, and their source."""
    types = {
        type_: replacing(schema, type_) if type_.partition(":")[0] == name else rows
        for type_, rows in table["types"].items()
    }
    return {"sources": {**table["sources"], name: source}, "types": types}


def written(table: Mapping[str, Any]) -> str:
    """The table as it is committed: a line a type."""

    def lines(part: Mapping[str, Any]) -> str:
        return ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(part.items()))

    return f'{{\n "sources": {{\n{lines(table["sources"])}\n }},\n "types": {{\n{lines(table["types"])}\n }}\n}}\n'


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pulumi", default="pulumi", help="the Pulumi CLI")
    pulumi = parser.parse_args().pulumi
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if line.startswith("pulumi-"))
    table = json.loads(OUTPUT.read_text(encoding="utf-8"))
    for name in PROVIDERS:
        command = ["package", "get-schema", f"{name}@{pins[f'pulumi-{name}'].split()[0]}"]
        done = subprocess.run([pulumi, *command], stdout=subprocess.PIPE, text=True, check=True)
        table = updated(table, name, json.loads(done.stdout), f"pulumi {' '.join(command)}")
    OUTPUT.write_text(written(table), encoding="utf-8")


if __name__ == "__main__":
    main()
