"""`oms engine install` against a release on loopback: what it takes, and what it refuses."""

import hashlib
import importlib.metadata
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from oms import engine, engine_release
from oms.main import main

VERSION = importlib.metadata.version("pulumi")
ARCHIVE = f"pulumi-v{VERSION}-linux-x64.tar.gz"
SUMS = f"pulumi-{VERSION}-checksums.txt"
PROGRAM = f"#!/bin/sh\necho v{VERSION}\n".encode()


def packed(*members: tuple[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return buffer.getvalue()


def sums(archive: bytes, name: str = ARCHIVE) -> bytes:
    return f"{'0' * 64}  pulumi-v{VERSION}-darwin-x64.tar.gz\n{hashlib.sha256(archive).hexdigest()}  {name}\n".encode()


class Releases(ThreadingHTTPServer):
    """A release's files; what begins with http is a redirect there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Releases

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        content = self.server.files.get(name)
        self.send_response(404 if content is None else 302 if content.startswith(b"http") else 200)
        if content and content.startswith(b"http"):
            self.send_header("Location", content.decode())
            content = b""
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with Releases() as server:
        monkeypatch.setattr(engine_release, "RELEASES", f"http://127.0.0.1:{server.server_port}/releases/sdk")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def release(releases: Releases) -> Releases:
    """A release as it should be."""
    archive = packed(("pulumi/pulumi", PROGRAM), ("pulumi/pulumi-language-python", b"#!/bin/sh\n"))
    releases.files = {ARCHIVE: archive, SUMS: sums(archive)}
    return releases


def left(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_the_cli_of_the_sdks_version_is_installed_where_it_is_looked_for(
    release: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine.find() is None
    assert main(["engine", "install", "--json"]) == 0

    installed = json.loads(capsys.readouterr().out)
    digest = hashlib.sha256(release.files[ARCHIVE]).hexdigest()
    assert installed == {"path": engine.find(), "version": VERSION, "sha256": digest}
    assert release.asked == [SUMS, ARCHIVE]
    assert (tmp_path / f".pulumi/versions/{VERSION}/bin/pulumi-language-python").stat().st_mode & 0o777 == 0o755

    assert main(["engine", "install"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_archive_of_the_digest_that_was_established_is_taken(release: Releases) -> None:
    digest = hashlib.sha256(release.files[ARCHIVE]).hexdigest()
    assert main(["engine", "install", "--sha256", digest]) == 0


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [("0" * 64, 1, "not that of --sha256: nothing was fetched"), ("sha256:1", 2, "write 64 digits")],
)
def test_a_digest_that_the_release_does_not_list_fetches_nothing(
    release: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, code: int, said: str
) -> None:
    assert main(["engine", "install", "--sha256", given]) == code
    assert said in capsys.readouterr().err
    assert ARCHIVE not in release.asked
    assert left(tmp_path) == []


ESCAPING = packed(("pulumi/../../evil", PROGRAM))
LINKED = packed(("pulumi/pulumi", PROGRAM), link="pulumi/other")
OLDER = packed(("pulumi/pulumi", b"#!/bin/sh\necho v3.0.0\n"))
WHOLE = packed(("pulumi/pulumi", PROGRAM))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({ARCHIVE: WHOLE + b"more", SUMS: sums(WHOLE)}, "which its release lists: nothing was installed"),
        ({ARCHIVE: WHOLE, SUMS: sums(WHOLE, "pulumi-v0-linux-x64.tar.gz")}, "lists no checksums of"),
        ({ARCHIVE: WHOLE, SUMS: sums(WHOLE) + sums(OLDER)}, "lists 2 checksums of"),
        ({ARCHIVE: WHOLE, SUMS: b"x" * 100_000 + b"\n" + sums(WHOLE)}, "lists no checksums of"),
        ({ARCHIVE: WHOLE}, "404"),
        ({SUMS: sums(WHOLE)}, "404"),
        ({ARCHIVE: b"no archive", SUMS: sums(b"no archive")}, "no archive that can be read"),
        ({ARCHIVE: ESCAPING, SUMS: sums(ESCAPING)}, "'pulumi/../../evil', which is no program of it"),
        ({ARCHIVE: LINKED, SUMS: sums(LINKED)}, "'pulumi/other', which is no program of it"),
        ({ARCHIVE: OLDER, SUMS: sums(OLDER)}, "does not start on this machine as version"),
        ({ARCHIVE: b"https://127.0.0.1:1/x", SUMS: sums(WHOLE)}, "leads to https://127.0.0.1"),
    ],
)
def test_what_is_not_what_its_release_says_is_not_installed(
    releases: Releases, tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, bytes], said: str
) -> None:
    releases.files = files
    assert main(["engine", "install"]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert left(tmp_path) == []


@pytest.mark.parametrize("limit", ["_ARCHIVE_LIMIT_BYTES", "_UNPACKED_LIMIT_BYTES"])
def test_what_is_larger_than_any_release_is_given_up(
    release: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    monkeypatch.setattr(engine_release, limit, 20)
    assert main(["engine", "install"]) == 1
    assert "nothing was installed" in capsys.readouterr().err
    assert left(tmp_path) == []


def test_a_machine_that_no_release_is_for_is_told_so(
    release: Releases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert main(["engine", "install"]) == 2
    assert "install it yourself" in capsys.readouterr().err
    assert release.asked == []


def test_releases_are_fetched_over_tls() -> None:
    assert engine_release.RELEASES.startswith("https://")
