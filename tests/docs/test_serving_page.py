"""What docs/serving.md shows is what the program takes and does."""

import re
from typing import Any

import pytest
import yaml

from components.google import image_volume
from components.settings import reader as settings
from oms.main import main
from tests import serving

PAGE = (serving.ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def read(block: str) -> dict[str, Any]:
    text = block.replace("sha256:…", f"sha256:{'a' * 64}").replace(
        "{…, ", f'{{digest: "{serving.IMAGE}", nodePool: l4, '
    )
    keys = {key.partition(":")[2]: value for key, value in yaml.safe_load(text).items()}
    return {**serving.gke({"qwen": {"digest": serving.IMAGE}}), **keys}


@pytest.mark.parametrize("block", BLOCKS)
def test_settings_on_the_page_are_taken(block: str) -> None:
    settings.parse(read(block), stack="dev", project="demo", region="us-central1")


def test_mirrored_charts_are_taken_from_the_mirror() -> None:
    models = {"qwen": {"digest": serving.IMAGE}, "openai": {"digest": serving.IMAGE, "delivery": "kubeai"}}
    (block,) = [text for text in BLOCKS if "chartRepository" in text]
    recording = serving.run({**read(block), "models": models})

    charts = {one.inputs["chart"] for one in recording.of_type("kubernetes:helm.sh/v3:Release")}
    assert charts == {
        f"oci://registry.internal/charts/{name}"
        for name in ("cert-manager", "kserve-crd", "kserve-resources", "kubeai")
    }


def test_every_delivery_is_in_the_truth_table_with_its_uri() -> None:
    (header,) = re.findall(r"^\| \| `modelcar` \|.*$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", header) == ["modelcar", "native", "fetch", "stream", "kubeai"]
    for scheme in (
        "`oci://…@sha256:…`",
        "`oci+native://…@sha256:…`",
        "`oci+stream://…@sha256:…`",
        "`oci://…:digest-sha256-<hex>`",
    ):
        assert scheme in PAGE


def test_the_versions_on_the_page_are_those_of_the_guard() -> None:
    assert image_volume.problem("1.35", alpha=False, sandbox=False, subpath=True) is None
    assert image_volume.problem("1.34", alpha=False, sandbox=False, subpath=True) is not None
    assert "1.35 or later (gate ImageVolume)" in PAGE


def test_the_disk_images_command_on_the_page_is_one_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = re.findall(r"^oms image disk (.*)$", PAGE, re.MULTILINE)
    words = line.replace("IMAGE", serving.IMAGE).split()

    assert main(["image", "disk", *words, "--dry-run", "--disk-size-gb", "20"]) == 0
    assert "go run ./cli" in capsys.readouterr().out
