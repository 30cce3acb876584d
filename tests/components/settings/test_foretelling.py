"""What is told of images before they are built, and refused by it."""

from __future__ import annotations

import pytest

from components.settings import foretelling
from modelimage.forecast import Forecast
from tests.components.settings.reading import problems, read
from tests.serving import local

SOURCE = f"hf://org/name@{'a' * 40}"


@pytest.mark.parametrize(("files", "refused"), [(119, False), (120, True)])
def test_docker_is_refused_by_the_layers_that_it_makes_which_are_none_of_chunk_lists(
    monkeypatch: pytest.MonkeyPatch, files: int, refused: bool
) -> None:
    told = Forecast((1,) * (files + 1), "safetensors")  # the last one has the chunk lists
    monkeypatch.setattr(foretelling, "forecasts", lambda wanted: dict.fromkeys(wanted, told))
    stack = local({"m": {"source": SOURCE, "builder": "docker", "delivery": "native"}})
    if not refused:
        assert read(stack).models["m"].key == "m"
        return
    assert any(f"the image has {files} above its base: write direct" in problem for problem in problems(stack))
