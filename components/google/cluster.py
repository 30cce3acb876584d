"""Cluster: the Kubernetes cluster that everything else is put into, created, adopted, or none at all."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

from components.google import (
    adopted_cluster,
    adopted_nodes,
    gke,
    google_apis,
    hardening,
    image_volume,
    kubeconfig,
    network,
    node_accounts,
    pool_names,
)
from components.google import sdk as gcp
from components.settings.google import ClusterCreate
from components.settings.places import LOCAL, StackCluster
from oci_model_serving.errors import OmsError
from oci_model_serving.private import private_folder

APIS = ("container", "compute", "iam", "cloudresourcemanager", "logging", "monitoring")


NO_CLUSTER = (
    "no cluster: images only. They are built and known to other stacks (fromStack), and nothing is served; to serve "
    "them write oci-model-serving:cluster {create: {name: …}} or {name: …, location: …}"
)


class ClusterError(OmsError, pulumi.RunError):
    """The cluster cannot be used; the message has every reason with its remedy."""


class Cluster(pulumi.ComponentResource):
    """A GKE cluster to serve models on (created or adopted), a cluster by kubeconfig, or a folder of manifests.

    Deliberately has the nodes without public addresses and a small pool for the platforms, so that every GPU pool can
    go to zero; node auto-provisioning is off, because it would make GPU nodes whose disks nobody has sized.
    """

    provider: k8s.Provider | None = None
    """For everything that goes into the cluster; None where nothing is served."""
    name: pulumi.Output[str]
    location: pulumi.Output[str]
    """Region or zone; `local` without Google."""
    version: pulumi.Output[str]
    """Version of the control plane, checked against what the deliveries need; empty without Google."""
    kubeconfig: pulumi.Output[str]
    """Its text, or the path of the one that was given; secret, although a GKE cluster's holds no credentials."""
    project: pulumi.Output[str]
    resource: pulumi.Resource | None = None
    """The cluster, where this stack creates it and may delete it: `deleted_with` for what goes with it."""
    system_account: pulumi.Output[str] | None = None
    """Email of the service account of the pool without GPUs, where this stack creates the cluster."""
    settings: StackCluster
    described: dict[str, pulumi.Output[str]]
    """The cluster as the stack's outputs show it (`oci_model_serving.outputs.ClusterOutput`)."""

    def __init__(self, name: str, settings: StackCluster, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:Cluster", name, None, opts)
        self._name, self.settings = name, settings
        # Not annotated in the class: the SDK evaluates those of every resource, and this would load Google's SDK.
        self._found: pulumi.Output[gcp.container.GetClusterResult] | None = None
        if not settings.serves:
            self._none()
        elif settings.settings.create:
            self._create(settings.settings.create)
        elif settings.settings.name:
            self._adopt()
        else:
            self._local()
        self.described = {"name": self.name, "location": self.location, "version": self.version}
        self.register_outputs({**self.described, "kubeconfig": self.kubeconfig, "project": self.project})

    @property
    def readers(self) -> dict[str, pulumi.Output[str]]:
        """The account of its own nodes, where models run on them and pull their images."""
        account = self.system_account if self.settings.runs_models else None
        return {} if account is None else {pool_names.SYSTEM: account}

    def node_account(self, key: str) -> pulumi.Output[str]:
        """Email of the account of a pool's nodes that this stack does not make; `default` is Compute Engine's own."""
        if self._found is None:  # of a new cluster, with a ComputeClass that nobody has made yet
            # Of a project whose APIs may only just be enabled: nothing is looked up before the cluster is there.
            return self.version.apply(lambda _: adopted_nodes.DEFAULT_ACCOUNT)
        pool = self.settings.given[key]
        return self._found.apply(lambda result: adopted_nodes.account(result, key, pool))

    def inside(self, *others: pulumi.Resource, outlives: bool = False) -> pulumi.ResourceOptions:
        """Options of what goes into the cluster, after it and `others`.

        It goes with the cluster, unless it `outlives` it: has something outside that only its own deletion removes.
        """
        return pulumi.ResourceOptions(
            providers=[self.provider] if self.provider else [],
            depends_on=[self, *others],
            deleted_with=None if outlives else self.resource,
        )

    # A cluster of one's own.

    def _create(self, create: ClusterCreate) -> None:
        settings, name = self.settings, self._name
        if create.alpha:
            pulumi.log.warn(image_volume.ALPHA_WARNING, resource=self)
        apis = (*APIS, *hardening.apis(create)) if create.enable_apis else ()
        enabled = google_apis.enabled(self, name, settings.project, apis)
        after = pulumi.ResourceOptions(parent=self, depends_on=enabled)
        account, bindings = node_accounts.node_account(
            f"{name}-{pool_names.SYSTEM}",
            pool_names.account_id(create.name, pool_names.SYSTEM),
            project=settings.project,
            pool=pool_names.SYSTEM,
            streaming=False,
            opts=after,
        )
        net = network.given(create) or network.create_network(name, settings, create, after)
        cluster = gke.cluster(
            name,
            settings,
            create,
            net,
            account=account.email,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*enabled, *net.before]),
        )
        # While Google refuses to delete the cluster, its pools and objects must not be forgotten in its favour.
        self.resource = None if create.deletion_protection else cluster
        pool = gke.system_pool(
            f"{name}-{pool_names.SYSTEM}",
            create,
            cluster,
            account=account.email,
            opts=pulumi.ResourceOptions(parent=self, depends_on=bindings, deleted_with=self.resource),
        )
        self.system_account = account.email
        self.name, self.location = cluster.name, cluster.location
        self.project = pulumi.Output.from_input(settings.project)
        self.version = cluster.master_version.apply(self._checked_version)
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
        self._connect(config, [pool])

    # One that exists.

    def _adopt(self) -> None:
        settings = self.settings
        found = gcp.container.get_cluster_output(
            name=settings.name,
            location=settings.location,
            project=settings.project,
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        checked = self._found = found.apply(self._checked)
        self.name, self.location = pulumi.Output.from_input(settings.name), pulumi.Output.from_input(settings.location)
        self.project = pulumi.Output.from_input(settings.project)
        self.version = checked.apply(lambda result: str(result.master_version))
        self._connect(checked.apply(adopted_cluster.config), [])

    def _checked(self, result: gcp.container.GetClusterResult) -> gcp.container.GetClusterResult:
        reported = adopted_cluster.reported(result)
        problems = adopted_cluster.problems(reported, self.settings)
        problems += adopted_nodes.problems(adopted_nodes.reported(result), self.settings)
        if problems:
            raise ClusterError("\n".join(problems))
        for warning in adopted_cluster.warnings(reported, name=self.settings.name):
            pulumi.log.warn(warning, resource=self)
        return result

    def _checked_version(self, version: str) -> str:
        settings = self.settings
        if settings.needs_image_volume:
            problem = image_volume.problem(version, alpha=settings.alpha, sandbox=False, subpath=settings.needs_subpath)
            if problem:
                raise ClusterError(f"cluster.create: {problem}")
        return version

    # None at all.

    def _none(self) -> None:
        pulumi.log.info(NO_CLUSTER, resource=self)
        self.name = self.location = self.version = self.project = pulumi.Output.from_input("")
        self.kubeconfig = pulumi.Output.secret(kubeconfig.NONE)

    # None of Google's.

    def _local(self) -> None:
        cluster = self.settings.settings
        self.name = self.location = pulumi.Output.from_input("local")
        self.version = self.project = pulumi.Output.from_input("")
        mine = pulumi.ResourceOptions(parent=self)
        if not cluster.kubeconfig:
            self.kubeconfig = pulumi.Output.secret(kubeconfig.NONE)
            if not pulumi.runtime.is_dry_run():
                private_folder(Path(LOCAL))  # the provider renders Secrets as they are
            # Rendering excludes a kubeconfig (the provider refuses both).
            self.provider = k8s.Provider(self._name, render_yaml_to_directory=self.settings.manifests, opts=mine)
            return
        path = Path(cluster.kubeconfig).expanduser().absolute()
        try:
            path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ClusterError(
                f"cluster.kubeconfig: {path} cannot be read ({reason}): write the path of a kubeconfig file, or remove "
                "the key to have the manifests rendered"
            ) from error
        # By its path: what it holds, credentials too, stays out of the state, and a renewed one is read again.
        self.kubeconfig = pulumi.Output.secret(str(path))
        self.provider = k8s.Provider(
            self._name, kubeconfig=self.kubeconfig, context=cluster.context, enable_server_side_apply=True, opts=mine
        )

    def _connect(self, config: pulumi.Output[str], after: list[pulumi.Resource]) -> None:
        """Make the provider.

        `delete_unreachable` stays off: it would forget everything in a cluster that is away for a minute. Objects that
        go with the cluster say so themselves, by `deleted_with`.
        """
        # The version has been checked before anything goes in.
        guarded = pulumi.Output.all(config, self.version).apply(lambda known: str(known[0]))
        self.kubeconfig = pulumi.Output.secret(guarded)
        settings = self.settings
        self.provider = k8s.Provider(
            self._name,
            kubeconfig=self.kubeconfig,
            # Without it, a changed kubeconfig (another CA, another address) would replace everything in the cluster.
            cluster_identifier=f"{settings.project}/{settings.location}/{settings.name}",
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )
