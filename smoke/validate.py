"""Whether the endpoint answers as an OpenAI API: the names it serves, and a small question of the model's task."""

import codecs
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

from components.serving.features import features
from modelimage.answers import ERROR_LIMIT_BYTES, held
from modelimage.architecture import Task
from oci_model_serving.delivery import KUBEAI
from oci_model_serving.outputs import ModelOutput, StackOutputs
from smoke.answers import NOT_OPENAI, json_of, object_of
from smoke.checks import Check, run
from smoke.endpoint import Endpoint, open_endpoint
from smoke.presence import pods_to_check
from smoke.questions import QUESTIONS
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.kube import ApiError, KubeApi

STEP = "validate"
_MAX_TOKENS = 16
_DONE = "[DONE]"
_PLAIN = {"Accept-Encoding": "identity"}
_EVENT_CHARACTERS = 1 << 20
_STREAM_CHARACTERS = 16 << 20


def validate(
    api: KubeApi, outputs: StackOutputs, models: list[ServedModel], *, address: str | None, timeout: float
) -> Iterator[Check]:
    """Check each model's endpoint with requests that cost a few tokens."""
    for model in models:
        for name, check in _checks(model.output, timeout):

            def evidence(model: ServedModel = model, check: Callable[[Endpoint], str] = check) -> str:
                _check_pods(api, model)
                with open_endpoint(api, outputs, model, address=address, timeout=timeout) as endpoint:
                    return check(endpoint)

            yield run(STEP, name, evidence, model=model.key)


def _checks(model: ModelOutput, timeout: float) -> Iterator[tuple[str, Callable[[Endpoint], str]]]:
    """The checks of a model by name: those of its task, and the first of them for each of its adapters."""
    served = model.served_name
    yield "models", partial(_check_models, model=model)
    ask: Callable[..., str] = QUESTIONS.get(model.task, _check_chat)
    name = "chat" if model.task == "generation" else model.task
    yield name, partial(ask, served_name=served)
    if model.task == "generation":
        yield "stream", partial(_check_stream, served_name=served, seconds=timeout)
    for adapter in sorted(model.adapters):
        yield f"adapter {adapter}", partial(ask, served_name=adapter)


def _check_pods(api: KubeApi, model: ServedModel) -> None:
    # A request would wait for a pod that is not to come, or bring one to a model that is scaled to zero.
    try:
        pods_to_check(api, model.output)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:  # the endpoint may be asked by whoever reaches it
            raise


def served_names(endpoint: Endpoint, model: ModelOutput) -> list[str]:
    """Return the names that an endpoint lists of models of this one's task.

    Raises:
        NotHeldError: the answer is not a list of models.
        httpx.HTTPError: there is no answer.
    """
    answer = json_of(
        endpoint.client.get("/v1/models", params=_listing(model), extensions=endpoint.extensions), endpoint
    )
    listed = answer.get("data")
    if not isinstance(listed, list):
        raise NotHeldError(f"/v1/models of {endpoint.route} is no list: {short(str(answer))}", NOT_OPENAI)
    return [str(one.get("id")) for one in listed]


def _listing(model: ModelOutput) -> dict[str, str]:
    """KubeAI lists models that generate unless it is asked for others (internal/openaiserver/models.go)."""
    if model.serving.platform is not KUBEAI or model.task == "generation":
        return {}
    return {"feature": features(Task(model.task))[0]}


def _check_models(endpoint: Endpoint, model: ModelOutput) -> str:
    names, wanted = served_names(endpoint, model), [model.served_name, *sorted(model.adapters)]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise NotHeldError(
            f"{endpoint.route} serves {', '.join(names) or 'nothing'}, not {', '.join(missing)}",
            "set `models.NAME.servedName` (vLLM's --served-model-name), or see which pods the route leads to"
            if model.served_name in missing
            else "the server has not loaded the adapter: see its log, and that it is a LoRA of this model",
        )
    return f"{endpoint.route} serves {', '.join(wanted)}"


def _check_chat(endpoint: Endpoint, served_name: str) -> str:
    start = time.monotonic()
    response = endpoint.client.post("/v1/chat/completions", json=_request(served_name), extensions=endpoint.extensions)
    took = time.monotonic() - start
    answer = json_of(response, endpoint)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or "message" not in choices[0]:
        raise NotHeldError(f"the answer has no choice with a message: {short(str(answer))}", NOT_OPENAI)
    tokens = (answer.get("usage") or {}).get("completion_tokens", "?")
    fingerprint = answer.get("system_fingerprint") or "none"
    return f"200 in {took * 1000:.0f} ms, {tokens} tokens, system_fingerprint {fingerprint}"


def _check_stream(endpoint: Endpoint, served_name: str, *, seconds: float) -> str:
    body = {**_request(served_name), "stream": True}
    start, first, chunks, ended = time.monotonic(), None, 0, False
    with endpoint.client.stream(
        "POST", "/v1/chat/completions", json=body, headers=_PLAIN, extensions=endpoint.extensions
    ) as response:
        if response.is_error:
            json_of(held(response, ERROR_LIMIT_BYTES), endpoint)
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise NotHeldError(
                f"asked for a stream, {endpoint.route} answered {kind or 'no content type'}",
                "something between here and the server buffers or rewrites the answer; compare with a direct request",
            )
        events = (line for line in _lines(_texts(response.iter_raw()), seconds) if line.startswith("data:"))
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
    chunk = object_of(data)
    if chunk is None:
        raise NotHeldError(f"the stream holds {short(data, 100)!r}, which is no JSON object", NOT_OPENAI)
    return chunk


def _texts(chunks: Iterator[bytes]) -> Iterator[str]:
    """What comes, as text; nothing of it is inflated."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return (decoder.decode(chunk) for chunk in chunks)


def _lines(chunks: Iterator[str], seconds: float) -> Iterator[str]:
    # The client's own timeout is for each read: a server that keeps sending would keep it for ever.
    deadline = time.monotonic() + seconds
    rest, seen = "", 0
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise NotHeldError(
                f"the stream of at most {_MAX_TOKENS} tokens had not ended after {seconds:g} s",
                "see the server's log: it is overloaded, or does not stop at max_tokens",
            )
        *lines, rest = (rest + chunk).split("\n")
        seen += len(chunk)
        if len(rest) > _EVENT_CHARACTERS or seen > _STREAM_CHARACTERS:
            raise NotHeldError(
                f"the stream of at most {_MAX_TOKENS} tokens has {seen} characters and goes on", NOT_OPENAI
            )
        yield from lines
    yield rest


def _request(served_name: str) -> dict[str, Any]:
    return {"model": served_name, "messages": [{"role": "user", "content": "ping"}], "max_tokens": _MAX_TOKENS}
