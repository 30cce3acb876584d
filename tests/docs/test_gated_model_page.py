"""docs/gated-model.md, followed step by step: against a gated hub on loopback, and planned as it is written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelimage import pack
from modelimage.errors import ImageError
from modelimage.patience import RetryPolicy
from oms.main import main
from tests.hub import COMMIT, Account, FakeHub
from tests.modelimage.servers import Answer
from tests.serving import ROOT
from tests.weights import safetensors_bytes

PAGE = (ROOT / "docs" / "gated-model.md").read_text(encoding="utf-8")
STACK, A100 = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
EXAMPLE = (ROOT / "examples" / "gated-70b" / "Pulumi.gated-70b.yaml").read_text(encoding="utf-8")
MODEL = "meta-llama/Llama-3.3-70B-Instruct"
PINNED = "6f6073b423013f6a7d4d9f39144961bfbfbc386b"
SOURCE = f"hf://{MODEL}@{COMMIT}"
QUICK = RetryPolicy(attempts=2, first_seconds=0.01)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """The model as it is published, but small: shards, an index and the second copy."""
    shards = [f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)]
    files = {name: safetensors_bytes(name.encode() * 10_000) for name in shards}
    index = json.dumps({"weight_map": {f"t{number}": name for number, name in enumerate(shards)}})
    documents = {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "model.safetensors.index.json": index.encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
    }
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with FakeHub() as fake:
        fake.add(MODEL, {**files, **documents}, gated=True, card={"license": "llama3.3"})
        fake.accounts["hf_mine"] = Account(granted={MODEL})
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


def stack(pool: str = "h100", **model: object) -> dict[str, Any]:
    """The page's stack, on one of its pools."""
    settings: dict[str, Any] = yaml.safe_load(STACK.replace(PINNED, COMMIT))
    config: dict[str, Any] = settings["config"]
    if pool == "a100":
        config["oci-model-serving:nodePools"] = yaml.safe_load(A100)
    (key,) = config["oci-model-serving:models"]
    served = config["oci-model-serving:models"][key]
    del served["sizeGb"]  # what the hub says is then the size
    served |= {"nodePool": pool, **model}
    return settings


def planned(settings: dict[str, Any], folder: Path) -> int:
    file = folder / "Pulumi.llama.yaml"
    file.write_text(yaml.safe_dump(settings))
    return main(["plan", "--stack", "llama", "--config-file", str(file)])


def test_the_stack_of_the_page_is_the_examples() -> None:
    assert yaml.safe_load(STACK) == yaml.safe_load(EXAMPLE)
    assert f"hf://{MODEL}@{PINNED}" in STACK


@pytest.mark.parametrize(("pool", "machine"), [("a100", "a2-ultragpu-4g"), ("h100", "a3-highgpu-8g")])
def test_the_stack_of_the_page_holds_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pool: str, machine: str
) -> None:
    assert planned(stack(pool, sizeGb=141.1), tmp_path) == 0, capsys.readouterr().err
    assert machine in capsys.readouterr().out


def test_a_disk_that_does_not_hold_it_is_refused_with_the_number_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = stack("a100", sizeGb=141.1)
    pool = settings["config"]["oci-model-serving:nodePools"]["a100"]
    pool |= {"machineType": "a2-ultragpu-4g-nolssd", "bootDisk": {"sizeGb": 300}}
    assert planned(settings, tmp_path) == 2
    assert re.search(r"nodePools\.a100.*write sizeGb: \d+ or more", capsys.readouterr().err)


def test_the_plan_says_what_the_image_will_be_once_the_token_is_there(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(stack(), tmp_path) == 0
    assert "the image size of llama-3.3-70b-instruct is known only after" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert planned(stack(), tmp_path) == 0
    said = capsys.readouterr().err
    assert re.search(r"models\.llama-3\.3-70b-instruct: 0\.0 GB in 5 layers, .*safetensors, LlamaForCausalLM", said)
    assert "hf_mine" not in said


def test_the_model_is_looked_up_without_a_token_and_packed_with_one(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = re.findall(r"^oms (image resolve \S+)$", PAGE, re.MULTILINE)
    assert main(command.split()) == 0
    said = capsys.readouterr().out
    assert SOURCE in said
    assert "license: llama3.3" in said
    with pytest.raises(ImageError, match="the model is gated: accept its terms"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert len(image.layers) == 5
    assert not any("authorization" in request.headers for request in hub.elsewhere)


def refusals() -> list[tuple[str, str, Account | None, str]]:
    """Each way to be refused that the page has a row for: token, source, account, and the row's message."""
    rows = re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE)
    how: dict[str, tuple[str, str, Account | None]] = {
        "the model is gated": ("", SOURCE, None),
        "the hub does not know": ("hf_gone", SOURCE, None),
        "not in the authorized list": ("hf_x", SOURCE, Account()),
        "awaiting a review": ("hf_x", SOURCE, Account(pending={MODEL})),
        "Please enable access": ("hf_x", SOURCE, Account(granted={MODEL}, reads_gated=False)),
        "no such model": ("", f"hf://meta-llama/Llama-3.3@{COMMIT}", None),
        "there is no such commit": ("", f"hf://{MODEL}@{'d' * 40}", None),
        "cannot be resolved": ("", SOURCE, None),
        "not sent without TLS": ("hf_x", SOURCE, None),
    }
    return [(*next(case for words, case in how.items() if words in row), row) for row in rows]


@pytest.mark.parametrize(("token", "source", "account", "row"), refusals(), ids=lambda value: str(value)[:40])
def test_each_refusal_of_the_page_is_the_one_that_is_met(
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    source: str,
    account: Account | None,
    row: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    if account:
        hub.accounts[token] = account
    if "resolved" in row or "TLS" in row:
        monkeypatch.setenv("HF_ENDPOINT", f"http{'s' if 'resolved' in row else ''}://hub.invalid")
    with pytest.raises(Exception, match=".*".join(re.escape(part.strip()) for part in row.split("…"))) as caught:
        pack(source, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "\n" not in str(caught.value)


def test_a_busy_hub_is_waited_for(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    hub.next = [Answer(429, b"Too many requests", {"Retry-After": "0"})]
    assert pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK).digest
