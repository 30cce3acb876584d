"""What others say, who may mean harm: read so that it cannot break us, shown so that no terminal obeys it.

Others are registries, the hub, buckets, clusters, containers, other stacks and files that somebody else may have
written. Their words reach a person through `OmsError`, `oms.convention.tell` and the reports, which all use `lines`.
"""

import base64
import binascii
import json
import math
from pathlib import Path
from typing import Any

_HIDDEN = "[secret]"
_SECRET_CHARACTERS = 4  # a shorter one is in every other word


def shown(text: str) -> str:
    r"""The text as a part of one line: all that a terminal would act upon stands as its escape (`\x1b`).

    That are control characters and ends of lines, what turns the direction of writing or is not seen at all, and halves
    of characters (lone surrogates), which cannot be written.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def lines(text: str) -> str:
    """The text in its lines, each as `shown`; a tabulator is a space."""
    return text if text.isprintable() else "\n".join(map(shown, text.replace("\t", " ").split("\n")))


def in_line(text: str, length: int = 300) -> str:
    """The text in one line, without its middle where it is long: what happened stands at the end of most messages."""
    # What is cut off is not gone through: it may be megabytes.
    text = " ".join(text[: 8 * length].split()) if len(text) > 16 * length else " ".join(text.split())
    cut = text if len(text) <= length else f"{text[: length // 3]} … {text[-(length - length // 3) :]}"
    return shown(cut)


def without_login(text: str, authorization: str, *further: str) -> str:
    """The text without what was sent to log in, should the other side have said it again.

    Args:
        text: what was answered.
        authorization: the request's Authorization header; "" for none.
        further: other secrets that the request held.
    """
    scheme, _, value = authorization.partition(" ")
    secrets = [authorization, value, *further]
    if scheme.lower() == "basic":
        try:
            login = base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            login = ""
        secrets += [login, login.partition(":")[2]]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) >= _SECRET_CHARACTERS:
            text = text.replace(secret, _HIDDEN)
    return text


def is_header(value: str) -> bool:
    """Whether a text can be sent as a header: visible ASCII and single spaces within."""
    return value.isascii() and value.isprintable() and value == value.strip()


def beginning(path: Path, limit: int) -> bytes:
    """What is in a file that has at most `limit` bytes.

    Raises:
        ValueError: it has more; no more of it was read.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return content


def read_json(content: str | bytes) -> Any:
    """What a JSON document holds.

    Raises:
        ValueError: it is none, or one that no honest program writes: nested without end, with numbers that are none
            (`NaN`, `1e999`) or of thousands of digits.
    """
    try:
        return json.loads(content, parse_constant=_no_number, parse_float=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of all bounds")
    return number
