"""The keys of delivery `stream`: the sidecar that hands an image's layers to the server, and how far it gets."""

from typing import Annotated, Literal

from pydantic import Field

from components.settings.types import Cidr, HostName, Quantity, Section


class StreamSidecar(Section):
    """The sidecar of delivery stream, on KServe."""

    image: Annotated[
        str | None,
        Field(description="image of the sidecar, with Python 3.10, httpx and pydantic; default: the model's server's"),
    ] = None
    processes: Annotated[
        int | None,
        Field(ge=1, le=32, description="processes that serve at once; default: by network and CPUs of the node"),
    ] = None
    memory: Annotated[
        Quantity | None, Field(description="request and limit of the sidecar; default: by its processes, 64 MiB each")
    ] = None
    reach: Annotated[
        Literal["port", "private", "restricted", "fqdn"],
        Field(
            description="how the egress rule names the registry: port: its port at any address (or in cidrs); private, "
            "restricted: Google's virtual addresses of private. and restricted.googleapis.com; fqdn: its host name, by "
            "GKE's FQDNNetworkPolicy"
        ),
    ] = "port"
    cidrs: Annotated[
        tuple[Cidr, ...],
        Field(strict=False, description="of reach port: address ranges of the registry; default: any address"),
    ] = ()
    hosts: Annotated[
        tuple[HostName, ...],
        Field(strict=False, description="of reach fqdn: further hosts, to which the registry sends for its blobs"),
    ] = ()
