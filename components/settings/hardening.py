"""The keys of a created cluster's hardening, beyond what every cluster here has (CIS GKE Benchmark)."""

from typing import Annotated, Literal

from pydantic import Field

from components.settings.types import Section

ConfidentialType = Literal["SEV", "SEV_SNP", "TDX"]


class Hardening(Section):
    """What the CIS benchmark asks of a cluster: on where it costs nothing, off where it costs or needs a domain."""

    intranode_visibility: Annotated[
        bool, Field(description="traffic between pods of one node passes the VPC, so that its logs and rules see it")
    ] = True
    security_posture: Annotated[
        Literal["BASIC", "DISABLED"], Field(description="GKE audits workloads' configurations and reports bulletins")
    ] = "BASIC"
    anonymous_access: Annotated[
        bool,
        Field(description="anonymous requests, and new role bindings to everybody (system:authenticated and the like)"),
    ] = False
    rbac_groups_domain: Annotated[
        str | None,
        Field(
            pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$",
            description="domain whose group gke-security-groups@DOMAIN brings Google's groups into RBAC",
        ),
    ] = None
    binary_authorization: Annotated[
        bool, Field(description="the project's Binary Authorization policy admits each container's image")
    ] = False
    control_plane_logs: Annotated[
        bool, Field(description="logs of API server, scheduler and controllers; Cloud Logging bills them")
    ] = False
