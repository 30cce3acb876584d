"""`oms init`: the file that it writes plans without a warning, pins what it names, and replaces no other."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import modelimage
from components.google.accelerators import ACCELERATORS
from components.settings.stack_file import find_project
from oci_model_serving.errors import InputError, OmsError
from oms import pin
from oms.init_file import write_new
from oms.init_model import named
from oms.main import main
from tests.hub import COMMIT, Account, FakeHub
from tests.registry import RegistryServer, running
from tests.serving import ROOT
from tests.weights import safetensors_bytes, write_model

NAME = "acme/Tiny-1B-Instruct"
KEY = "tiny-1b-instruct"
DIGEST = f"sha256:{'a' * 64}"
NAMESPACE = "oci-model-serving:"


def published(**config: Any) -> dict[str, bytes]:
    """A model as it is published, but small."""
    said = {
        "architectures": ["Qwen2ForCausalLM"],
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "hidden_size": 896,
        "max_position_embeddings": 32768,
        "torch_dtype": "bfloat16",
        **config,
    }
    return {
        "config.json": json.dumps(said).encode(),
        "model.safetensors": safetensors_bytes(b"w" * 4000),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
    }


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with FakeHub() as fake:
        fake.add(NAME, published())
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, in a folder of its own, and a registry of servers that knows one digest."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Pulumi.yaml", "__main__.py", "docs", *(path.name for path in ROOT.glob("Pulumi.*.yaml"))):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(pin, "digest_of", lambda _: DIGEST)
    return folder


def wrote(*arguments: str, stack: str = KEY) -> dict[str, Any]:
    """The configuration that `oms init` has written."""
    assert main(["init", "--project", "demo", *arguments]) == 0
    config: dict[str, Any] = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text())["config"]
    return {key.removeprefix(NAMESPACE): value for key, value in config.items()}


def is_clean(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The file plans, and nothing is warned of, neither by the plan nor by the policy."""
    capsys.readouterr()
    assert main(["policy", "--stack", stack]) == 0
    said = capsys.readouterr().err
    assert "warning" not in said
    assert "policy: 0 mandatory, 0 advisory violations" in said


