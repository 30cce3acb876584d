"""Packing in Cloud Build, by Google's own clients, against Google's API on loopback."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, cloud_build
from modelimage.cloud_build import BuildPlace, make_build, pack_in_cloud_build
from modelimage.convert import REQUIREMENTS
from modelimage.progress import Reporter
from modelimage.traits import Traits
from modelimage.transfer import Inspection
from oci_model_serving.errors import InputError
from tests.google import clients, faults
from tests.google.endpoints import Loopback, loopback
from tests.google.errors import GoogleError

SOURCE = "hf://org/name@" + "c" * 40
DIGEST = "sha256:" + "d" * 64
PLACE = BuildPlace("project", "us-central1")
FILES = {"allow": ["$x"], "ignore": ["*.bin"], "convert": True, "shard_gb": 4}


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def inspect(reference: str, **options: Any) -> Inspection:
        assert options["require_digest_tag"] is True
        asked.append(reference)
        return Inspection(DIGEST, "the image", 7, ())

    monkeypatch.setattr(cloud_build, "inspect", inspect)
    return asked


@pytest.fixture
def google() -> Iterator[Loopback]:
    with loopback() as google:
        google.script.output = json.dumps({"digest": DIGEST, "size_bytes": 7}).encode()
        yield google
        assert google.violations == []


def run(
    google: Loopback,
    reporter: Teller | None = None,
    sleep: Callable[[float], None] = lambda _: None,
    place: BuildPlace = PLACE,
    source: str = SOURCE,
    files: dict[str, Any] | None = None,
) -> Any:
    return pack_in_cloud_build(
        source,
        "us-docker.pkg.dev/p/models/qwen:v1",
        place,
        files=files,
        client=clients.cloud_build(google),
        log_client=clients.storage_client(google, PLACE.project),
        reporter=reporter or Teller(),
        sleep=sleep,
    )


def test_the_digest_of_the_build_is_looked_up_in_the_registry(google: Loopback, inspected: list[str]) -> None:
    assert run(google).reference == "the image"
    assert inspected == [f"us-docker.pkg.dev/p/models/qwen@{DIGEST}"]
    (build,) = google.named("cloudbuild")
    assert build.startswith("projects/project/locations/us-central1/builds/")


def test_what_the_build_saw_of_the_files_is_told(google: Loopback, inspected: list[str]) -> None:
    assert run(google).traits == Traits()  # of an output that has none
    traits = {"task": "embedding", "weights_file": "m.gguf", "has_config": True}
    google.script.output = json.dumps({"digest": DIGEST, "size_bytes": 7, "traits": traits}).encode()
    assert run(google).traits == Traits(task="embedding", weights_file="m.gguf", has_config=True)


def test_the_log_is_handed_on_line_by_line_while_it_grows(google: Loopback, inspected: list[str]) -> None:
    google.script.log = [b"one\ntw", b"", b"o\nthree"]
    teller = Teller()
    run(google, teller)
    assert teller.lines[1:] == ["one", "two", "three"]
    assert "https://console.cloud.google.com/cloud-build/builds" in teller.lines[0]


@pytest.mark.parametrize("refusal", [faults.denied("storage.objects.get", "log"), faults.busy()])
def test_a_log_that_may_not_be_read_does_not_stop_the_build(
    google: Loopback, inspected: list[str], refusal: GoogleError
) -> None:
    google.script.log = [b"one\n", b"two\n"]
    google.faults.refusing = {"storage.objects.get": [refusal]}
    assert run(google).reference == "the image"


@pytest.mark.parametrize("state", ["FAILURE", "TIMEOUT", "CANCELLED", "INTERNAL_ERROR", "EXPIRED"])
def test_a_build_that_ends_badly_is_told_with_its_log(google: Loopback, inspected: list[str], state: str) -> None:
    google.script.ends = state
    google.script.detail = "step exited with 1"
    expected = f"ended as {state}: step exited with 1: read its log at https://console.cloud.google.com/cloud-build/"
    with pytest.raises(ImageError, match=expected):
        run(google)
    assert inspected == []


def test_a_secret_that_the_build_may_not_read_is_told_with_the_role_that_does(
    google: Loopback, inspected: list[str]
) -> None:
    name = "projects/project/secrets/hf/versions/1"
    place = BuildPlace("project", "us-central1", hf_token_secret=name)
    with pytest.raises(ImageError, match=f"{name}.*: .* the build's account roles/secretmanager.secretAccessor$"):
        run(google, place=place)
    google.state.put("secretmanager", name, {"name": name, "state": "ENABLED"})
    assert run(google, place=place).reference == "the image"


@pytest.mark.parametrize("output", [b"", b"{}", b'{"digest": "latest", "size_bytes": 1}', b"hello"])
def test_a_build_without_a_digest_is_not_believed(google: Loopback, inspected: list[str], output: bytes) -> None:
    google.script.output = output
    with pytest.raises(ImageError, match="left no digest"):
        run(google)
    assert inspected == []


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (
            faults.denied("cloudbuild.builds.create", "projects/project"),
            r"'cloudbuild.builds.create' denied .*: check that cloudbuild.googleapis.com is enabled in the project and "
            r"that the account may create builds \(roles/cloudbuild.builds.editor\)$",
        ),
        (
            faults.api_off("Cloud Build API", "cloudbuild", "project"),
            "cloudbuild.googleapis.com is not enabled: `gcloud services enable cloudbuild.googleapis.com --project "
            "project`, wait a minute, run again$",
        ),
        (faults.busy(), "The service is currently unavailable: run again in a few minutes$"),
        (faults.too_many("Build create requests", "cloudbuild"), "Quota exceeded .*: run again in a few minutes$"),
        (
            faults.org_policy("constraints/cloudbuild.allowedIntegrations", "project", "Not allowed."),
            "Constraint constraints/cloudbuild.allowedIntegrations violated .*: check that",
        ),
    ],
    ids=["permission", "api off", "503", "429", "organisation policy"],
)
def test_a_refused_build_is_told_in_one_line_with_what_to_do(google: Loopback, refusal: GoogleError, told: str) -> None:
    google.faults.refusing = {"cloudbuild.projects.builds.create": [refusal]}
    with pytest.raises(ImageError, match=told) as failed:
        run(google)
    assert "\n" not in str(failed.value)
    assert google.url not in str(failed.value)


def test_a_service_that_is_busy_for_a_moment_while_one_waits_is_asked_again(
    google: Loopback, inspected: list[str]
) -> None:
    google.faults.refusing = {"cloudbuild.projects.locations.builds.get": [faults.busy(), faults.busy()]}
    assert run(google).reference == "the image"


@pytest.mark.parametrize("refused", [False, True])
def test_an_interrupt_cancels_the_build(google: Loopback, refused: bool) -> None:
    google.faults.refusing = {"cloudbuild.projects.builds.cancel": [faults.denied("b", "p")] if refused else []}

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(google, sleep=interrupted)
    (build,) = google.named("cloudbuild").values()
    assert build["status"] == ("WORKING" if refused else "CANCELLED")


def test_the_request_carries_what_was_asked_for_within_the_limits() -> None:
    place = BuildPlace(
        "project",
        "us-central1",
        service_account="builder@project.iam.gserviceaccount.com",
        machine_type="E2_HIGHCPU_8",
        disk_gb=500,
        timeout_seconds=600,
        step_image="mirror.example/python@" + DIGEST,
        hf_token_secret="projects/p/secrets/hf/versions/1",
    )
    build = make_build(SOURCE, "h.example/r:t", place, base="h.example/b@" + DIGEST, files=FILES)
    step = build.steps[0]
    assert len(step.args) <= 100
    assert max(len(argument) for argument in step.args) <= 10_000
    job = step.args[3 + int(step.args[2])]
    assert "$$x" in job
    assert json.loads(job.replace("$$", "$")) == {
        "source": SOURCE,
        "destination": "h.example/r:t",
        "base": "h.example/b@" + DIGEST,
        **FILES,
    }
    assert step.name == place.step_image
    assert step.secret_env == ["HF_TOKEN"]
    assert build.available_secrets.secret_manager[0].version_name == place.hf_token_secret
    assert build.service_account == "projects/project/serviceAccounts/builder@project.iam.gserviceaccount.com"
    assert build.options.machine_type.name == "E2_HIGHCPU_8"
    assert build.options.disk_size_gb == 500
    assert build.timeout.seconds == 600


def test_a_conversion_installs_what_it_needs_and_nothing_else_does() -> None:
    plain, converting = (make_build(SOURCE, "h.example/r:t", PLACE, files=one).steps[0].args for one in ({}, FILES))
    assert set(REQUIREMENTS) <= set(converting)
    assert not set(REQUIREMENTS) & set(plain)


@pytest.mark.parametrize("installed", [False, True])
def test_the_step_really_packs_when_its_arguments_are_run(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """The step's own program, run here: only pip is a stand-in, since the requirements are installed already."""
    if not installed:
        monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.0.0")
    step = make_build(str(model), f"oci:{tmp_path / 'image'}", PLACE).steps[0]
    arguments = [argument.replace("$$", "$").replace("/workspace", str(tmp_path)) for argument in step.args]
    (tmp_path / "output").mkdir()
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "pip.py").write_text(
        f"import sys; open({str(tmp_path / 'pip-arguments')!r}, 'w').write(' '.join(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "BUILDER_OUTPUT": str(tmp_path / "output")},
        # `python -m pip` finds the stand-in here first; and the packer's code must come from the arguments alone.
        cwd=tmp_path / "stand-in",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    output = json.loads((tmp_path / "output" / "output").read_text())
    assert output["digest"].startswith("sha256:")
    assert (tmp_path / "image" / "index.json").exists()
    assert (tmp_path / "pip-arguments").exists() is not installed
    if not installed:
        assert "httpx==" in (tmp_path / "pip-arguments").read_text()


def test_a_step_that_cannot_pack_says_so_and_fails_the_build(tmp_path: Path) -> None:
    job = json.dumps({"source": str(tmp_path / "nothing"), "destination": f"oci:{tmp_path / 'image'}"})
    command = [sys.executable, "-m", "modelimage.build_step", job]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_code_that_travels_is_the_same_each_time_and_holds_what_packs_and_nothing_else() -> None:
    one, two = (make_build(SOURCE, "h.example/r", PLACE).steps[0].args for _ in range(2))
    assert list(one) == list(two)
    parts = int(one[2])
    with zipfile.ZipFile(io.BytesIO(base64.b64decode("".join(one[3 : 3 + parts])))) as archive:
        names = set(archive.namelist())
    program = (
        "import sys, modelimage.build_step, modelimage.shares, modelimage.hub, modelimage.bucket\n"
        "import modelimage.compile_cache\n"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] in ('modelimage', 'oci_model_serving'):\n"
        "        print('/'.join(module.__file__.split('/')[-2:]))"
    )
    needed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert names == set(needed.stdout.split())


