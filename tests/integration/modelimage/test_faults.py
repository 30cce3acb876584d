"""Every fault that a push meets, over a real registry: it is survived with the right digest, or told in one message."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from modelimage import ImageError, copy, pack
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.refusals import RegistryError
from tests.integration.modelimage.proxy import Fault, FaultProxy, Tokens
from tests.registry import RegistryServer
from tests.weights import safetensors_bytes

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(attempts=8, first_seconds=0.05, longest_seconds=1)
UPLOADS = "/blobs/uploads/"


@pytest.fixture
def expected(tmp_path: Path, model: Path) -> str:
    """The digest that the model has when nothing goes wrong."""
    return pack(str(model), f"oci:{tmp_path / 'expected'}", cache=tmp_path / "another-cache").digest


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


FAULTS = {
    "reset in the middle of a layer": [Fault("PATCH", UPLOADS, reset_after=50_000)],
    "reset at the first byte": [Fault("PATCH", UPLOADS, reset_after=0)],
    "reset of several layers": [Fault("PATCH", UPLOADS, times=5, reset_after=30_000)],
    "reset when an upload opens": [Fault("POST", UPLOADS, lose_answer=True)],
    "429 with Retry-After": [Fault("POST", UPLOADS, times=2, status=429, headers={"Retry-After": "0"})],
    "429 in the middle of uploads": [Fault("PATCH", UPLOADS, times=2, status=429, headers={"Retry-After": "0"})],
    "502 when an upload opens": [Fault("POST", UPLOADS, times=3, status=502)],
    "503 while a layer is sent": [Fault("PATCH", UPLOADS, times=2, status=503)],
    "500 when an upload closes": [Fault("PUT", UPLOADS, times=2, status=500)],
    "the closing answer is lost": [Fault("PUT", UPLOADS, lose_answer=True)],
    "the upload is forgotten": [Fault("PUT", UPLOADS, status=404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')],
    "the look for a blob fails": [Fault("HEAD", "/blobs/", times=2, status=503)],
    "the manifest's answer is lost": [Fault("PUT", "/manifests/sha256:", lose_answer=True)],
    "503 for the manifest": [Fault("PUT", "/manifests/", times=3, status=503)],
    "reset of the manifest": [Fault("PUT", "/manifests/", reset_after=10)],
    "reading back fails": [Fault("GET", "/manifests/sha256:", times=2, status=504)],
    "damaged on the way, once": [Fault("PATCH", UPLOADS, corrupt=True)],
    "the upload is forgotten while it is sent": [
        Fault("PATCH", UPLOADS, times=2, status=404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
    ],
    "another replica knows nothing of the upload": [
        Fault("PATCH", UPLOADS, times=2, status=404, body=b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}')
    ],
    "the registry loses what it was to keep": [
        Fault("PUT", UPLOADS, status=404, body=b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
    ],
    "the registry keeps its part of a layer": [Fault("PATCH", UPLOADS, keep_after=50_000)],
    "the registry has less than it says": [Fault("PATCH", UPLOADS, keep_after=50_000, forgetful=True)],
    "Cloudflare waits no longer for the registry": [Fault("PUT", UPLOADS, status=524)],
    "a slow registry": [Fault("PATCH", UPLOADS, times=4, delay=0.7), Fault("PUT", UPLOADS, delay=0.7)],
    "everything at once": [
        Fault("POST", UPLOADS, status=503),
        Fault("PATCH", UPLOADS, times=2, reset_after=70_000),
        Fault("PUT", UPLOADS, lose_answer=True),
        Fault("PUT", "/manifests/", status=500),
    ],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_passing_fault_is_survived_with_the_right_digest(
    registry: RegistryServer, proxy: FaultProxy, model: Path, expected: str, name: str
) -> None:
    proxy.faults = [Fault(**vars(fault)) for fault in FAULTS[name]]
    image = pack(str(model), f"{proxy.host}/m:v1", policy=QUICK)
    assert image.digest == expected
    assert all(fault.times == 0 for fault in proxy.faults), "the fault did not strike"
    assert registry.manifest("m", "v1").headers["docker-content-digest"] == expected


def test_bytes_that_are_changed_on_the_way_again_and_again_are_found_out(
    registry: RegistryServer, proxy: FaultProxy, model: Path
) -> None:
    proxy.faults = [Fault("PATCH", UPLOADS, times=99, corrupt=True)]
    with pytest.raises(ImageError, match=r"model-0000\d-of-00003.safetensors.*, twice: something .*DIGEST_INVALID"):
        pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1)
    assert proxy.count("PATCH", UPLOADS) == 2
    assert registry.tags("m") == []


@pytest.mark.parametrize("where", ["source", "destination"])
def test_a_copy_that_was_damaged_once_is_made_again(
    registry: RegistryServer, proxy: FaultProxy, model: Path, tmp_path: Path, expected: str, where: str
) -> None:
    pack(str(model), f"{registry.host}/m:v1")
    with RegistryServer(tmp_path / "other") as other, FaultProxy(other.host) as there:
        if where == "source":
            fault = Fault("GET", "/blobs/", damage=True)
            proxy.faults = [Fault("GET", "/blobs/"), fault]  # the first is the configuration, which is looked at before
        else:
            fault = Fault("PUT", UPLOADS, corrupt=True)
            there.faults = [fault]
        assert copy(f"{proxy.host}/m@{expected}", f"{there.host}/m", policy=QUICK).digest == expected
        assert fault.times == 0
        assert other.manifest("m", expected).headers["docker-content-digest"] == expected


def test_an_upload_goes_on_from_what_the_registry_says_it_has(
    registry: RegistryServer, proxy: FaultProxy, large_model: Path, tmp_path: Path
) -> None:
    proxy.faults = [Fault("PATCH", UPLOADS, keep_after=size) for size in (6_000_000, None) * 3]
    image = pack(str(large_model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1)
    assert image.digest == pack(str(large_model), f"oci:{tmp_path / 'expected'}", cache=tmp_path / "other").digest
    assert proxy.count("GET", UPLOADS) == 3
    assert proxy.body_bytes < image.size_bytes + 100_000, "nothing is sent twice"


def test_at_artifact_registry_an_upload_that_broke_begins_anew(
    proxy: FaultProxy, model: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelimage.uploads.is_google", lambda _: True)
    proxy.faults = [Fault("PATCH", UPLOADS, times=2, keep_after=50_000)]
    assert pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1).digest == expected
    assert proxy.count("GET", UPLOADS) == 0


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_an_upload_is_followed_to_the_host_that_it_is_sent_to(
    registry: RegistryServer, proxy: FaultProxy, model: Path, expected: str, method: str
) -> None:
    with FaultProxy(registry.host) as other:
        # A relative Location is one of the host that answers: there the upload was opened, and there alone.
        other.relative_locations = True
        proxy.faults = [Fault(method, UPLOADS, times=2, lead_to=other.host)]
        assert pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1).digest == expected
        assert other.count(method, UPLOADS) >= 2
        if method == "POST":
            assert proxy.count("PATCH", UPLOADS) == 2
            assert other.count("PATCH", UPLOADS) == 2
    assert registry.manifest("m", "v1").headers["docker-content-digest"] == expected


def test_a_body_is_sent_anew_and_without_our_password_where_a_redirect_leads_elsewhere(
    registry: RegistryServer, proxy: FaultProxy, model: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    with FaultProxy(registry.host, Tokens({"me": "pw"})) as guarded:
        guarded.faults = [Fault("PATCH", UPLOADS, times=2, lead_to=proxy.host)]
        assert pack(str(model), f"{guarded.host}/m:v1", policy=QUICK, jobs=1).digest == expected
    assert proxy.count("PATCH", UPLOADS) == 2
    assert set(proxy.authorizations) == {""}


def test_who_is_led_round_in_circles_is_told(proxy: FaultProxy, model: Path) -> None:
    proxy.faults = [Fault("POST", UPLOADS, times=999, lead_to=proxy.host)]
    with pytest.raises(RegistryError, match="sends from one address to the next"):
        pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1)


IMPATIENT = replace(QUICK, silence_seconds=0.4)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PATCH", UPLOADS, delay=3),
        Fault("POST", UPLOADS, delay=3),
        Fault("PUT", "/manifests/sha256:", delay=3),
        Fault("PATCH", UPLOADS, times=2, delay=3),
    ],
    ids=["sending", "opening", "manifest", "sending twice"],
)
def test_a_connection_that_moves_nothing_is_given_up_within_its_time(
    registry: RegistryServer, proxy: FaultProxy, large_model: Path, tmp_path: Path, fault: Fault
) -> None:
    proxy.faults = [replace(fault)]
    teller = Teller()
    image = pack(str(large_model), f"{proxy.host}/m:v1", policy=IMPATIENT, reporter=teller, jobs=1)
    assert any("timed out" in line and "trying again" in line for line in teller.lines), teller.lines
    assert image.digest == pack(str(large_model), f"oci:{tmp_path / 'expected'}", cache=tmp_path / "other").digest
    assert registry.manifest("m", "v1").headers["docker-content-digest"] == image.digest


def test_a_registry_that_hashes_before_it_answers_is_given_its_time(
    proxy: FaultProxy, large_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelimage.transport._SLOWEST_BYTES_PER_SECOND", 2_000_000)
    proxy.faults = [Fault("PUT", UPLOADS, times=1, delay=1.5)]  # 8 MB: 4 s beyond the silence
    pack(str(large_model), f"{proxy.host}/m:v1", policy=IMPATIENT, jobs=1)
    assert proxy.count("PUT", UPLOADS) == 6


def test_a_download_that_falls_silent_is_taken_up_where_it_was(
    registry: RegistryServer, proxy: FaultProxy, tmp_path: Path, model: Path, expected: str
) -> None:
    pack(str(model), f"{registry.host}/m:v1")
    proxy.faults = [Fault("GET", "/blobs/", times=3, stall_answer_after=60_000)]
    copied = copy(f"{proxy.host}/m@{expected}", f"oci:{tmp_path / 'copied'}", policy=IMPATIENT)
    assert copied.digest == expected


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_limit_of_a_request_names_the_layer(
    registry: RegistryServer, proxy: FaultProxy, model: Path, method: str
) -> None:
    body = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
    proxy.faults = [Fault(method, UPLOADS, times=99, status=413, headers={"Content-Type": "text/html"}, body=body)]
    with pytest.raises(RegistryError) as caught:
        pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1)
    message = str(caught.value)
    assert "pushing model-00001-of-00003.safetensors: the registry answered 413" in message
    assert "raise that limit (nginx: client_max_body_size 0)" in message
    assert "model-00001-of-00003.safetensors is a layer of " in message
    assert "--shard-gb" not in message  # which makes no layer smaller than this one
    assert proxy.count(method, UPLOADS) == 1
    assert registry.tags("m") == []


def test_a_retry_is_told_with_its_layer_and_the_registrys_words(proxy: FaultProxy, model: Path) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
    proxy.faults = [Fault("PATCH", UPLOADS, status=429, headers={"Retry-After": "0"}, body=body)]
    teller = Teller()
    pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, reporter=teller, jobs=1)
    assert teller.lines[1].startswith("pushing model-0000")
    assert "429 Too Many Requests: TOOMANYREQUESTS: slow down: trying again (2 of 8)" in teller.lines[1]


def test_a_fault_that_lasts_ends_with_one_message_and_no_tag(
    registry: RegistryServer, proxy: FaultProxy, model: Path
) -> None:
    body = b'{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}'
    proxy.faults = [Fault("PATCH", UPLOADS, times=999, status=500, body=body)]
    with pytest.raises(ImageError) as caught:
        pack(str(model), f"{proxy.host}/m:v1", policy=RetryPolicy(attempts=2, first_seconds=0.01), jobs=1)
    message = str(caught.value)
    assert "pushing model-00001-of-00003.safetensors" in message
    assert "UNKNOWN: no space left on device" in message
    assert "gave up after 2 attempts; run the same command again" in message
    assert registry.tags("m") == []
    assert registry.manifest("m", "v1").status_code == 404


def test_a_refusal_is_told_at_once_and_stops_the_other_layers(
    registry: RegistryServer, proxy: FaultProxy, model: Path
) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"read only"}]}'
    proxy.faults = [Fault("POST", UPLOADS, times=99, status=403, body=body)]
    with pytest.raises(ImageError, match=r"DENIED: read only.*writer role"):
        pack(str(model), f"{proxy.host}/m:v1", policy=QUICK, jobs=1)
    assert proxy.count("POST", UPLOADS) == 1
    assert registry.tags("m") == []


def test_an_immutable_tag_is_told_with_the_reference_that_was_pushed(
    proxy: FaultProxy, model: Path, expected: str
) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"tag is immutable"}]}'
    proxy.faults = [Fault("PUT", "/manifests/v1", times=99, status=400, body=body)]
    with pytest.raises(RegistryError, match="tag is immutable") as caught:
        pack(str(model), f"{proxy.host}/m:v1", policy=QUICK)
    assert f"{proxy.host}/m@{expected}" in str(caught.value)


def test_an_immutable_tag_that_is_right_already_is_left_alone(proxy: FaultProxy, model: Path, expected: str) -> None:
    pack(str(model), f"{proxy.host}/m:v1", policy=QUICK)
    proxy.faults = [Fault("PUT", "/manifests/(v1|digest-)", times=99, status=400)]
    assert pack(str(model), f"{proxy.host}/m:v1", policy=QUICK).digest == expected


def test_tokens_that_expire_in_mid_push_are_fetched_anew(
    registry: RegistryServer, model: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    tokens = Tokens({"me": "pw"})
    with FaultProxy(registry.host, tokens) as proxy:
        # After an upload opened, before its bytes are sent; and between the bytes and the closing request.
        proxy.faults = [
            Fault("POST", UPLOADS, times=2, then=lambda: threading.Timer(0, tokens.expire).run()),
            Fault("PATCH", UPLOADS, times=3, then=tokens.expire),
            Fault("PUT", "/manifests/", then=tokens.expire),
        ]
        image = pack(str(model), f"{proxy.host}/m:v1", policy=QUICK)
    assert image.digest == expected
    assert tokens.issued > 4


def test_a_registry_that_restarts_in_mid_push_is_waited_for(
    registry: RegistryServer, proxy: FaultProxy, model: Path, expected: str
) -> None:
    def restart() -> None:
        registry.stop()
        threading.Timer(1.0, registry.start).start()

    proxy.faults = [Fault("PATCH", UPLOADS, reset_after=40_000, then=restart)]
    image = pack(str(model), f"{proxy.host}/m:v1", policy=RetryPolicy(attempts=8, first_seconds=0.3))
    assert image.digest == expected
    assert registry.manifest("m", "v1").headers["docker-content-digest"] == expected


def test_a_download_that_breaks_off_is_taken_up_again(
    registry: RegistryServer, proxy: FaultProxy, tmp_path: Path, model: Path, expected: str
) -> None:
    pack(str(model), f"{registry.host}/m:v1")
    proxy.faults = [Fault("GET", "/blobs/", times=3, cut_answer_after=60_000)]
    copied = copy(f"{proxy.host}/m@{expected}", f"oci:{tmp_path / 'copied'}", policy=QUICK)
    assert copied.digest == expected


# A run that is ended from outside, as its own process: the model is large enough to be caught in mid-push.


@pytest.fixture
def large_model(tmp_path: Path) -> Path:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for number in (1, 2, 3):
        (folder / f"model-{number}.safetensors").write_bytes(safetensors_bytes(bytes([number]) * 8_000_000))
    return folder


def start(model: Path, destination: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "modelimage", "pack", str(model), destination, "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_second_layer(proxy: FaultProxy) -> None:
    deadline = time.monotonic() + 30
    while proxy.count("PATCH", UPLOADS) < 2:
        assert time.monotonic() < deadline, proxy.log
        time.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_no_tag_and_a_rerun_completes(
    registry: RegistryServer, proxy: FaultProxy, large_model: Path, tmp_path: Path, end: signal.Signals
) -> None:
    proxy.faults = [Fault("PATCH", UPLOADS, times=1), Fault("PATCH", UPLOADS, delay=1.0)]
    time.sleep(2.1)  # the files must be old enough for their digests to be remembered
    process = start(large_model, f"{proxy.host}/m:v1")
    wait_for_second_layer(proxy)
    process.send_signal(end)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if end is signal.SIGKILL else 130), err
    assert out == ""
    assert "Traceback" not in err
    if end is not signal.SIGKILL:
        assert "interrupted: no manifest and no tag was written; run the same command again" in err
    assert registry.tags("m") == []
    proxy.faults.clear()
    again = pack(str(large_model), f"{proxy.host}/m:v1")
    assert [layer.uploaded for layer in again.layers].count(False) == 1
    assert again.digest == pack(str(large_model), f"oci:{tmp_path / 'expected'}", cache=tmp_path / "other").digest


def test_a_layout_that_a_run_was_killed_in_does_not_look_whole(tmp_path: Path, large_model: Path) -> None:
    target = tmp_path / "image"
    program = (
        "import sys, time\n"
        "from modelimage import pack\n"
        "from modelimage.progress import Reporter\n"
        "class Slow(Reporter):\n"
        "    def finished(self, title, outcome):\n"
        "        print('one', flush=True); time.sleep(60)\n"
        "pack(sys.argv[1], 'oci:' + sys.argv[2], reporter=Slow(), jobs=1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(large_model), str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "one\n"
    process.kill()
    process.wait(timeout=60)
    process.stdout.close()
    assert not (target / "index.json").exists()
    image = pack(str(large_model), f"oci:{target}")
    assert image.digest == pack(str(large_model), f"oci:{tmp_path / 'expected'}", cache=tmp_path / "other").digest
