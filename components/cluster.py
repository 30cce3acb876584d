"""Cluster: the Kubernetes cluster that everything else is put into, created, adopted, or none at all."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components import (
    adopted_cluster,
    google_apis,
    image_volume,
    kubeconfig,
    network,
    node_accounts,
    pool_names,
    schema,
)

APIS = ("container", "compute", "iam", "cloudresourcemanager", "logging", "monitoring")
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of nodes, whose account's roles are what restricts them (GKE, "Access scopes in GKE")."""
NODE_METADATA = {"disable-legacy-endpoints": "true"}
"""GKE puts it on every node; said here so that the provider sees no difference."""


class ClusterError(pulumi.RunError):
    """The cluster cannot be used; the message has every reason with its remedy."""


@dataclass(frozen=True)
class ClusterArgs:
    """What the cluster is made of.

    Attributes:
        cluster: the settings: create one, adopt one by name, reach one by kubeconfig, or none (manifests are rendered).
        project: Google project of the stack, empty on the local target.
        region: Google region of the stack, empty on the local target.
        needs_image_volume: pods will mount model images as volumes.
        needs_subpath: they will do so by subPath (KServe's native delivery).
        needs_gateway: GKE's gateway controller will serve the models.
        manifests: folder that manifests are rendered to where there is no cluster.
    """

    cluster: schema.Cluster
    project: str = ""
    region: str = ""
    needs_image_volume: bool = False
    needs_subpath: bool = False
    needs_gateway: bool = False
    manifests: str = ".local/manifests"


@dataclass(frozen=True)
class Place:
    """What the settings say of the cluster, known before anything runs, for those who put node pools into it.

    Attributes:
        name: of the cluster.
        project: Google project of the cluster.
        alpha: an alpha cluster, whose nodes are neither upgraded nor repaired.
        enable_apis: whether this stack enables the APIs of the project; not those of an adopted cluster's.
    """

    name: str
    project: str
    alpha: bool = False
    enable_apis: bool = False


