"""With which of the stack's credentials the pods of a model pull. Pure."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

PULL_SECRET = "oci-pull"  # noqa: S105 - its name
"""One Secret of all credentials, where one alone is looked at: by KubeAI, and by pods that pull by themselves."""
_DOCKER_HUB = "docker.io"
_HUBS = frozenset({_DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})


def of_hosts(servers: Mapping[str, str], hosts: Iterable[str]) -> tuple[str, ...]:
    """The keys of the credentials that a kubelet may take for images of these hosts; `servers` has theirs."""
    known = tuple(hosts)
    return tuple(key for key, server in servers.items() if any(_is_for(server, host) for host in known))


def _is_for(server: str, host: str) -> bool:
    """Whether credentials may be for a host, as the kubelet compares them: rather one too many than one too few.

    A server may be an address, have a path, and a `*` in its parts (kubelet 1.35, pkg/credentialprovider/keyring.go).
    The kubelet looks at paths and ports as well.
    """
    return fnmatchcase(_name(host), _name(server).replace("[", "[[]"))


def _name(server: str) -> str:
    name = server.lower().rpartition("://")[2].partition("/")[0]
    name = name if name.endswith("]") else name.rpartition(":")[0] or name
    return _DOCKER_HUB if name in _HUBS else name
