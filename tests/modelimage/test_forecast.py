"""What a plan is told of a source, against a hub on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.settings.stack_file import MASK
from modelimage import forecast as forecast_module
from modelimage import pack
from modelimage.forecast import Forecast, Prospect, forecasts
from modelimage.patience import RetryPolicy
from modelimage.source import Selection
from tests.components.settings.reading import problems, read
from tests.hub import COMMIT, Account, FakeHub
from tests.serving import gke
from tests.weights import safetensors_bytes, write_model

SOURCE = f"hf://org/name@{COMMIT}"
CONFIG = json.dumps({"architectures": ["Qwen2ForCausalLM"]}).encode()


def forecast(source: str, selection: Selection | None = None, *, token: str | None = None) -> Forecast | None:
    return forecasts({"": Prospect(source, selection or Selection(), token=token)})[""]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "_silent", set())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.add("org/name", {"model.safetensors": safetensors_bytes(bytes(3_000_000)), "config.json": CONFIG})
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


def test_what_is_foretold_is_what_is_packed(fake: FakeHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    for source in (SOURCE, str(folder)):
        told = forecast(source)
        image = pack(source, f"oci:{tmp_path / 'image'}", policy=RetryPolicy(attempts=1))
        assert told is not None
        assert told.layer_sizes == tuple(layer.size_bytes for layer in image.layers)
        assert (told.layers, told.size_bytes) == (len(image.layers), image.size_bytes)
        assert told.format == "safetensors"
    assert forecast(SOURCE) == forecast(SOURCE)


def test_a_commit_is_asked_for_once(fake: FakeHub) -> None:
    told = forecast(SOURCE)
    assert told is not None
    assert told.traits.architecture == "Qwen2ForCausalLM"
    assert told.traits.task == "generation"
    fake.forget()
    assert forecast(SOURCE) == told
    assert not fake.requests
    assert forecast(SOURCE, Selection(ignore=("*.nothing",))) is not None  # another choice is another question
    assert fake.requests


def test_what_other_code_said_of_a_commit_is_not_believed(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert forecast(SOURCE)
    fake.forget()
    monkeypatch.setattr(forecast_module, "_judges", lambda: "another version")
    assert forecast(SOURCE)
    assert fake.requests


def test_a_damaged_memory_is_as_good_as_none(fake: FakeHub, own_cache: Path) -> None:
    told = forecast(SOURCE)
    (entry,) = (own_cache / "forecasts").iterdir()
    for content in ("", "[]", '{"source": 1}', json.dumps({"source": SOURCE, "nonsense": 1})):
        entry.write_text(content)
        assert forecast(SOURCE) == told


def test_what_the_rules_refuse_is_a_problem_and_not_an_error(fake: FakeHub, tmp_path: Path) -> None:
    fake.models["org/name"].files = {"config.json": CONFIG, "models/x.safetensors": safetensors_bytes(b"1")}
    told = forecast(SOURCE)
    assert told is not None
    assert not told.layer_sizes
    assert "would hide /models" in told.problems[0]
    told = forecast(str(tmp_path / "nothing"))
    assert told is not None
    assert "no such folder" in told.problems[0]


@pytest.mark.parametrize("source", ["hf://org/other@" + COMMIT, "hf://org/name@" + "d" * 40, "hf://org/name@main"])
def test_what_the_hub_does_not_tell_is_left_to_the_build(fake: FakeHub, source: str) -> None:
    assert forecast(source) is None
    assert forecast(SOURCE)  # it has answered: the others are asked for as before


def test_a_gated_model_is_told_of_with_the_stacks_token(fake: FakeHub) -> None:
    fake.models["org/name"].private = True
    fake.accounts = {"hf_secret": Account(granted={"org/name"})}
    assert forecast(SOURCE) is None
    assert forecast(SOURCE, token="hf_secret")
    assert "hf_secret" not in repr(Prospect(SOURCE, token="hf_secret"))


def test_what_is_wrong_with_the_environment_is_not_kept_of_a_commit(
    fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast_module, "_is_known", lambda _: True)
    for endpoint in ("http://mirror.invalid", "nonsense"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert forecast(SOURCE, token="hf_secret") is None
    monkeypatch.setenv("HF_ENDPOINT", fake.address)
    told = forecast(SOURCE)
    assert told is not None
    assert not told.problems


def test_a_hub_that_is_away_is_asked_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: object, **more: object) -> object:
        asked.append(host)
        return real(host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert forecast(SOURCE) is None
    assert forecast(SOURCE) is None
    assert asked == ["hub.invalid"]


def test_a_hub_that_hangs_is_waited_for_once_for_all_models(fake: FakeHub) -> None:
    fake.hold = threading.Event()
    try:
        told = forecasts({str(n): Prospect(SOURCE, Selection(ignore=(str(n),))) for n in range(5)}, seconds=0.5)
        assert set(told.values()) == {None}
        assert len(fake.requests) == 5  # all at once, and not one after the other
        assert forecast(SOURCE) is None
        assert len(fake.requests) == 5
    finally:
        fake.hold.set()
        for thread in threading.enumerate():
            if thread.name == "forecast":
                thread.join(30)  # what comes late is kept all the same
    assert forecasts({"": Prospect(SOURCE, Selection(ignore=("0",)))})[""]


def test_nothing_is_asked_offline_or_of_buckets(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert forecast(SOURCE) is None
    assert forecast("gs://bucket/prefix") is None
    assert forecast("s3://bucket/prefix") is None
    assert not fake.requests


def test_a_stacks_sizes_come_from_the_hub_unless_it_says_them(fake: FakeHub) -> None:
    made = read(gke({"a": {"source": SOURCE}, "b": {"source": SOURCE, "sizeGb": 7}}))
    assert made.image_sizes_gb == {"a": pytest.approx(0.003, abs=1e-4), "b": 7}
    assert made.forecasts["b"] == made.forecasts["a"]


def test_a_stacks_source_that_cannot_be_packed_is_told_with_its_key(fake: FakeHub, tmp_path: Path) -> None:
    fake.models["org/name"].files = {"config.json": CONFIG, "models/x.safetensors": safetensors_bytes(b"1")}
    (tmp_path / "empty").mkdir()
    found = problems(gke({"a": {"source": SOURCE}, "b": {"source": str(tmp_path / "empty")}}))
    assert any("models.a.source" in text and "would hide /models" in text for text in found)
    assert any("models.b.source" in text and "no file to pack" in text for text in found)


def test_a_forecast_tells_size_and_layers_by_its_parts() -> None:
    assert (Forecast((5, 7)).size_bytes, Forecast((5, 7)).layers) == (12, 2)


def test_a_stacks_token_asks_the_hub_and_one_that_the_plan_cannot_read_asks_for_nothing(fake: FakeHub) -> None:
    fake.accounts = {"hf_real": Account()}
    stack = gke({"a": {"source": SOURCE}})

    unreadable = read({**stack, "hubToken": MASK}, secret=["hubToken"])
    assert unreadable.image_sizes_gb["a"] == pytest.approx(0.003, abs=1e-4)
    assert not any("authorization" in request.headers for request in fake.requests)

    fake.add("org/other", fake.models["org/name"].files)
    other = gke({"a": {"source": SOURCE.replace("org/name", "org/other")}})
    assert read({**other, "hubToken": "hf_real"}, secret=["hubToken"]).image_sizes_gb["a"] > 0
    assert fake.requests[-1].headers["authorization"] == "Bearer hf_real"
