"""Looking up a model of the hub, by whatever spelling it was pasted in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage import hub_address
from modelimage.errors import ImageError
from modelimage.hub_address import HubAddress
from modelimage.origins import origin_of
from modelimage.patience import RetryPolicy
from modelimage.resolve import resolve
from oci_model_serving.errors import InputError
from oms.main import main
from tests.components.settings.reading import problems
from tests.hub import COMMIT, Account, FakeHub
from tests.serving import gke
from tests.weights import safetensors_bytes

QUICK = RetryPolicy(attempts=2, first_seconds=0.01)
FILES = {
    "config.json": json.dumps({"architectures": ["LlamaForCausalLM"]}).encode(),
    "model.safetensors": safetensors_bytes(bytes(300_000)),
    "LICENSE": b"terms",
    ".gitattributes": b"*.safetensors filter=lfs",
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.add("org/name", dict(FILES), card={"license": "apache-2.0"})
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


SPELLINGS = [
    ("hf://org/name", None),
    ("hf://org/name@main", "main"),
    (f"hf://org/name@{COMMIT}", COMMIT),
    (f"hf://org/name:{COMMIT}", COMMIT),
    ("hf://org/name:main", "main"),
    ("org/name", None),
    ("org/name@main", "main"),
    ("https://huggingface.co/org/name", None),
    ("https://huggingface.co/org/name/", None),
    ("https://www.huggingface.co/org/name?library=vllm", None),
    ("https://hf.co/org/name#usage", None),
    ("https://huggingface.co/org/name/tree/main", "main"),
    (f"https://huggingface.co/org/name/tree/{COMMIT}/sub/folder", COMMIT),
    ("https://huggingface.co/org/name/blob/main/config.json", "main"),
    (f"https://huggingface.co/org/name/resolve/{COMMIT}/config.json?download=true", COMMIT),
    (f"https://huggingface.co/org/name/commit/{COMMIT}", COMMIT),
    ("https://huggingface.co/org/name/commits/main", "main"),
    ("https://huggingface.co/org/name/discussions/3", None),
    ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "refs/pr/1"),
    ("https://huggingface.co/api/models/org/name", None),
]


@pytest.mark.parametrize(("text", "revision"), SPELLINGS)
def test_every_spelling_that_people_paste_names_the_model(text: str, revision: str | None) -> None:
    assert hub_address.read(text) == HubAddress("org/name", revision)


def test_a_mirrors_page_names_the_model_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hf/")
    assert hub_address.read("https://mirror.example/hf/org/name/tree/main") == HubAddress("org/name", "main")
    assert hub_address.read("https://mirror.example/other/org/name") is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "hf://name",
            "name",
            "hf://",
            "",
            "hf://org/name/file.gguf",
            "hf://org/name@a@b",
            "gs://org/name",
            "/org/name",
        ),
        *(
            "https://huggingface.co/datasets/org/name",
            "https://huggingface.co/spaces/org/name",
            "https://huggingface.co",
        ),
        *("https://elsewhere.example/org/name", "https://[broken/org/name", "hf://ørg/name"),
    ],
)
def test_what_names_no_model_is_none(text: str) -> None:
    assert hub_address.read(text) is None
    with pytest.raises(InputError, match="names no model of the hub"):
        resolve(text)


@given(st.text(max_size=60) | st.from_regex(r"(hf://|https://huggingface\.co/)?[\w./@:%-]{0,60}", fullmatch=True))
def test_whatever_is_pasted_is_a_model_or_none(text: str) -> None:
    address = hub_address.read(text)
    if address is not None:
        assert hub_address.read(f"hf://{address.repository}") == HubAddress(address.repository)
        assert hub_address.is_pinned(address.form) == address.pinned


@pytest.mark.parametrize(("text", "revision"), [one for one in SPELLINGS if one[0] != f"hf://org/name@{COMMIT}"])
def test_a_stack_is_told_the_form_to_write(tmp_path: Path, text: str, revision: str | None) -> None:
    (told,) = [line for line in problems(gke({"a": {"source": text}})) if "models.a.source" in line]
    form = f"hf://org/name@{COMMIT if revision == COMMIT else '<40-hex commit>'}"
    assert form in told
    if "://" in text:
        with pytest.raises(InputError, match="hf://org/name@") as caught:
            origin_of(text) if text.startswith("http") else hub_address.parse(text)
        assert form in str(caught.value)


@pytest.mark.parametrize(("text", "revision"), [one for one in SPELLINGS if "refs" not in one[0]])
def test_a_model_is_resolved_to_its_commit(fake: FakeHub, text: str, revision: str | None) -> None:
    found = resolve(text, policy=QUICK)
    assert found.source == f"hf://org/name@{COMMIT}"
    assert found.license == "apache-2.0"
    assert found.image is not None
    assert (found.image.format, found.image.traits.architecture) == ("safetensors", "LlamaForCausalLM")
    assert found.image.size_bytes > 300_000
    assert {file.path: file.size for file in found.files} == {path: len(content) for path, content in FILES.items()}
    assert {file.path for file in found.files if not file.packed} == {".gitattributes"}


def test_a_renamed_model_is_called_by_its_name_of_today(fake: FakeHub) -> None:
    fake.renamed["old/name"] = "org/name"
    found = resolve("old/name", policy=QUICK)
    assert found.source == f"hf://org/name@{COMMIT}"
    assert "old/name is called org/name now" in found.notes


@pytest.mark.parametrize(
    ("card", "license_"),
    [
        ({"license": ["mit", "apache-2.0"]}, "mit, apache-2.0"),
        ({"license": "other", "license_name": "llama3.3"}, "llama3.3"),
        ({"license": "other", "license_link": "LICENSE"}, "LICENSE"),
        ({"license": "other"}, "other"),
        ({}, ""),
    ],
)
def test_the_licence_is_what_the_card_says(fake: FakeHub, card: dict[str, object], license_: str) -> None:
    fake.models["org/name"].card = card
    assert resolve("org/name", policy=QUICK).license == license_


def test_a_gated_model_is_resolved_and_what_it_needs_is_said(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.models["org/name"].gated = True
    found = resolve("org/name", policy=QUICK)
    assert found.gated
    assert found.source == f"hf://org/name@{COMMIT}"
    assert any("accept its terms at https://huggingface.co/org/name" in line for line in found.lines())
    fake.accounts["hf_x"] = Account(granted={"org/name"})
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    found = resolve("org/name", policy=QUICK)
    assert found.image is not None
    assert found.image.traits.architecture == "LlamaForCausalLM"


def test_what_cannot_be_packed_is_said_of_a_model_that_is_found(fake: FakeHub) -> None:
    fake.models["org/name"].files["models/x.safetensors"] = safetensors_bytes(b"1")
    found = resolve("org/name", policy=QUICK)
    assert any(line.startswith("cannot be packed: ") and "would hide /models" in line for line in found.lines())
    assert found.as_json()["problems"]


def test_a_model_that_is_not_there_is_one_error(fake: FakeHub) -> None:
    with pytest.raises(ImageError, match=r"looking up org/other: no such model, or it is private"):
        resolve("org/other", policy=QUICK)
    with pytest.raises(ImageError, match=r"looking up org/name: there is no such commit"):
        resolve("org/name@v9", policy=QUICK)


def test_the_command_prints_the_pinned_form_and_as_json_every_file(
    fake: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "resolve", "org/name"]) == 0
    said = capsys.readouterr().out.splitlines()
    for line in (f"source: hf://org/name@{COMMIT}", "license: apache-2.0", "format: safetensors", "task: generation"):
        assert line in said
    assert main(["image", "resolve", "org/name", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["source"] == f"hf://org/name@{COMMIT}"
    assert sum(file["size"] for file in answer["files"]) == sum(map(len, FILES.values()))
    assert answer["layers"] == len(answer["layer_sizes"])


def test_the_command_ends_with_2_for_what_is_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "resolve", "gs://bucket/prefix"]) == 2
    assert "names no model of the hub" in capsys.readouterr().err
