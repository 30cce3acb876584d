"""Whether the endpoint answers as an OpenAI API: the model's name, a chat completion, a stream."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx

from components.outputs import StackOutputs
from smoke.checks import Check, NotHeldError, NotRunError, run
from smoke.endpoint import Endpoint, open_endpoint
from smoke.kube import KubeApi
from smoke.stack import Model

STEP = "validate"
_MAX_TOKENS = 16
_DONE = "[DONE]"


def validate(
    api: KubeApi, outputs: StackOutputs, models: list[Model], *, address: str | None, timeout: float
) -> Iterator[Check]:
    """Check each model's endpoint with requests that cost a few tokens."""
    for model in models:
        for name, check in (
            ("models", _check_models),
            ("chat", _check_chat),
            ("stream", partial(_check_stream, seconds=timeout)),
        ):

            def evidence(model: Model = model, check: Callable[[Endpoint, str], str] = check) -> str:
                if model.output.paused:
                    raise NotRunError("the model is paused: `python -m smoke resume` or `paused: false`")
                with open_endpoint(api, outputs, model, address=address, timeout=timeout) as endpoint:
                    return check(endpoint, model.output.served_name)

            yield run(STEP, name, evidence, model=model.key)


def served_names(endpoint: Endpoint) -> list[str]:
    """Return the names of the models that an endpoint lists.

    Raises:
        NotHeldError: the answer is not a list of models.
        httpx.HTTPError: there is no answer.
    """
    answer = _json(endpoint.client.get("/v1/models", extensions=endpoint.extensions), endpoint)
    listed = answer.get("data")
    if not isinstance(listed, list):
        raise NotHeldError(f"/v1/models of {endpoint.route} is no list: {str(answer)[:200]}", _NOT_OPENAI)
    return [str(model.get("id")) for model in listed]


def _check_models(endpoint: Endpoint, served_name: str) -> str:
    names = served_names(endpoint)
    if served_name not in names:
        raise NotHeldError(
            f"{endpoint.route} serves {', '.join(names) or 'nothing'}, not {served_name}",
            "set the model's `servedName` (vLLM's --served-model-name), or see which pods the route leads to",
        )
    return f"{endpoint.route} serves {served_name}"


def _check_chat(endpoint: Endpoint, served_name: str) -> str:
    start = time.monotonic()
    response = endpoint.client.post("/v1/chat/completions", json=_request(served_name), extensions=endpoint.extensions)
    took = time.monotonic() - start
    answer = _json(response, endpoint)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or "message" not in choices[0]:
        raise NotHeldError(f"the answer has no choice with a message: {str(answer)[:200]}", _NOT_OPENAI)
    tokens = (answer.get("usage") or {}).get("completion_tokens", "?")
    fingerprint = answer.get("system_fingerprint") or "none"
    return f"200 in {took * 1000:.0f} ms, {tokens} tokens, system_fingerprint {fingerprint}"


def _check_stream(endpoint: Endpoint, served_name: str, *, seconds: float) -> str:
    body = {**_request(served_name), "stream": True}
    start = time.monotonic()
    first = None
    chunks = 0
    ended = False
    with endpoint.client.stream("POST", "/v1/chat/completions", json=body, extensions=endpoint.extensions) as response:
        if response.is_error:
            response.read()
            _json(response, endpoint)
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise NotHeldError(
                f"asked for a stream, {endpoint.route} answered {kind or 'no content type'}",
                "something between here and the server buffers or rewrites the answer; compare with a direct request",
            )
        for data in _events(_lines(response.iter_text(), seconds)):
            first = first or time.monotonic() - start
            ended = data == _DONE
            if not ended and _chunk(data).get("choices"):
                chunks += 1
    if not chunks or not ended:
        raise NotHeldError(
            f"the stream broke off after {chunks} chunks, before {_DONE}",
            "a timeout on the way cuts it (GKE: GCPBackendPolicy timeoutSec; Envoy: the route's request timeout)",
        )
    return f"{chunks} chunks, the first after {(first or 0) * 1000:.0f} ms"


def _chunk(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise NotHeldError(f"the stream holds {data[:100]!r}, which is no JSON object", _NOT_OPENAI)
    return chunk


def _lines(chunks: Iterator[str], seconds: float) -> Iterator[str]:
    # The client's own timeout is for each read: a server that keeps sending would keep it for ever.
    deadline = time.monotonic() + seconds
    rest = ""
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise NotHeldError(
                f"the stream of at most {_MAX_TOKENS} tokens had not ended after {seconds:g} s",
                "see the server's log: it is overloaded, or does not stop at max_tokens",
            )
        *lines, rest = (rest + chunk).split("\n")
        yield from lines
    yield rest


def _events(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("data:"):
            yield line.removeprefix("data:").strip()


def _request(served_name: str) -> dict[str, Any]:
    return {"model": served_name, "messages": [{"role": "user", "content": "ping"}], "max_tokens": _MAX_TOKENS}


def _json(response: httpx.Response, endpoint: Endpoint) -> dict[str, Any]:
    if response.is_error:
        raise NotHeldError(
            f"{endpoint.route} answered {response.status_code}: {response.text[:200].strip()}",
            _REMEDIES.get(response.status_code, "see the server's log"),
        )
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NotHeldError(f"{endpoint.route} answered no JSON object: {response.text[:200].strip()}", _NOT_OPENAI)
    return answer


_NOT_OPENAI = "what answers is not an OpenAI API: see where the route leads (`kubectl describe httproute`)"
_REMEDIES = {
    404: "no route for that host or path: see the HTTPRoute's conditions, and that the model's name is right",
    502: "the gateway reaches no server: see the step `deployed`",
    503: "the gateway or the Service has no ready pod behind it: see the step `deployed`",
    504: "the server did not answer in time: see its log, and the gateway's timeout",
}
