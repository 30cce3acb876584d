"""What an endpoint answered, as JSON, or what it says instead and what to do about it."""

from collections.abc import Mapping
from typing import Any

import httpx

from oci_model_serving.foreign import read_json
from smoke.endpoint import Endpoint
from watch.causes import NotHeldError, short

NOT_OPENAI = "what answers is not an OpenAI API: see where the route leads (`kubectl describe httproute`)"
_REMEDIES = {
    404: "no route for that host or path: see the HTTPRoute's conditions, and that the model's name is right",
    502: "the gateway reaches no server: see the step `deployed`",
    503: "the gateway or the Service has no ready pod behind it: see the step `deployed`",
    504: "the server did not answer in time: see its log, and the gateway's timeout",
}


def json_of(response: httpx.Response, endpoint: Endpoint, remedies: Mapping[int, str] | None = None) -> dict[str, Any]:
    """The JSON object that was answered; `remedies` are by status, beside those of every question.

    Raises:
        NotHeldError: an error was answered, or no JSON object.
    """
    if response.is_error:
        raise NotHeldError(
            f"{endpoint.route} answered {response.status_code}: {short(response.text)}",
            {**_REMEDIES, **(remedies or {})}.get(response.status_code, "see the server's log"),
        )
    answer = object_of(response.content)
    if answer is None:
        raise NotHeldError(f"{endpoint.route} answered no JSON object: {short(response.text)}", NOT_OPENAI)
    return answer


def object_of(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object in a text; None where there is none."""
    try:
        found = read_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