def test_an_artifact_of_a_registry_is_packed_in_a_build_and_one_on_this_disk_is_not(
    google: Loopback, inspected: list[str]
) -> None:
    image = f"h.example/models@{DIGEST}"
    assert run(google, source=f"oci://{image}").reference == "the image"
    with pytest.raises(InputError, match="give one in a registry, oci://…"):
        pack_in_cloud_build(f"oci:folder@{DIGEST}", "h.example/r", PLACE, client=None)


def test_the_artifact_beside_the_image_is_asked_for_and_told(google: Loopback, inspected: list[str]) -> None:
    told = {"digest": DIGEST, "size_bytes": 7, "modelpack": f"h.example/r@{DIGEST}"}
    google.script.output = json.dumps(told).encode()
    form = {"modelpack": True, "platform": "linux/arm64"}
    image = run(google, files=form)
    assert image.modelpack == told["modelpack"]
    step = make_build(SOURCE, "h.example/r", PLACE, files=form).steps[0]
    job = json.loads(step.args[3 + int(step.args[2])])
    assert {key: job[key] for key in form} == form
    with pytest.raises(InputError, match="give one of at most 118"):
        pack_in_cloud_build(SOURCE, f"h.example/r:{'a' * 119}", PLACE, files=form, client=None)


def test_what_cannot_work_in_a_build_is_refused_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack_in_cloud_build(
            str(tmp_path),
            "oci:layout",
            BuildPlace("p", "r", machine_type="HUGE", timeout_seconds=1),
            base="oci:base@" + DIGEST,
            client=None,
        )
    assert len(caught.value.problems) == 5