def test_a_model_of_the_hub_is_pinned_and_served_without_a_warning(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    config = wrote("--model", NAME, "--gpu", "l4")

    assert config["gcp:project"] == "demo"
    assert config["models"] == {KEY: {"source": f"hf://{NAME}@{COMMIT}", "sizeGb": 0.1, "nodePool": "l4"}}
    assert config["nodePools"]["l4"]["accelerator"] == "nvidia-l4"
    assert config["platforms"]["kserve"]["server"]["image"] == f"docker.io/vllm/vllm-openai@{DIGEST}"
    said = capsys.readouterr().err
    assert "cost: $" in said
    assert "predicted: cold start" in said
    assert "gcloud compute accelerator-types list --filter=name=nvidia-l4" in said
    hub.forget()
    is_clean(KEY, capsys)
    assert hub.requests == [], "what was asked once is remembered"


def test_the_servers_pin_can_be_refreshed_later(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    wrote("--model", NAME, "--gpu", "l4")

    assert main(["pin", "--check", f"Pulumi.{KEY}.yaml"]) == 0
    assert "vllm-openai:v0.23.0 as it is today" in capsys.readouterr().out


def test_where_no_registry_answers_the_server_is_left_to_its_tag_and_that_is_said(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pin, "digest_of", lambda _: OmsError("no way there"))

    assert "platforms" not in wrote("--model", NAME, "--gpu", "l4")
    assert "left to its tag, docker.io/vllm/vllm-openai:v0.23.0" in capsys.readouterr().err


def test_a_model_without_a_gpu_has_nodes_that_it_fits_on(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    config = wrote("--model", NAME, "--gpu", "cpu")

    assert "nodePools" not in config
    assert config["cluster"]["create"]["systemPool"]["machineType"] == "e2-standard-4"
    assert config["models"][KEY]["resources"]["memory"] == "6Gi"
    is_clean(KEY, capsys)


def test_an_existing_cluster_is_adopted_where_it_is(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--cluster", "theirs", "--location", "europe-west4-b", "--zone", "europe-west4-b")
    config = wrote("--model", NAME, "--gpu", "l4:1", *where)

    assert config["cluster"] == {"name": "theirs", "location": "europe-west4-b"}
    assert config["gcp:region"] == "europe-west4"
    assert config["nodePools"]["l4"]["zones"] == ["europe-west4-b"]
    is_clean(KEY, capsys)


def test_what_fits_is_listed_the_cheapest_first_and_nothing_is_written(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--model", NAME, "--project", "demo", "--gpu", "what-fits"]) == 0

    rows = re.findall(r"^ +\d+ +(\S+).*?(\d+\.\d\d)(?: to (\d+\.\d\d))?  ", capsys.readouterr().err, re.MULTILINE)
    most = [float(high or low) for _, low, high in rows]
    assert len(rows) > 5
    assert most == sorted(most)
    assert not Path(f"Pulumi.{KEY}.yaml").exists()


def test_the_cheapest_is_taken_by_who_says_yes_and_json_tells_all(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--model", NAME, "--project", "demo", "--yes", "--json"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert data["chosen"]["gpu"] == data["options"][0]["gpu"]
    assert Path(data["file"]).is_file()
    told = {one["gpu"]: one["problems"] for one in data["options"]}
    assert "14 attention heads over 4 GPUs" in " ".join(told["nvidia-l4:4"])


def test_promotion_takes_the_image_and_builds_nothing(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    dev = yaml.safe_load(Path("Pulumi.dev.yaml").read_text())
    (key,) = dev["config"][f"{NAMESPACE}models"]
    hub.add("Qwen/Qwen2.5-0.5B-Instruct", published(), commit=dev["config"][f"{NAMESPACE}models"][key]["source"][-40:])
    given = ("--promote-from", "acme/oci-model-serving/dev", "--model", key, "--gpu", "l4", "--stack", "live")
    config = wrote(*given, stack="live")

    (model,) = config["models"].values()
    assert model["fromStack"] == "acme/oci-model-serving/dev"
    assert model["copy"] is True
    assert {"source", "builder"} & set(model) == set()
    is_clean("live", capsys)


def test_a_stack_elsewhere_is_promoted_from_with_the_size_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--promote-from", "acme/other/dev", "--model", "qwen", "--gpu", "l4")
    assert main(["init", "--project", "demo", *given]) == 2
    assert "say it by --size-gb" in capsys.readouterr().err

    config = wrote(*given, "--size-gb", "16", stack="qwen")
    assert config["models"]["qwen"]["sizeGb"] == 16


def test_a_folder_is_named_by_its_path_in_the_project(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(here / "weights" / "Mine")

    config = wrote("--model", "./weights/Mine", "--gpu", "l4", stack="mine")
    assert config["models"]["mine"]["source"] == "weights/Mine"
    is_clean("mine", capsys)


def test_a_gguf_among_several_is_chosen_by_a_pattern(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    gguf = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)
    hub.add("acme/M-GGUF", {"m-Q4_K_M.gguf": gguf, "m-Q8_0.gguf": gguf, "tokenizer.json": b"{}", "config.json": b"{}"})

    assert main(["init", "--project", "demo", "--model", "acme/M-GGUF", "--gpu", "l4"]) == 2
    assert "--allow" in capsys.readouterr().err

    config = wrote("--model", "acme/M-GGUF", "--gpu", "l4", "--allow", "*Q4_K_M*", "--allow", "*.json", stack="m-gguf")
    assert config["models"]["m-gguf"]["files"] == {"allow": ["*Q4_K_M*", "*.json"]}
    is_clean("m-gguf", capsys)


def test_an_embedding_model_is_told_as_one(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("acme/embed", published(architectures=["BertModel"], hidden_size=384, num_attention_heads=12))

    wrote("--model", "acme/embed", "--gpu", "l4", stack="embed")
    assert "BertModel, embedding" in capsys.readouterr().err
    is_clean("embed", capsys)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    yield from running(tmp_path / "registry")


def test_an_image_is_taken_by_the_digest_that_its_tag_has(
    registry: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    image = modelimage.pack(str(write_model(tmp_path / "m")), f"{registry.host}/team/mine:v1")
    project = find_project(ROOT)

    found = named(f"{registry.host}/team/mine:v1", project)
    assert found.settings == {"digest": f"{registry.host}/team/mine@{image.digest}"}
    assert found.size_gb == image.size_bytes / 1e9
    artifact = named(f"oci://{registry.host}/team/mine:v1", project)
    assert artifact.settings == {"source": f"oci://{registry.host}/team/mine@{image.digest}"}
    assert artifact.key == "mine"


def test_what_a_model_says_of_itself_stays_in_its_comment(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("acme/evil", published(architectures=["X\n  gcp:project: theirs\n  #ForCausalLM"]))

    assert wrote("--model", "acme/evil", "--gpu", "l4", stack="evil")["gcp:project"] == "demo"
    assert Path("Pulumi.evil.yaml").read_text().count("gcp:project") == 2


def test_an_image_of_a_known_size_needs_no_registry(capsys: pytest.CaptureFixture[str]) -> None:
    image = f"us-docker.pkg.dev/acme/models/big@{DIGEST}"
    config = wrote("--model", image, "--size-gb", "141.1", "--gpu", "a100-80gb", stack="big")

    assert config["models"]["big"]["digest"] == image
    assert config["nodePools"]["a100-80gb"]["count"] == 4
    is_clean("big", capsys)


@pytest.mark.parametrize("gpu", sorted(ACCELERATORS))
def test_on_every_gpu_a_stack_plans_and_passes_the_policy(gpu: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrote("--model", f"us-docker.pkg.dev/acme/models/big@{DIGEST}", "--size-gb", "40", "--gpu", gpu, stack="big")

    is_clean("big", capsys)


def test_a_gated_model_is_refused_with_the_token_and_the_way_to_it(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.models[NAME].gated = True
    hub.accounts["hf_mine"] = Account(granted={NAME})

    assert main(["init", "--model", NAME, "--project", "demo", "--gpu", "l4"]) == 1
    said = capsys.readouterr().err
    assert f"accept its terms at https://huggingface.co/{NAME}" in said
    assert "read -rs HF_TOKEN && export HF_TOKEN" in said

    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    wrote("--model", NAME, "--gpu", "l4")
    said = capsys.readouterr().err
    assert f"pulumi config set --secret hubToken --stack {KEY}" in said
    assert "hf_mine" not in said + Path(f"Pulumi.{KEY}.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "--model is missing"),
        (["--promote-from", "acme/other/dev", "--size-gb", "1", "--project", "p"], 2, "--model is missing"),
        (
            ["--promote-from", "acme/oci-model-serving/dev", "--model", "chat", "--project", "p"],
            2,
            "stack dev has qwen2.5-0.5b-instruct: write its key there",
        ),
        (["--model", "./nowhere", "--project", "p"], 2, "nowhere is no folder"),
        (["--model", "nowhere", "--project", "p"], 2, "is no folder here, and names no model otherwise: write hf://"),
        (["--model", NAME, "--project", "My Project"], 2, "gcp:project: is 'My Project', which is no project's ID"),
        (["--model", NAME, "--project", "p", "--cluster", "My_Cluster"], 2, "cluster.name: "),
        (["--model", "ftp://x/y", "--project", "p"], 2, "no such kind of source"),
        (["--model", NAME, "--project", "p", "--gpu", "h42"], 2, "is not an accelerator of GKE"),
        (["--model", NAME, "--project", "p", "--gpu", "l4:3"], 2, "write one of nvidia-l4:1, nvidia-l4:2"),
        (["--model", NAME, "--project", "p", "--gpu", "l4", "--location", "mars"], 2, "is 'mars', which is no region"),
        (["--model", NAME, "--project", "p", "--promote-from", "dev"], 2, "write organization/project/stack"),
        (["--model", "acme/none", "--project", "p"], 1, "no such model, or it is private"),
        (["--model", NAME, "--project", "p", "--stack", "dev"], 2, "Pulumi.dev.yaml is there already"),
        (["--model", NAME, "--project", "p", "--stack", "../x"], 2, "is no name of a stack"),
    ],
)
def test_a_wrong_answer_is_told_with_what_to_write(
    hub: FakeHub, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    before = sorted(here.iterdir())

    assert main(["init", *arguments]) == code
    assert told in capsys.readouterr().err
    assert sorted(here.iterdir()) == before


def test_without_a_hub_the_error_says_what_can_be_done(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["init", "--model", NAME, "--project", "demo"]) == 1
    assert "name a folder of weights" in capsys.readouterr().err

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["init", "--model", NAME, "--project", "demo"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


def test_a_commit_and_a_size_are_enough_where_the_hub_cannot_be_reached(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = f"hf://{NAME}@{COMMIT}"
    given = ("--model", pinned, "--size-gb", "16", "--gpu", "l4")
    other = pinned.replace(NAME, "acme/none")
    assert main(["init", "--model", other, *given[2:], "--project", "demo"]) == 1  # the hub answers that there is none
    assert "no such model" in capsys.readouterr().err

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    config = wrote(*given)
    assert config["models"][KEY]["source"] == pinned
    assert config["models"][KEY]["sizeGb"] == 16
    assert "not looked up" in Path(f"Pulumi.{KEY}.yaml").read_text()

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert wrote(*given, "--stack", "again", stack="again")["models"] == config["models"]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    with pytest.raises(TypeError):
        write_new(file, 7)  # type: ignore[arg-type]  # what cannot be written, after the file was made
    assert not file.exists()

    write_new(file, "mine")
    with pytest.raises(InputError, match="is there already"):
        write_new(file, "other")
    assert file.read_text() == "mine"


def commands() -> list[str]:
    """Every `oms init` with options that a page names in a block of a shell."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("oms init --") and "--model" in line]


def test_every_command_of_the_pages_writes_or_lists_what_it_says(
    hub: FakeHub, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-8B"):
        hub.add(name, published())
    write_model(here / "weights")
    found = commands()

    assert len(found) >= 5
    for line in found:
        assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    stacks = {path.name for path in here.glob("Pulumi.*.yaml") if not path.is_symlink()}
    assert stacks == {f"Pulumi.{name}.yaml" for name in ("mine", "chat", "live", "weights")}


START = """
import sys
sys.path[0] = sys.argv.pop(1)
from oms import pin
pin.digest_of = lambda _: "sha256:" + "a" * 64
from oms.main import start
start()
"""


class Terminal:
    """`oms init` on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        line = [sys.executable, "-c", START, str(ROOT), "init", *arguments]
        self.process = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.said = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 120
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self.master], [], [], 0.5)[0]:
                try:
                    self.said += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(self.said) from None

    def answer(self, question: str, answer: str = "") -> None:
        self.until(question)
        self.said = self.said.partition(question)[2]
        os.write(self.master, f"{answer}\n".encode())

    def end(self) -> int:
        code = self.process.wait(120)
        os.close(self.master)
        return code


def test_five_answers_on_a_terminal_make_a_file(hub: FakeHub) -> None:
    terminal = Terminal()
    terminal.answer("Model (", "acme/wrong")
    terminal.until("no such model")
    terminal.answer("Model (", NAME)
    terminal.answer("Promote from", "dev")
    terminal.until("write organization/project/stack")
    terminal.answer("Promote from", "")
    terminal.answer("Google Cloud project", "demo")
    terminal.answer("Cluster: new", "")
    terminal.answer("region, or zone", "")
    terminal.answer("GPU (", "")
    terminal.answer("Which [1]", "2")
    terminal.until("config:")
    terminal.answer("[Y/n]", "y")
    terminal.until("Next:")

    assert terminal.end() == 0
    assert "nvidia-l4" in Path(f"Pulumi.{KEY}.yaml").read_text()


def test_an_interrupt_at_any_question_leaves_no_file(hub: FakeHub, here: Path) -> None:
    before = sorted(here.iterdir())
    terminal = Terminal(
        "--model", NAME, "--project", "demo", "--cluster", "new", "--location", "us-central1", "--gpu", "l4"
    )
    terminal.answer("Promote from", "acme/other/dev")
    terminal.answer("Which", "1")
    terminal.until("[Y/n]")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("interrupted: no file was written")

    assert terminal.end() == 130
    assert sorted(here.iterdir()) == before
