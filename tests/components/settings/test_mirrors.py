"""How mirrors are written, and what is no mirror."""

import pytest
from pydantic import ValidationError

from components.settings.google import NodePoolSettings
from components.settings.mirrors import RegistryMirror


def mirrors(server: str, *hosts: str) -> NodePoolSettings:
    given = {"accelerator": "nvidia-l4", "registryMirrors": {server: [{"host": host} for host in hosts]}}
    return NodePoolSettings.model_validate(given)


@pytest.mark.parametrize(
    "host", ["m.example", "https://m.example/", "https://m.example/hub", "ftp://m.example", "https://*.example", ""]
)
def test_what_is_no_mirror_is_refused_with_its_form(host: str) -> None:
    with pytest.raises(ValidationError, match="write https://HOST"):
        mirrors("docker.io", host)


@pytest.mark.parametrize("server", ["https://docker.io", "docker.io/library", "*.example", "Docker.io", ""])
def test_a_registry_is_named_as_images_name_it(server: str) -> None:
    with pytest.raises(ValidationError, match="no registry's host"):
        mirrors(server, "https://m.example")


def test_docker_hub_is_named_as_nodes_know_it() -> None:
    with pytest.raises(ValidationError, match=r"write docker\.io"):
        mirrors("index.docker.io", "https://m.example")


def test_a_registry_without_mirrors_says_nothing() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        mirrors("docker.io")


def test_a_path_is_the_apis_own() -> None:
    assert RegistryMirror(host="https://m.example:8443/v2/hub").has_path
    assert not RegistryMirror(host="https://m.example:8443").has_path
