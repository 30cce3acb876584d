"""What a pool says of mirrors: where an image may come from without becoming another one."""

from collections.abc import Iterator

from components.settings.checks.unread import Problem
from components.settings.google import NodePoolSettings

_MOST = 25  # GKE API, ContainerdConfig.registryHosts


def problems(pool: NodePoolSettings) -> Iterator[Problem]:
    """By paths relative to the pool."""
    mirrors = pool.registry_mirrors
    if len(mirrors) > _MOST:
        yield ".registryMirrors", f"has {len(mirrors)} registries, and GKE takes {_MOST}: leave some out"
    for server, listed in mirrors.items():
        path, seen = f".registryMirrors.{server}", set[str]()
        for mirror in listed:
            host = mirror.host.partition("://")[2]
            if host == server:
                yield path, f"names {server} itself: remove it, the registry is asked after its mirrors in any case"
            if mirror.host in seen:
                yield path, f"names {mirror.host} twice: remove one"
            if mirror.tags and mirror.host.startswith("http://"):
                yield (
                    path,
                    f"has tags: true at {mirror.host}, where anybody on the way may say what a tag means: write "
                    "https://, or leave tags out, since what has a digest is checked",
                )
            seen.add(mirror.host)
