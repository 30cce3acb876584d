"""docs/models.md is what the packer says of the listings, and a listing is what the hub says of a model."""

import json
from pathlib import Path

import pytest

from modelimage.resolve import resolve
from tests.components.settings.reading import problems, read
from tests.docs import models_page
from tests.hub import COMMIT, FakeHub
from tests.serving import gke
from tests.weights import safetensors_bytes


def test_the_page_is_the_one_that_the_packer_gives() -> None:
    assert models_page.page() == models_page.PAGE.read_text(encoding="utf-8"), (
        "listings, choice or layers have changed: `make docs` writes docs/models.md anew; commit it with the change"
    )


def test_all_twenty_models_become_an_image() -> None:
    rows = [line for line in models_page.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) == 20
    assert [row for row in rows if "refused" in row] == []


def test_a_shape_that_a_builder_does_not_take_is_told_in_the_plan(tmp_path: Path) -> None:
    (kimi,) = [one for one in models_page.listings() if one.model == "moonshotai/Kimi-K2-Instruct"]
    folder = str(models_page.laid_out(kimi, tmp_path))
    given = {"source": folder, "resources": {"memory": "1200Gi"}}
    elsewhere = {"name": "demo", "location": "us-central1"}  # whose nodes are not known
    (said,) = problems(gke({"a": {**given, "builder": "docker"}}, cluster=elsewhere))
    assert "models.a.builder: is docker" in said
    assert "write direct" in said
    direct = read(gke({"a": {**given, "builder": "direct"}}, cluster=elsewhere))
    assert direct.forecasts["a"].layers > 120


def test_what_resolve_prints_takes_the_place_of_a_described_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"model": "org/name", "architecture": "X", "gated": False, "sets": []}
    (tmp_path / "described.json").write_text(json.dumps([described, {**described, "model": "org/other"}]))
    files = {
        "config.json": b'{"architectures": ["Qwen3ForCausalLM"]}',
        "model.safetensors": safetensors_bytes(bytes(200_000)),
        "tokenizer.json": b"{}",
        "README.md": b"# A model",
    }
    with FakeHub() as fake:
        fake.add("org/name", files)
        fake.used_by(monkeypatch, tmp_path / "cache")
        (tmp_path / "org--name.json").write_text(json.dumps(resolve("org/name").as_json()))
    first, other = models_page.listings(tmp_path)
    assert (first.model, first.recorded, first.architecture) == ("org/name", COMMIT, "Qwen3ForCausalLM")
    assert first.files == {path: len(content) for path, content in files.items()}
    assert not other.recorded
    forecast, left = models_page.told(first)
    assert not forecast.problems
    assert forecast.size_bytes > 200_000
    assert not left
