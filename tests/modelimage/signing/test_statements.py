"""What is attested of an image: read by those whose forms they are, and the same for the same image and facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from modelimage import pack
from modelimage.images import Session
from modelimage.layout import Layout
from modelimage.signing.statements import BOM, PACKER_VERSION, PROVENANCE, Facts, statements_on
from oci_model_serving.reference import parse_layout

COMMIT = "7ae557604adf67be50417f59c2c2f167def9a775"
BASE = f"docker.io/library/busybox@sha256:{'1' * 64}"
FACTS = Facts(f"hf://Qwen/Qwen2.5-0.5B-Instruct@{COMMIT}", BASE, "direct", "apache-2.0", {"allow": ["*.json"]})


def made(model: Path, layout: Path) -> dict[str, Any]:
    image = pack(str(model), f"oci:{layout}")
    store = Layout(parse_layout(image.reference))
    found = [statements_on(store, image.digest, "it", FACTS, Session.start(), files=False) for _ in range(2)]
    assert found[0] == found[1]
    return {kind: json.loads(payload)["predicate"] for kind, payload in found[0].items()}


def test_the_bill_is_valid_and_the_provenance_has_source_base_version_and_parameters(
    model: Path, tmp_path: Path
) -> None:
    said = made(model, tmp_path / "layout")
    bill = said[BOM]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    subject = bill["metadata"]["component"]
    assert (subject["type"], subject["version"]) == ("machine-learning-model", COMMIT)
    assert subject["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert {"config.json", "docker.io/library/busybox"} <= {one["name"] for one in bill["components"]}
    definition = said[PROVENANCE]["buildDefinition"]
    assert definition["externalParameters"] == {"source": FACTS.source, "base": BASE, "allow": ["*.json"]}
    assert [one["digest"] for one in definition["resolvedDependencies"]] == [
        {"gitCommit": COMMIT},
        {"sha256": "1" * 64},
    ]


def test_the_packers_version_is_the_projects() -> None:
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert f'\nversion = "{PACKER_VERSION}"\n' in project
