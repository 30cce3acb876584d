"""Pieces of the expressions (CEL) by which the cluster judges pods and serving objects. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from oci_model_serving.delivery import STREAM_SCHEME

JSON = dict[str, Any]
SETTINGS = "in the settings of the stack, then run pulumi up"

# The spellings that argparse takes: `_` for `-` (vLLM's parser), any prefix that is no other option's, `=true`, and all
# of it inside of a shell's text; Python's own keyword, and its form in JSON and YAML.
REMOTE_CODE = (
    r"""(^|[^-A-Za-z0-9_])--tr(u(s(t([-_](r(e(m[-_a-zA-Z]*)?)?)?)?)?)?)?($|[^-_a-zA-Z])"""
    r"""|(?i:trust[-_]remote[-_]code[\\"']*\s*[:=]\s*[\\"']*(true|1|yes|on)\b)"""
)
# What a server or its libraries read from the environment (text-generation-inference: TRUST_REMOTE_CODE).
REMOTE_CODE_VARIABLE = r"(?i)(^|_)TRUST_REMOTE_CODE$"
OFF = r"(?i)^(|0|false|no|off)$"

MOUNTED = "one.image.?reference.orValue('')"
"""The image of a volume `one`."""


def asks_for_remote_code(words: Iterable[str], variables: Mapping[str, str]) -> bool:
    """Whether what a server is told would be refused, by the expression that the cluster is given."""
    return any(re.search(REMOTE_CODE, word) for word in (*words, *variables.values())) or any(
        re.search(REMOTE_CODE_VARIABLE, name) and not re.search(OFF, value) for name, value in variables.items()
    )


def no_remote_code() -> JSON:
    """Nothing of `words` asks the server to run code from the model's files."""
    return validation(
        f"!variables.words.exists(words, words.exists(word, word.matches({raw(REMOTE_CODE)})))",
        "--trust-remote-code runs code from the files of a model: take a model that the server knows, or write "
        f"cluster.allowList.remoteCode: true {SETTINGS}",
    )


def words(containers: str) -> str:
    """All that tells a server something: its command, arguments and environment; a list each container."""
    variable = (
        f"one.?env.orValue([]).exists(entry, entry.name.matches({raw(REMOTE_CODE_VARIABLE)}) "
        f"&& !entry.?value.orValue('').matches({raw(OFF)})) ? ['--trust-remote-code'] : []"
    )
    return (
        f"{containers}.map(one, one.?command.orValue([]) + one.?args.orValue([]) "
        f"+ one.?env.orValue([]).map(entry, entry.?value.orValue('')) + ({variable}))"
    )


def verified(text: str) -> str:
    """Whether an image is one of the list, by its digest: a tag is there for a server alone."""
    return f"{text} in variables.images && {text}.contains('@sha256:')"


def source(text: str) -> str:
    """The image that a URI of ours names, by its digest; anything else as it is."""
    schemes = ("oci+native://", "oci+fetch://", STREAM_SCHEME, "oci://")
    return by_digest(text + "".join(f".replace('{scheme}', '')" for scheme in schemes))


def by_digest(text: str) -> str:
    """The tag that spells the digest out is the digest: KubeAI's URL can hold no `@`."""
    return f"{text}.replace(':digest-sha256-', '@sha256:')"


def raw(text: str) -> str:
    """A CEL literal as it is."""
    return f"r'''{text}'''"


def variable(name: str, expression: str) -> JSON:
    """An expression that others call `variables.NAME`, evaluated once."""
    return {"name": name, "expression": expression}


def validation(expression: str, message: str, told: str = "") -> JSON:
    """What must hold, and what is said where it does not; `told` is an expression that says it with the case."""
    made: JSON = {"expression": expression, "message": message, "reason": "Forbidden"}
    return {**made, "messageExpression": told} if told else made
