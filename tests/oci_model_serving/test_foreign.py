"""Words and documents of others: what is shown of them, and what is read of them."""

import base64
from pathlib import Path

import pytest

from oci_model_serving import foreign
from oci_model_serving.errors import InputError, OmsError

HOSTILE = "\x1b[2J\x1b]0;t\x07 \x9b31m \u202egnp.exe\u2066 \r\0 \ud800"


def test_an_error_is_in_lines_that_no_terminal_obeys() -> None:
    said = str(OmsError(f"first\t{HOSTILE}\nsecond"))
    assert said.split("\n") == [
        "first \\x1b[2J\\x1b]0;t\\x07 \\x9b31m \\u202egnp.exe\\u2066 \\r\\x00 \\ud800",
        "second",
    ]
    assert str(InputError("a\x1b", "b")) == "a\\x1b\nb"
    said.encode()


def test_what_is_in_one_line_stays_in_it_and_is_short() -> None:
    assert foreign.in_line("a\n\tb\x1b  c") == "a b\\x1b c"
    long = foreign.in_line("begin " + "x" * 10_000_000 + " end", 30)
    assert long.startswith("begin xxxx …")
    assert len(long) <= 33


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"[-Infinity]", b"1e999", b"9" * 5000, b"{", b"\xff", b"", b'{"a"}'],
)
def test_what_no_honest_program_writes_is_no_json(content: bytes) -> None:
    with pytest.raises(ValueError):
        foreign.read_json(content)


def test_honest_json_is_read() -> None:
    assert foreign.read_json('{"a": [1, -2.5e3, true, null, "\\u00e9"]}') == {"a": [1, -2500.0, True, None, "é"]}


def test_what_was_sent_to_log_in_is_taken_out_by_whatever_name() -> None:
    basic = "Basic " + base64.b64encode(b"me:pass-word").decode()
    assert foreign.without_login(f"<{basic}> pass-word me:pass-word", basic) == "<[secret]> [secret] [secret]"
    assert foreign.without_login("token abcd.efgh", "Bearer abcd.efgh") == "token [secret]"
    assert foreign.without_login("it is refresh-1", "", "refresh-1") == "it is [secret]"
    assert foreign.without_login("a b", "Basic ?") == "a b"
    assert foreign.without_login("all is well", "Bearer al") == "all is well", "too short to be one"


@pytest.mark.parametrize(
    ("value", "sent"),
    [("Bearer abc", True), ("a\nb", False), ("a\0", False), ("é", False), (" a", False), ("a\t", False)],
)
def test_what_can_be_sent_as_a_header(value: str, sent: bool) -> None:
    assert foreign.is_header(value) is sent


def test_a_file_that_is_too_long_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert foreign.beginning(path, 10) == b"x" * 10
    with pytest.raises(ValueError, match="more than 9 bytes"):
        foreign.beginning(path, 9)
    with pytest.raises(ValueError, match="more than 9 bytes"):
        foreign.beginning(Path("/dev/zero"), 9)
