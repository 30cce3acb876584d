"""`policy.licences`: what is published under another licence, or under none that is known, is refused in the plan."""

from pathlib import Path
from typing import Any

import pytest

from components.settings import reader as settings
from tests.mocks import DIGEST
from tests.weights import write_model

EXISTS = {"digest": f"registry.example/models/qwen@{DIGEST}"}


def problems(models: dict[str, Any], licences: object) -> list[str]:
    try:
        settings.parse({"target": "local", "policy": {"licences": licences}, "models": models}, stack="local")
    except settings.SettingsError as error:
        return list(error.problems)
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = write_model(tmp_path)
    (model / "README.md").write_text("---\nlicense: Apache-2.0\n---\n# A model\n")
    return model


def test_a_card_with_a_licence_of_the_list_is_taken(folder: Path) -> None:
    assert problems({"qwen": {"source": str(folder), "delivery": "native"}}, ["mit", "apache-2.0"]) == []


def test_another_licence_is_refused_at_the_source_with_both_ways_out(folder: Path) -> None:
    assert problems({"qwen": {"source": str(folder), "delivery": "native"}}, ["mit"]) == [
        "oci-model-serving:models.qwen.source: is published under apache-2.0, which policy.licences does not name: "
        "take another model, or add the licence there"
    ]


@pytest.mark.parametrize("image", [EXISTS, {"fromStack": "acme/oci-model-serving/dev"}])
def test_where_nothing_tells_somebody_vouches_for_it(image: dict[str, str]) -> None:
    (told,) = problems({"qwen": image}, ["mit"])

    assert told.startswith("oci-model-serving:models.qwen.licence: is needed, for policy.licences is set")
    assert problems({"qwen": {**image, "licence": "MIT"}}, ["mit"]) == []
    (told,) = problems({"qwen": {**image, "licence": "gpl-3.0"}}, ["mit"])
    assert told.startswith("oci-model-serving:models.qwen.licence: is published under gpl-3.0")


def test_a_card_is_not_overruled(folder: Path) -> None:
    (told,) = problems({"qwen": {"source": str(folder), "delivery": "native", "licence": "mit"}}, ["mit"])

    assert told == "oci-model-serving:models.qwen.licence: is mit, but the model's card says Apache-2.0: remove it"


def test_a_card_without_a_licence_is_told_from_one_that_could_not_be_read(folder: Path) -> None:
    (folder / "README.md").unlink()

    (told,) = problems({"qwen": {"source": str(folder), "delivery": "native"}}, ["mit"])
    assert "its README.md names none: write licence: with what you have read" in told


def test_an_adapters_licence_counts_as_well(folder: Path) -> None:
    adapter = {"digest": f"registry.example/adapters/sql@{DIGEST}"}
    found = problems(
        {"qwen": {"source": str(folder), "delivery": "native", "adapters": {"sql": adapter}}}, ["apache-2.0"]
    )

    assert [line for line in found if line.startswith("oci-model-serving:models.qwen.adapters.sql.licence: is needed")]


@pytest.mark.parametrize("licences", [[], ["a,b"], [""], "mit", [1]])
def test_what_is_no_list_of_licences_is_refused_at_its_key(licences: object, folder: Path) -> None:
    found = problems({"qwen": {"source": str(folder), "delivery": "native"}}, licences)

    assert found
    assert all(line.startswith("oci-model-serving:policy.licences") for line in found)


def test_without_the_list_nothing_is_asked() -> None:
    assert problems({"qwen": EXISTS}, None) == []
