"""What is asked of a model that does not generate: the smallest question of its task, and whether the answer is one.

Paths and bodies are vLLM's (v0.23.0, vllm/entrypoints), of which KubeAI's endpoint passes on those of its features
(chart 0.22.1, internal/openaiserver/handler.go).
"""

import io
import math
import struct
import time
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smoke.answers import json_of
from smoke.endpoint import Endpoint
from watch.causes import NotHeldError, short

_RATE = 16_000
_TASK = (
    "the server was not started for this task: set `models.NAME.task`, or see what its log says of the model's "
    "architecture"
)
_SOUND = (
    "see the server's log: vLLM reads sound only with its extra `audio`, which an image of `platforms.*.server` has to "
    "hold"
)


@dataclass(frozen=True)
class Question:
    """A request that costs next to nothing, and how its answer is told from something else."""

    path: str
    read: Callable[[dict[str, Any]], str | None]
    """What an answer shows; None where it is none."""
    body: Callable[[str], Mapping[str, Any]]
    """What is sent to the model of this name, as the client's keywords."""
    remedies: Mapping[int, str]

    def __call__(self, endpoint: Endpoint, served_name: str) -> str:
        """Ask the model of this name and return what the answer shows.

        Raises:
            NotHeldError: an error was answered, or something else.
        """
        start = time.monotonic()
        response = endpoint.client.post(self.path, **self.body(served_name), extensions=endpoint.extensions)
        took = time.monotonic() - start
        answer = json_of(response, endpoint, self.remedies)
        shown = self.read(answer)
        if shown is None:
            raise NotHeldError(f"{self.path} answered {short(str(answer))}", _TASK)
        return f"200 in {took * 1000:.0f} ms, {shown}"


def _embedding(answer: dict[str, Any]) -> str | None:
    vector = _first(answer.get("data")).get("embedding")
    return f"{len(vector)} dimensions" if isinstance(vector, list) and _numbers(vector) else None


def _reranking(answer: dict[str, Any]) -> str | None:
    results = answer.get("results")
    if not isinstance(results, list):
        return None
    scores = [one.get("relevance_score") for one in results if isinstance(one, dict)]
    return f"{len(scores)} scores" if len(scores) == len(_DOCUMENTS) and _numbers(scores) else None


def _pooling(answer: dict[str, Any]) -> str | None:
    values = _first(answer.get("data")).get("data")
    return f"{len(values)} values" if isinstance(values, list) and values else None


def _speech(answer: dict[str, Any]) -> str | None:
    text = answer.get("text")  # a tone may well be no word
    return f"{len(text)} characters" if isinstance(text, str) else None


def _first(listed: object) -> dict[str, Any]:
    return listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}


def _numbers(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _tone() -> bytes:
    """A second of a tone, as a WAV file: what Whisper's models hear at, mono and 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        waves = (round(8000 * math.sin(2 * math.pi * 440 * at / _RATE)) for at in range(_RATE))
        sound.writeframes(b"".join(struct.pack("<h", value) for value in waves))
    return file.getvalue()


def _form(name: str) -> Mapping[str, Any]:
    return {"data": {"model": name}, "files": {"file": ("tone.wav", _tone(), "audio/wav")}}


_DOCUMENTS = ["ping", "rain"]
_NO_PATH = {404: f"{_TASK}; or there is no route for that host"}
QUESTIONS: Mapping[str, Question] = {
    "embedding": Question(
        "/v1/embeddings", _embedding, lambda name: {"json": {"model": name, "input": "ping"}}, _NO_PATH
    ),
    "reranking": Question(
        "/v1/rerank",
        _reranking,
        lambda name: {"json": {"model": name, "query": "ping", "documents": _DOCUMENTS}},
        _NO_PATH,
    ),
    "pooling": Question("/pooling", _pooling, lambda name: {"json": {"model": name, "input": "ping"}}, _NO_PATH),
    "speech": Question("/v1/audio/transcriptions", _speech, _form, {**_NO_PATH, 400: _SOUND, 500: _SOUND}),
}
"""By task."""