class Cluster(pulumi.ComponentResource):
    """A GKE cluster to serve models on (created or adopted), a cluster by kubeconfig, or a folder of manifests.

    Deliberately has the nodes without public addresses and a small pool for the platforms, so that every GPU pool can
    go to zero; node auto-provisioning is off, because it would make GPU nodes whose disks nobody has sized.
    """

    provider: k8s.Provider
    """For everything that goes into the cluster."""
    name: pulumi.Output[str]
    location: pulumi.Output[str]
    """Region or zone; `local` without Google."""
    version: pulumi.Output[str]
    """Version of the control plane, checked against what the deliveries need; empty without Google."""
    kubeconfig: pulumi.Output[str]
    """Secret, although a GKE cluster's holds no credentials."""
    project: pulumi.Output[str]
    resource: gcp.container.Cluster | None = None
    """The cluster, where this stack creates it and may delete it: `deleted_with` for what goes with it."""
    system_account: pulumi.Output[str] | None = None
    """Email of the service account of the pool without GPUs, where this stack creates the cluster."""
    place: Place
    """What of it is known in every plan."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:Cluster", name, None, opts)
        self._name, self._args = name, args
        cluster = args.cluster
        if cluster.create:
            self._create(cluster.create)
        elif cluster.name:
            self._adopt(cluster.name, cluster.location or args.region)
        else:
            self._local()
        self.register_outputs(
            {
                "name": self.name,
                "location": self.location,
                "version": self.version,
                "kubeconfig": self.kubeconfig,
                "project": self.project,
            }
        )

    # A cluster of one's own.

    def _create(self, create: schema.ClusterCreate) -> None:
        args = self._args
        project = args.cluster.project or args.project
        location = create.location or args.region
        if create.alpha:
            pulumi.log.warn(image_volume.ALPHA_WARNING, resource=self)
        enabled = google_apis.enabled(self, self._name, project, APIS if create.enable_apis else ())
        after = pulumi.ResourceOptions(parent=self, depends_on=enabled)
        account, bindings = node_accounts.node_account(
            f"{self._name}-{pool_names.SYSTEM}",
            pool_names.account_id(create.name, pool_names.SYSTEM),
            project=project,
            pool=pool_names.SYSTEM,
            streaming=False,
            opts=after,
        )
        net = network.given(create) or network.create_network(
            self._name, create, project=project, region=_region(location), proxy_only=args.needs_gateway, opts=after
        )
        cluster = self._cluster(create, net, project=project, location=location, account=account.email, enabled=enabled)
        # While Google refuses to delete the cluster, its pools and objects must not be forgotten in its favour.
        self.resource = None if create.deletion_protection else cluster
        pool = self._system_pool(create, cluster, account.email, bindings)
        self.system_account = account.email
        self.place = Place(create.name, project, alpha=create.alpha, enable_apis=create.enable_apis)
        self.name, self.location = cluster.name, cluster.location
        self.project = pulumi.Output.from_input(project)
        self.version = cluster.master_version.apply(lambda version: self._checked_version(version, alpha=create.alpha))
        dns = cluster.control_plane_endpoints_config.dns_endpoint_config.endpoint
        config = pulumi.Output.all(
            name=cluster.name,
            dns=dns if create.dns_endpoint else None,
            address=cluster.endpoint,
            ca=cluster.master_auth.cluster_ca_certificate,
        ).apply(
            lambda known: kubeconfig.for_gke(
                known["name"], dns_endpoint=known["dns"], address=known["address"], ca_certificate=known["ca"]
            )
        )
        self._connect(config, f"{project}/{location}/{create.name}", [pool])

    def _cluster(
        self,
        create: schema.ClusterCreate,
        net: network.Network,
        *,
        project: str,
        location: str,
        account: pulumi.Input[str],
        enabled: list[pulumi.Resource],
    ) -> gcp.container.Cluster:
        return gcp.container.Cluster(
            self._name,
            name=create.name,
            project=project,
            location=location,
            node_locations=list(create.zones) or None,
            resource_labels=create.labels,
            deletion_protection=create.deletion_protection,
            # Versions. An alpha cluster takes no part in a release channel.
            min_master_version=create.version,
            release_channel=gcp.container.ClusterReleaseChannelArgs(
                channel="UNSPECIFIED" if create.alpha else create.channel
            ),
            enable_kubernetes_alpha=create.alpha,
            maintenance_policy=gcp.container.ClusterMaintenancePolicyArgs(
                recurring_window=gcp.container.ClusterMaintenancePolicyRecurringWindowArgs(
                    start_time=create.maintenance.start_time,
                    end_time=create.maintenance.end_time,
                    recurrence=create.maintenance.recurrence,
                )
            ),
            # Network.
            network=net.network,
            subnetwork=net.subnetwork,
            networking_mode="VPC_NATIVE",
            ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
                cluster_secondary_range_name=net.pods_range,
                services_secondary_range_name=net.services_range,
            ),
            datapath_provider="ADVANCED_DATAPATH",
            gateway_api_config=gcp.container.ClusterGatewayApiConfigArgs(
                channel="CHANNEL_STANDARD" if create.gateway_api else "CHANNEL_DISABLED"
            ),
            private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
                enable_private_nodes=True,
                enable_private_endpoint=create.private_endpoint,
                master_ipv4_cidr_block=create.master_cidr,
            ),
            control_plane_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigArgs(
                dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(
                    allow_external_traffic=create.dns_endpoint
                )
            ),
            master_authorized_networks_config=_authorized_networks(create),
            # Identity and hardening.
            workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(
                workload_pool=f"{project}.svc.id.goog"
            ),
            enable_shielded_nodes=True,
            enable_legacy_abac=False,
            # What it tells about itself.
            logging_config=gcp.container.ClusterLoggingConfigArgs(enable_components=["SYSTEM_COMPONENTS", "WORKLOADS"]),
            monitoring_config=gcp.container.ClusterMonitoringConfigArgs(
                enable_components=["SYSTEM_COMPONENTS", "DCGM"],
                managed_prometheus=gcp.container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=True),
            ),
            cost_management_config=gcp.container.ClusterCostManagementConfigArgs(enabled=True),
            cluster_autoscaling=gcp.container.ClusterClusterAutoscalingArgs(
                enabled=False, autoscaling_profile="OPTIMIZE_UTILIZATION"
            ),
            # The API insists on a first pool. It exists for minutes and is not the Compute Engine account's.
            remove_default_node_pool=True,
            initial_node_count=1,
            node_config=gcp.container.ClusterNodeConfigArgs(
                machine_type=create.system_pool.machine_type,
                service_account=account,
                oauth_scopes=[CLOUD_PLATFORM],
                shielded_instance_config=gcp.container.ClusterNodeConfigShieldedInstanceConfigArgs(
                    enable_secure_boot=True, enable_integrity_monitoring=True
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*enabled, *net.before],
                # Of the first pool, which is gone; a difference there would replace the cluster.
                ignore_changes=["initialNodeCount", "nodeConfig"],
            ),
        )

    def _system_pool(
        self,
        create: schema.ClusterCreate,
        cluster: gcp.container.Cluster,
        account: pulumi.Input[str],
        bindings: list[pulumi.Resource],
    ) -> gcp.container.NodePool:
        system = create.system_pool
        account_id = pool_names.account_id(create.name, pool_names.SYSTEM)
        return gcp.container.NodePool(
            f"{self._name}-{pool_names.SYSTEM}",
            name=pool_names.pool_name(pool_names.SYSTEM, {"serviceAccount": account_id}),
            cluster=cluster.name,
            location=cluster.location,
            project=cluster.project,
            version=cluster.master_version,
            initial_node_count=1,
            autoscaling=gcp.container.NodePoolAutoscalingArgs(
                total_min_node_count=system.min_nodes,
                total_max_node_count=system.max_nodes,
                location_policy="BALANCED",
            ),
            management=gcp.container.NodePoolManagementArgs(
                auto_repair=not create.alpha, auto_upgrade=not create.alpha
            ),
            upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(
                strategy="SURGE", max_surge=1, max_unavailable=0
            ),
            node_config=gcp.container.NodePoolNodeConfigArgs(
                machine_type=system.machine_type,
                image_type="COS_CONTAINERD",
                boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(
                    size_gb=system.disk_size_gb, disk_type="pd-balanced"
                ),
                service_account=account,
                oauth_scopes=[CLOUD_PLATFORM],
                metadata=NODE_METADATA,
                gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
                shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
                    enable_secure_boot=True, enable_integrity_monitoring=True
                ),
                workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(
                    mode="GKE_METADATA"
                ),
                kubelet_config=gcp.container.NodePoolNodeConfigKubeletConfigArgs(
                    insecure_kubelet_readonly_port_enabled="FALSE"
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=bindings,
                deleted_with=self.resource,
                # The channel upgrades the nodes; the settings only say what they start with.
                ignore_changes=["version", "initialNodeCount"],
            ),
        )

    # One that exists.

    def _adopt(self, name: str, location: str) -> None:
        project = self._args.cluster.project or self._args.project
        self.place = Place(name, project)
        found = gcp.container.get_cluster_output(
            name=name, location=location, project=project, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        checked = found.apply(lambda result: self._checked(name, result))
        self.name, self.location = pulumi.Output.from_input(name), pulumi.Output.from_input(location)
        self.project = pulumi.Output.from_input(project)
        self.version = checked.apply(lambda result: str(result.master_version))
        self._connect(checked.apply(_adopted_kubeconfig), f"{project}/{location}/{name}", [])

    def _checked(self, name: str, result: gcp.container.GetClusterResult) -> gcp.container.GetClusterResult:
        args, reported = self._args, _reported(result)
        problems = adopted_cluster.problems(
            reported,
            name=name,
            needs_image_volume=args.needs_image_volume,
            needs_subpath=args.needs_subpath,
            needs_gateway=args.needs_gateway,
        )
        if problems:
            raise ClusterError("\n".join(problems))
        for warning in adopted_cluster.warnings(reported, name=name):
            pulumi.log.warn(warning, resource=self)
        return result

    def _checked_version(self, version: str, *, alpha: bool) -> str:
        if self._args.needs_image_volume:
            problem = image_volume.problem(version, alpha=alpha, sandbox=False, subpath=self._args.needs_subpath)
            if problem:
                raise ClusterError(f"cluster.create: {problem}")
        return version

    # None of Google's.

    def _local(self) -> None:
        cluster = self._args.cluster
        self.place = Place("local", "")
        self.name = self.location = pulumi.Output.from_input("local")
        self.version = self.project = pulumi.Output.from_input("")
        mine = pulumi.ResourceOptions(parent=self)
        if not cluster.kubeconfig:
            self.kubeconfig = pulumi.Output.secret(kubeconfig.NONE)
            # Rendering excludes a kubeconfig (the provider refuses both).
            self.provider = k8s.Provider(self._name, render_yaml_to_directory=self._args.manifests, opts=mine)
            return
        path = Path(cluster.kubeconfig).expanduser()
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ClusterError(
                f"cluster.kubeconfig: {path} cannot be read ({reason}): write the path of a kubeconfig file, or remove "
                "the key to have the manifests rendered"
            ) from error
        self.kubeconfig = pulumi.Output.secret(content)
        self.provider = k8s.Provider(
            self._name,
            kubeconfig=self.kubeconfig,
            context=cluster.context,
            enable_server_side_apply=True,
            opts=mine,
        )

    def _connect(self, config: pulumi.Output[str], identifier: str, after: list[pulumi.Resource]) -> None:
        """Make the provider.

        `delete_unreachable` stays off: it would forget everything in a cluster that is away for a minute. Objects that
        go with the cluster say so themselves, by `deleted_with`.
        """
        # The version has been checked before anything goes in.
        guarded = pulumi.Output.all(config, self.version).apply(lambda known: str(known[0]))
        self.kubeconfig = pulumi.Output.secret(guarded)
        self.provider = k8s.Provider(
            self._name,
            kubeconfig=self.kubeconfig,
            # Without it, a changed kubeconfig (another CA, another address) would replace everything in the cluster.
            cluster_identifier=identifier,
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )


def _region(location: str) -> str:
    """The region of a location that may be a zone (`us-central1-a`)."""
    parts = location.split("-")
    return "-".join(parts[:2])


def _authorized_networks(
    create: schema.ClusterCreate,
) -> gcp.container.ClusterMasterAuthorizedNetworksConfigArgs | None:
    """Who may reach the API server's public address: those named; nobody else where the DNS endpoint serves.

    Without names and without the DNS endpoint the list is left off, since it would shut out everybody.
    """
    if not (create.authorized_networks or create.dns_endpoint):
        return None
    return gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
        cidr_blocks=[
            gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(display_name=name, cidr_block=cidr)
            for name, cidr in sorted(create.authorized_networks.items())
        ]
        or None,
        gcp_public_cidrs_access_enabled=False,
    )


def _reported(result: gcp.container.GetClusterResult) -> adopted_cluster.Reported:
    policies = result.network_policies or []
    return adopted_cluster.Reported(
        version=result.master_version,
        alpha=bool(result.enable_kubernetes_alpha),
        autopilot=bool(result.enable_autopilot),
        workload_pool=next((config.workload_pool for config in result.workload_identity_configs or []), ""),
        gateway_channel=next((config.channel for config in result.gateway_api_configs or []), ""),
        network_policies=result.datapath_provider == "ADVANCED_DATAPATH" or any(policy.enabled for policy in policies),
    )


def _adopted_kubeconfig(result: gcp.container.GetClusterResult) -> str:
    endpoints = [
        dns.endpoint
        for config in result.control_plane_endpoints_configs or []
        for dns in config.dns_endpoint_configs
        if dns.allow_external_traffic
    ]
    certificates = [auth.cluster_ca_certificate for auth in result.master_auths or []]
    return kubeconfig.for_gke(
        result.name,
        dns_endpoint=next(iter(endpoints), None),
        address=result.endpoint,
        ca_certificate=next(iter(certificates), None),
    )
