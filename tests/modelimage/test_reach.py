"""What a host that is not reached means, by real failures of sockets and TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from modelimage import ImageError, inspect, pack
from modelimage.patience import GaveUpError, Patience, RetryPolicy, TransientError, retry_after
from modelimage.reach import UnreachableError, unreachable
from tests.weights import write_model

NOWHERE = "does-not-exist.invalid"
QUICK = RetryPolicy(first_seconds=0.01)
DIGEST = f"@sha256:{'a' * 64}"


@pytest.fixture(autouse=True)
def _hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"https://{NOWHERE}")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"https://{NOWHERE}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.parametrize("source", [f"hf://org/name@{'c' * 40}", "gs://bucket/prefix"])
def test_a_source_whose_host_does_not_exist_is_told_in_one_line(tmp_path: Path, source: str) -> None:
    with pytest.raises(ImageError, match=rf"{NOWHERE} cannot be resolved .*: check the name") as caught:
        pack(source, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "\n" not in str(caught.value)


def test_a_registry_that_does_not_exist_is_told_in_one_line(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    asks: list[Callable[[], object]] = [
        partial(pack, str(model), f"{NOWHERE}/models", policy=QUICK),
        partial(pack, str(model), f"oci:{tmp_path / 'image'}", base=f"{NOWHERE}/base{DIGEST}", policy=QUICK),
        partial(inspect, f"{NOWHERE}/models{DIGEST}", policy=QUICK),
    ]
    for ask in asks:
        with pytest.raises(ImageError, match=rf"{NOWHERE} cannot be resolved .*: check the name") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_silent_name_server_is_given_seconds_unless_the_name_was_right_before() -> None:
    error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    first = unreachable(error, "listing", "host.example")
    assert isinstance(first, TransientError)
    assert first.brief
    later = unreachable(error, "listing", "host.example", answered_before=True)
    assert isinstance(later, TransientError)
    assert not later.brief
    policy = RetryPolicy()
    assert [policy.gives_up(attempt, 0, first) for attempt in (1, 2, 3)] == [False, False, True]
    assert policy.gives_up(1, policy.brief_seconds, first)  # a resolver's own time-outs count
    assert not policy.gives_up(7, 1000, later)
    assert policy.gives_up(8, 0, later)


def test_what_is_brief_is_given_up_after_its_own_number_of_attempts() -> None:
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise TransientError("passing", brief=True)

    with pytest.raises(GaveUpError, match="after 3 attempts"):
        Patience(RetryPolicy(first_seconds=0.001)).retrying()(fail)
    assert len(tried) == 3


@contextmanager
def listener(answer: bytes) -> Iterator[str]:
    """A port that says the same to whoever connects, and speaks no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def test_a_port_that_speaks_no_tls_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as host:
        monkeypatch.setenv("HF_ENDPOINT", f"https://{host}")
        with pytest.raises(UnreachableError, match=r"127.0.0.1 speaks no TLS there"):
            pack(f"hf://org/name@{'c' * 40}", f"oci:{tmp_path / 'image'}", policy=RetryPolicy(first_seconds=600))


def test_a_certificate_of_nobody_is_not_tried_again() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    wrapped = OSError("no connection")
    wrapped.__cause__ = error
    found = unreachable(wrapped, "listing", "host.example")
    assert isinstance(found, UnreachableError)
    assert "host.example's certificate is not trusted (self-signed certificate): point SSL_CERT_FILE" in str(found)


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TimeoutError(), ConnectionResetError("reset")])
def test_a_connection_that_breaks_may_pass(error: OSError) -> None:
    found = unreachable(error, "listing", "host.example")
    assert isinstance(found, TransientError)
    assert not found.brief


def test_errors_that_lead_to_each_other_have_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert isinstance(unreachable(one, "listing", "host.example"), TransientError)


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("-1", 0), ("soon", None), ("", None), ("nan", None)])
def test_what_asks_for_no_wait_is_none(said: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": said}) == seconds
