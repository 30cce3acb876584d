"""Whether the endpoint answers as an OpenAI API: the model's name, a chat completion, a stream."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx

from oci_model_serving.outputs import StackOutputs
from smoke.checks import Check, run
from smoke.endpoint import Endpoint, open_endpoint
from smoke.presence import pods_to_check
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.kube import ApiError, KubeApi

STEP = "validate"
_MAX_TOKENS = 16
_DONE = "[DONE]"


def validate(
    api: KubeApi, outputs: StackOutputs, models: list[ServedModel], *, address: str | None, timeout: float
) -> Iterator[Check]:
    """Check each model's endpoint with requests that cost a few tokens."""
    for model in models:
        stream = partial(_check_stream, seconds=timeout)
        for name, check in (("models", _check_models), ("chat", _check_chat), ("stream", stream)):

            def evidence(model: ServedModel = model, check: Callable[[Endpoint, str], str] = check) -> str:
                _check_pods(api, model)
                with open_endpoint(api, outputs, model, address=address, timeout=timeout) as endpoint:
                    return check(endpoint, model.output.served_name)

            yield run(STEP, name, evidence, model=model.key)


def _check_pods(api: KubeApi, model: ServedModel) -> None:
    # A request would wait for a pod that is not to come, or bring one to a model that is scaled to zero.
    try:
        pods_to_check(api, model.output)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:  # the endpoint may be asked by whoever reaches it
            raise


def served_names(endpoint: Endpoint) -> list[str]:
    """Return the names of the models that an endpoint lists.

    Raises:
        NotHeldError: the answer is not a list of models.
        httpx.HTTPError: there is no answer.
    """
    answer = _json(endpoint.client.get("/v1/models", extensions=endpoint.extensions), endpoint)
    listed = answer.get("data")
    if not isinstance(listed, list):
        raise NotHeldError(f"/v1/models of {endpoint.route} is no list: {short(str(answer))}", _NOT_OPENAI)
    return [str(model.get("id")) for model in listed]


def _check_models(endpoint: Endpoint, served_name: str) -> str:
    names = served_names(endpoint)
    if served_name not in names:
        raise NotHeldError(
            f"{endpoint.route} serves {', '.join(names) or 'nothing'}, not {served_name}",
            "set `models.NAME.servedName` (vLLM's --served-model-name), or see which pods the route leads to",
        )
    return f"{endpoint.route} serves {served_name}"


def _check_chat(endpoint: Endpoint, served_name: str) -> str:
    start = time.monotonic()
    response = endpoint.client.post("/v1/chat/completions", json=_request(served_name), extensions=endpoint.extensions)
    took = time.monotonic() - start
    answer = _json(response, endpoint)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or "message" not in choices[0]:
        raise NotHeldError(f"the answer has no choice with a message: {short(str(answer))}", _NOT_OPENAI)
    tokens = (answer.get("usage") or {}).get("completion_tokens", "?")
    fingerprint = answer.get("system_fingerprint") or "none"
    return f"200 in {took * 1000:.0f} ms, {tokens} tokens, system_fingerprint {fingerprint}"


def _check_stream(endpoint: Endpoint, served_name: str, *, seconds: float) -> str:
    body = {**_request(served_name), "stream": True}
    start, first, chunks, ended = time.monotonic(), None, 0, False
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
        events = (line for line in _lines(response.iter_text(), seconds) if line.startswith("data:"))
        for data in (line.removeprefix("data:").strip() for line in events):
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
    chunk = _object(data)
    if chunk is None:
        raise NotHeldError(f"the stream holds {data[:100]!r}, which is no JSON object", _NOT_OPENAI)
    return chunk


def _object(text: str | bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


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


def _request(served_name: str) -> dict[str, Any]:
    return {"model": served_name, "messages": [{"role": "user", "content": "ping"}], "max_tokens": _MAX_TOKENS}


def _json(response: httpx.Response, endpoint: Endpoint) -> dict[str, Any]:
    if response.is_error:
        raise NotHeldError(
            f"{endpoint.route} answered {response.status_code}: {short(response.text)}",
            _REMEDIES.get(response.status_code, "see the server's log"),
        )
    answer = _object(response.content)
    if answer is None:
        raise NotHeldError(f"{endpoint.route} answered no JSON object: {short(response.text)}", _NOT_OPENAI)
    return answer


_NOT_OPENAI = "what answers is not an OpenAI API: see where the route leads (`kubectl describe httproute`)"
_REMEDIES = {
    404: "no route for that host or path: see the HTTPRoute's conditions, and that the model's name is right",
    502: "the gateway reaches no server: see the step `deployed`",
    503: "the gateway or the Service has no ready pod behind it: see the step `deployed`",
    504: "the server did not answer in time: see its log, and the gateway's timeout",
}
