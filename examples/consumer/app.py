"""The app: asks the model something every minute, and logs what it answers and which weights those are.

It takes what it needs from the variables that OpenAI's own clients read, and a server that does not answer for a while
(a rollout, a model that is paused) is told and asked again.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

_EVERY_SECONDS = 60
_PATIENCE_SECONDS = 300
_QUESTION = "Say in one sentence what an OCI image is."


def ask(base_url: str, model: str, question: str) -> str:
    """The model's answer to a question.

    Raises:
        OSError: the server cannot be reached, or refuses.
        ValueError: it answers with something else than a completion.
    """
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": question}]}
    # The address is the stack's own output, which is http or https by its contract.
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as response:  # noqa: S310
        answer = json.load(response)
    try:
        return str(answer["choices"][0]["message"]["content"])
    except (LookupError, TypeError) as error:
        raise ValueError(f"no completion: {error!r}") from error


def main() -> None:
    """Ask for ever, or once with the argument `once`."""
    base_url, model = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_MODEL"]
    while True:
        try:
            print(f"{os.environ['MODEL_DIGEST']}: {ask(base_url, model, _QUESTION)}")
        except (OSError, ValueError) as error:
            print(f"{base_url}: {error}", file=sys.stderr)
        if sys.argv[1:] == ["once"]:
            return
        time.sleep(_EVERY_SECONDS)


if __name__ == "__main__":
    main()
