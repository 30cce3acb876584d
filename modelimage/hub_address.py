"""How a model of the Hugging Face Hub is written: the one form that is packed, and the others that people paste.

The form is `hf://org/name@<40-hex commit>`. Read as well, so that a message can hold the right form: a page's address
as the browser shows it, KServe's `hf://org/name:revision` (its docs, "Deploy models from Hugging Face") and a bare
`org/name`, as huggingface_hub's tools take it.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from oci_model_serving.errors import InputError

HUB = "https://huggingface.co"
_REPOSITORY = r"(?P<repository>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95})"
_PINNED = re.compile(rf"hf://{_REPOSITORY}@(?P<revision>[0-9a-f]{{40}})", re.ASCII)
_WRITTEN = re.compile(rf"(?:hf://)?{_REPOSITORY}(?:[@:](?P<revision>[^@:\s]+))?/?", re.ASCII)
_PAGE = re.compile(
    rf"/(?:api/models/)?{_REPOSITORY}(?:/(?:tree|blob|resolve|raw|commits?|revision)/(?P<revision>[^/]+).*|/.*)?",
    re.ASCII,
)
_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_NO_MODELS = ("datasets/", "spaces/", "collections/", "papers/", "docs/", "blog/", "kernels/", "buckets/")


class EndpointError(InputError):
    """`HF_ENDPOINT` is wrong, whatever model is asked for."""


@dataclass(frozen=True)
class HubAddress:
    """A model's repository, and the commit, branch or tag of it where one is written."""

    repository: str
    revision: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether it names one commit, by all of its digits."""
        return bool(self.revision and re.fullmatch(r"[0-9a-f]{40}", self.revision))

    @property
    def form(self) -> str:
        """What to write: with its commit where that is known."""
        return f"hf://{self.repository}@{self.revision if self.pinned else '<40-hex commit>'}"


def endpoint() -> str:
    """The address of the hub that is asked: `HF_ENDPOINT`, or the public one; without a slash at its end.

    Raises:
        EndpointError: `HF_ENDPOINT` is no address.
    """
    text = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    if not text:
        return HUB
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise EndpointError(f"HF_ENDPOINT is {_shown(text)!r}: write an address, as {HUB}, or unset it")
    if "@" in parts.netloc:
        raise EndpointError(f"HF_ENDPOINT holds a user or password: write {_shown(text)}, and the token into HF_TOKEN")
    return text


def is_offline() -> bool:
    """Whether the environment says that the hub is not to be asked, as huggingface_hub reads it."""
    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}


def _shown(address: str) -> str:
    """An address without the user and password that it may hold."""
    scheme, separator, rest = address.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def read(text: str) -> HubAddress | None:
    """The model that a text names in any of the spellings; None where it names none."""
    if text.startswith(("http://", "https://")):
        return _of_page(text)
    match = _WRITTEN.fullmatch(text)
    return HubAddress(match["repository"], match["revision"]) if match else None


def _of_page(text: str) -> HubAddress | None:
    try:
        page = urlsplit(text)
    except ValueError:
        return None
    path = page.path.rstrip("/")
    if page.hostname not in _HOSTS:
        mirror = urlsplit(endpoint())
        if page.netloc != mirror.netloc or not path.startswith(mirror.path):
            return None
        path = path[len(mirror.path) :]
    match = _PAGE.fullmatch(path)
    if not match or match["repository"].startswith(_NO_MODELS):
        return None
    return HubAddress(match["repository"], unquote(match["revision"]) if match["revision"] else None)


def is_pinned(uri: str) -> bool:
    """Tell whether a text is `hf://org/name@<40-hex commit>`."""
    return bool(_PINNED.fullmatch(uri))


def parse(uri: str) -> HubAddress:
    """The commit that `hf://org/name@<commit>` names.

    Raises:
        InputError: it is another spelling, of which the message has the right form, or none.
    """
    match = _PINNED.fullmatch(uri)
    if not match:
        raise InputError(f"{uri!r}: {mistake(uri)}")
    return HubAddress(match["repository"], match["revision"])


def mistake(uri: str) -> str:
    """What is wrong with a text that is not `hf://org/name@<commit>`, and what to write instead."""
    address = read(uri)
    if address is None:
        return "write hf://org/name@<40-hex commit>"
    if address.pinned:
        return f"write {address.form}"
    revision = f"@{address.revision}" if address.revision else ""
    what = f"{address.revision!r} is a branch, a tag or a short hash" if address.revision else "there is no commit"
    return (
        f"{what}, which may mean other weights tomorrow: write {address.form}; "
        f"`oms image resolve hf://{address.repository}{revision}` prints it"
    )
