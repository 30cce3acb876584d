"""What a hostile other side could send: documents that are nearly right, and values that nobody expects.

Everything comes of a seed, so that an input that failed is made again by its number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

ESCAPES = (
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\x9b31m",
    "\u202e",
    "\r",
    "\0",
    "\u2066",
    "\x7f",
    "[red]",
    "`",
    "|",
    "<!--",
    "\n",
)
TEXTS = (
    "", " ", "x", "..", "/", "../../etc/passwd", "a" * 5000, "\ud800", "\U0010ffff", "ÅÅ", "true", "null", "-1",
    "sha256:" + "0" * 64, "sha256:" + "A" * 64, "sha256:", "@", ":", "a:b@c", "%00", "%s{}", "{setting}", "$(id)",
    "1e999", "https://[::1", "http://user:pw@h/", "9" * 400, *ESCAPES,
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320)


def atom(rng: Random) -> Any:
    """A value of any type."""
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 5:
        return rng.choice(NUMBERS)
    return rng.choice((None, True, False, [], {}, [None], {"": None}, [[]], [{}], {"a": {"b": []}}, ["x", 1], [7]))


def text(rng: Random) -> str:
    """A text of pieces that mean something somewhere."""
    return "".join(rng.choice(TEXTS)[:300] for _ in range(rng.randrange(1, 4)))


def mutated(rng: Random, document: Any) -> Any:
    """A copy of a JSON document with a few places changed: another value, no value, one twice, another key."""
    made = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        places = list(_places(made))
        if not places:
            return atom(rng)
        holder, key = rng.choice(places)
        action = rng.randrange(10)
        if action < 6:
            holder[key] = atom(rng)
        elif action == 6:
            del holder[key]
        elif action == 7 and isinstance(holder, list):
            holder.insert(key, rng.choice(holder))
        elif action == 8 and isinstance(holder, dict):
            holder[text(rng)] = holder.pop(key)
        else:
            other, at = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[at])) if _has(other, at) else atom(rng)
    return made


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(value: Any) -> Sequence[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        one = todo.pop()
        inner = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, item in inner:
            found.append((one, key))
            todo.append(item)
    return found


def encoded(rng: Random, document: Any) -> bytes:
    """The document as it comes over a line: as JSON, now and then damaged, or as something else altogether."""
    kind = rng.randrange(20)
    if kind == 0:
        return b"[" * rng.randrange(1, 20_000)
    if kind == 1:
        return b'{"a":' * rng.randrange(1, 20_000)
    if kind == 2:
        return rng.choice((b"", b"NaN", b"[Infinity]", b"1" * 6000, b'{"size": 1e999}', b"\xff\xfe", b"\xef\xbb\xbf{}"))
    content = json.dumps(document).encode()
    return damaged(rng, content) if kind < 7 else content


def damaged(rng: Random, content: bytes) -> bytes:
    """Bytes with a few places changed."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(made) + 1)
        changes: tuple[Callable[[], None], ...] = (
            lambda at=at: made.__setitem__(slice(at, at + 1), bytes([rng.randrange(256)])),  # type: ignore[misc]
            lambda at=at: made.__delitem__(slice(at, at + rng.randrange(1, 9))),  # type: ignore[misc]
            lambda at=at: made.__setitem__(slice(at, at), rng.randbytes(rng.randrange(1, 9))),  # type: ignore[misc]
            lambda at=at: made.__setitem__(slice(at, at + 8), b"\xff" * 8),  # type: ignore[misc]
            lambda at=at: made.__delitem__(slice(at, None)),  # type: ignore[misc]
            lambda at=at: made.__setitem__(slice(at, at), bytes(made[at : at + 64])),  # type: ignore[misc]
        )
        rng.choice(changes)()
    return bytes(made)
