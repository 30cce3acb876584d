"""Where a pod is, or finds no place: scheduler, autoscaler, nodes and evictions.

The scheduler counts nodes by the first filter that each fails: taints come before labels, then free GPUs and CPU, then
volumes, then spread and affinity (kube-scheduler 1.35, the order of its default plugins). What a later filter says is
of a node that has passed the others, so that it hides what is said of those that are not the model's.
"""

from components.google import refusals
from watch.complaints import Topic
from watch.table.row import Row

_AUTOSCALER = "https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-autoscaler-visibility"
_SCHEDULER = "kube-scheduler 1.35, pkg/scheduler/framework/plugins"
_KUBELET = "kubelet 1.35, pkg/kubelet"
_NODE = Topic.POD | Topic.NODE
_NOT_OURS = ("queued-pool", "node-cordoned", "untolerated-taint", "no-matching-node")
_NO_ROOM = ("no-accelerator", "too-many-pods", "insufficient-resources", "insufficient-disk", *_NOT_OURS)
_TRIED = ("autoscaler-backoff", "scale-up-failed", *_NO_ROOM)

_DISKS = (
    Row(
        "disk-too-small",
        r"ImageGCFailed|FreeDiskSpaceFailed|no space left on device|disk pressure|DiskPressure"
        r"|low on resource: (?:ephemeral-storage|imagefs|nodefs|containerfs)|InvalidDiskCapacity",
        "the node's disk is too small for its images: set {disk} (twice the sum of all images that land there, and the "
        "system, below the kubelet's threshold)",
        "tests/watch/statuses/disk-pressure.json",
    ),
    Row(
        "shm-full",
        r'Usage of EmptyDir volume "shm" exceeds',
        "the server has written more into /dev/shm than it may: raise `models.NAME.resources.shm`, which counts as "
        "memory of the pod",
        f"{_KUBELET}/eviction/helpers.go",
        Topic.POD,
        hides=("ephemeral-limit",),
    ),
    Row(
        "ephemeral-limit",
        r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit|Usage of EmptyDir volume",
        "a container wrote more to the node's disk, or to an emptyDir, than its limit allows: raise the limit, or have "
        "the server write less (its caches)",
        f"{_KUBELET}/eviction/helpers.go: by pod, by container, by volume",
        lasting=True,
    ),
)
_AUTOSCALED = (
    Row(
        "quota",
        *refusals.QUOTA,
        "tests/components/google/test_refusals.py",
        Topic.SCHEDULING,
        hides=_TRIED,
    ),
    Row(
        "stockout",
        *refusals.STOCKOUT,
        "tests/components/google/test_refusals.py",
        Topic.SCHEDULING,
        hides=_TRIED,
    ),
    Row(
        "addresses-exhausted",
        r"IP space exhausted|IP_SPACE_EXHAUSTED|ip\.space\.exhausted",
        "there are no addresses left for another node or its pods, of which a node takes twice its most pods: lower "
        "`{setting}.maxPodsPerNode` (8 pods take 16 addresses; the pool is made anew), or give the cluster another "
        "range (`gcloud container clusters update CLUSTER --additional-pod-ipv4-ranges=RANGE`); a new cluster takes "
        "larger ones in `cluster.create.newNetwork.podsCidr` and `.nodesCidr`",
        _AUTOSCALER,
        Topic.SCHEDULING,
        lasting=True,
        hides=_TRIED,
    ),
    Row(
        "node-account-deleted",
        r"Service Account was deleted|service\.account\.deleted|SERVICE_ACCOUNT_DELETED",
        "the nodes' service account is gone, and no node starts without it: `pulumi up --refresh` makes it and its "
        "roles again; one of `{setting}.serviceAccount` its owner restores (`gcloud iam service-accounts undelete`, 30 "
        "days)",
        _AUTOSCALER,
        Topic.SCHEDULING,
        lasting=True,
        hides=_TRIED,
    ),
    Row(
        "node-account-forbidden",
        r"PERMISSIONS_ERROR|iam\.serviceAccounts\.actAs|iam\.serviceAccountUser"
        r"|does not have access to service account",
        "Google may not make nodes with their service account: GKE's own agent "
        "(service-NUMBER@container-engine-robot.iam.gserviceaccount.com) needs roles/container.serviceAgent in the "
        "project, and roles/iam.serviceAccountUser on an account of another project ({account}); `gcloud projects "
        "get-iam-policy PROJECT` shows who has what",
        "https://cloud.google.com/kubernetes-engine/docs/troubleshooting/service-accounts",
        Topic.SCHEDULING | Topic.NODE,
        lasting=True,
        hides=_TRIED,
    ),
    Row(
        "reservation-full",
        r"Reservation capacity exceeded|[Rr]eservation \S+ is insufficient|does not have available resources for the"
        r"|[Rr]eservation .* does not have sufficient capacity",
        "the reservation that the pool takes from (`{setting}.reservation`) has no free machine: raise it or free one "
        "(`gcloud compute reservations describe`), lower `{setting}.maxNodes` or `models.NAME.replicas`, or remove "
        "`{setting}.reservation` for machines on demand",
        _AUTOSCALER,
        Topic.SCHEDULING,
        hides=_TRIED,
    ),
    Row(
        "reservation-mismatch",
        r"Invalid Reservation|Reservation not (?:ready|found)|Reservation incompatible"
        r"|[Rr]eservation \S+ (?:not found|is incorrect)|No available resources in specified reservations",
        "the reservation of `{setting}.reservation` is not there, or of another zone or machine than the pool's: write "
        "its own zone into `{setting}.zones`, and its own machine into `{setting}.machineType`, `.accelerator`, "
        "`.count` and `.localSsd` (`gcloud compute reservations list`); one of another project must be shared with "
        "this one",
        _AUTOSCALER,
        Topic.SCHEDULING,
        lasting=True,
        hides=_TRIED,
    ),
    Row(
        "compact-placement",
        r"Unsupported Compact Placement Config|Node group \S+ already exists",
        "the pool wants its nodes beside each other (compact placement), which its machine type does not do there: "
        "take another `{setting}.machineType` or `{setting}.zones`, or a pool without that policy (`gcloud container "
        "node-pools describe`: placementPolicy)",
        _AUTOSCALER,
        Topic.SCHEDULING,
        lasting=True,
        hides=_TRIED,
    ),
    Row(
        "nodes-not-registered",
        r"failed to appear in time|waiting\.for\.instances\.timeout",
        "machines were made and did not become nodes in 15 minutes: their account needs "
        "roles/container.defaultNodeServiceAccount, and private ones a way to Google's APIs (Private Google Access); "
        "`gcloud compute instances get-serial-port-output` of one says what fails",
        _AUTOSCALER,
        Topic.SCHEDULING,
        hides=_TRIED,
    ),
    Row(
        "scale-up-failed",
        r"FailedScaleUp: ",
        "Google has made no node and says no more here: `gcloud compute instance-groups managed list-errors GROUP "
        "--zone ZONE` does, of the group that TriggeredScaleUp names",
        _AUTOSCALER,
        Topic.SCHEDULING,
        hides=("autoscaler-backoff", *_NO_ROOM),
    ),
    Row(
        "pool-at-maximum",
        r"[Mm]ax node ?(?:group|pool) size reached|max cluster size reached",
        "the pool has all its nodes already: raise {setting}.maxNodes, or lower `models.NAME.replicas`",
        "tests/watch/statuses/pool-at-maximum.json",
        Topic.SCHEDULING,
        hides=_NO_ROOM,
    ),
    Row(
        "cluster-at-maximum",
        r"max cluster (?P<resources>[^;]+?) limit reached",
        "the cluster's own limit of {resources} is reached, which autoscaling has beside the pools' (node "
        "auto-provisioning): raise it, `gcloud container clusters update CLUSTER --enable-autoprovisioning --max-cpu N "
        "--max-memory GB --max-accelerator type=TYPE,count=N`",
        "kubernetes/autoscaler, cluster-autoscaler/core/scaleup/orchestrator/skippedreasons.go",
        Topic.SCHEDULING,
        hides=_NO_ROOM,
    ),
    Row(
        "autoscaler-backoff",
        r"in backoff after failed scale-up",
        "the autoscaler has tried to make a node, has failed and waits before it tries again, mostly for want of "
        "quota, of such machines or of addresses: its log says which, `gcloud logging read "
        "'log_id(\"container.googleapis.com/cluster-autoscaler-visibility\")' --freshness 2h`; then raise the quota, "
        "or add zones to {setting}.zones",
        "https://github.com/2i2c-org/infrastructure/issues/2185",
        Topic.SCHEDULING,
        hides=_NO_ROOM,
    ),
    Row(
        "pool-not-ready",
        r"\d not ready for scale-up",
        "the pool is being made, upgraded or repaired: wait until `gcloud container node-pools list` says RUNNING; if "
        "it says ERROR, `describe` says why",
        "https://github.com/gardener/autoscaler/issues/67",
        Topic.SCHEDULING,
        hides=_NOT_OURS,
    ),
)
_SCHEDULED = (
    Row(
        "scheduling-gated",
        r"non-empty scheduling gates",
        "something holds the pod back from the scheduler by a gate, as a queue (Kueue) that has no room for it: "
        "`kubectl -n {namespace} get pod {pod} -o jsonpath={.spec.schedulingGates}` names it; have the namespace "
        "excepted, or give the queue room",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/",
        Topic.SCHEDULING,
    ),
    Row(
        "topology-spread",
        r"didn't match pod topology spread constraints",
        "where there is room, the pods would be spread unevenly: set `whenUnsatisfiable: ScheduleAnyway` in "
        "`models.NAME.topologySpread`, or have nodes in each of the zones ({setting}.zones, {setting}.maxNodes)",
        "https://github.com/aws/karpenter-provider-aws/issues/6447",
        Topic.SCHEDULING,
        hides=_NO_ROOM,
    ),
    Row(
        "pod-affinity",
        r"didn't (?:match|satisfy) (?:existing )?pods?'?s? (?:anti-)?affinity(?:/anti-affinity)?(?: rules)?"
        r"|didn't satisfy existing pods anti-affinity",
        "where there is room, a rule on the pods beside it forbids this one (pod affinity or anti-affinity), which "
        "this project never sets: `kubectl -n {namespace} get pod {pod} -o jsonpath={.spec.affinity}` shows what has "
        "put it there; more nodes help against anti-affinity ({setting}.maxNodes)",
        "https://github.com/loft-sh/devpod-provider-kubernetes/issues/63",
        Topic.SCHEDULING,
        hides=_NO_ROOM,
    ),
    Row(
        "volume-elsewhere",
        r"volume node affinity conflict|available persistent volumes to bind|unbound immediate PersistentVolumeClaims"
        r"|persistentvolumeclaim \S+ not found|pvc\(s\) bound to non-existent",
        "a volume of the pod is in another zone than the pool's nodes, or is not there: models take their files from "
        "images and need none, so see what has put it there (`kubectl -n {namespace} describe pod {pod}`, `kubectl -n "
        "{namespace} get pvc`), or add its zone to {setting}.zones",
        "https://github.com/opendatahub-io/odh-manifests/issues/259",
        Topic.SCHEDULING,
        hides=_NO_ROOM,
    ),
    Row(
        "no-accelerator",
        r"Insufficient nvidia\.com/gpu",
        "{accelerators}",
        "tests/watch/statuses/no-accelerator.json",
        Topic.SCHEDULING,
        hides=("insufficient-resources", *_NOT_OURS),
    ),
    Row(
        "too-many-pods",
        r"Too many pods",
        "the node has as many pods as it may: raise `{setting}.maxPodsPerNode` (the pool is made anew), or "
        "{setting}.maxNodes",
        f"{_SCHEDULER}/noderesources",
        Topic.SCHEDULING,
        hides=_NOT_OURS,
    ),
    Row(
        "insufficient-resources",
        r"Insufficient (?P<resource>cpu|memory)",
        "the pod asks for more {resource} than a node of the pool has free: lower `models.NAME.resources.{resource}`, "
        "or take a larger `{setting}.machineType`; where other pods hold it, raise {setting}.maxNodes",
        "tests/watch/statuses/insufficient-memory.json",
        Topic.SCHEDULING,
        hides=_NOT_OURS,
    ),
    Row(
        "insufficient-disk",
        r"Insufficient ephemeral-storage",
        "the pod asks for more of the node's disk than it has free: set {disk}",
        f"{_SCHEDULER}/noderesources",
        Topic.SCHEDULING,
        hides=_NOT_OURS,
    ),
    Row(
        "queued-pool",
        r"taint \{cloud\.google\.com/gke-queued|No nodepool with QueuedProvisioning",
        "the pool takes ProvisioningRequests only, and the pod has none: set `{setting}.queuedProvisioning: false` "
        "(the pool is made anew), or take another `models.NAME.nodePool`",
        "https://cloud.google.com/kubernetes-engine/docs/how-to/provisioningrequest",
        Topic.SCHEDULING,
        hides=("untolerated-taint", "no-matching-node"),
    ),
    Row(
        "node-cordoned",
        r"node\(s\) were unschedulable",
        "a node of the pool takes no pods, by command or since it is being drained (an upgrade): `kubectl uncordon "
        "NODE`, or wait for another",
        "https://kubernetes.io/docs/concepts/architecture/nodes/#manual-node-administration",
        Topic.SCHEDULING,
        hides=("no-matching-node",),
    ),
    Row(
        "untolerated-taint",
        r"untolerated taint|had taint \{",
        "{tolerate}",
        "tests/watch/statuses/untolerated-taint.json",
        Topic.SCHEDULING,
    ),
    Row(
        "no-matching-node",
        r"didn't match (?:Pod's )?node (?:affinity/)?selector|didn't match Pod's node affinity",
        "no node has the labels that the pod asks for: the pool {pool} has no node yet or other labels; compare "
        "`pulumi stack output node_pools` with the nodes, and {setting}.maxNodes",
        "tests/watch/statuses/no-matching-node.json",
        Topic.SCHEDULING,
    ),
    Row(
        "no-nodes",
        r"no nodes available to schedule pods",
        "the cluster has no node at all: see {setting}.minNodes and .maxNodes, and what `kubectl get events -A` says "
        "of the autoscaler",
        "kube-scheduler 1.35, pkg/scheduler/schedule_one.go",
        Topic.SCHEDULING,
    ),
)
_NODES = (
    Row(
        "gpu-unhealthy",
        r"GPU is lost|fallen off the bus|XidCriticalError|\bXid\b.{0,40}\d|unhealthy devices? nvidia\.com"
        r"|no healthy devices present|marked unhealthy|Unable to determine the device handle for GPU",
        "a GPU of the node has failed, or its device plugin has lost it: take the node away and GKE makes another, "
        "`kubectl drain {node} --ignore-daemonsets --delete-emptydir-data`, then `gcloud compute instances delete "
        "{node} --zone ZONE`; the failed pods stay until `kubectl -n {namespace} delete pod {pod}`",
        "https://github.com/NVIDIA/k8s-device-plugin/issues/231",
        _NODE | Topic.START,
        hides=("gpu-not-allocated",),
    ),
    Row(
        "node-shutdown",
        r"imminent node shutdown|[Nn]ode is shutting|NodeShutdown|^Shutdown: |in progress of shutting down",
        "its node was shut down: a Spot VM is taken back at any time (`{setting}.spot: false`, or `.reservation`, and "
        "`models.NAME.replicas.min: 2` on more than one node), one of `{setting}.maxRunDuration` at its end, any for "
        "an upgrade or a repair (`cluster.create.maintenance`); the new pod waits for another node",
        "https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/",
        _NODE,
        hides=("node-lost", "node-drained"),
    ),
    Row(
        "node-lost",
        r"NodeLost|NodeStatusUnknown|[Kk]ubelet stopped posting|DeletionByTaintManager|DeletionByPodGC"
        r"|Marking for deletion Pod|NodeNotReady|Ready=False",
        "its node does not answer, and its pods go: `kubectl describe node {node}` says since when; a Spot VM may have "
        "been taken back ({setting}.spot), and GKE repairs others within some minutes; `gcloud compute instances "
        "delete {node} --zone ZONE` is faster",
        "https://github.com/kubernetes/kubernetes/issues/89212",
        _NODE,
    ),
    Row(
        "node-drained",
        r"EvictionByEvictionAPI|Eviction API: evicting",
        "its node was drained, for an upgrade, by the autoscaler or by command: the new pod goes elsewhere; keep "
        "`models.NAME.replicas.min: 2` so that one always serves, and upgrades to `cluster.create.maintenance`",
        "https://kubernetes.io/docs/concepts/workloads/pods/disruptions/",
        Topic.POD,
    ),
    Row(
        "preempted",
        r"PreemptionByScheduler|preempting to accommodate|^Preempted: |Preempted in order to admit|^Preempting: ",
        "it had to go for a pod of higher priority: give the model one, `models.NAME.priorityClass`, or raise "
        "{setting}.maxNodes",
        "https://kubernetes.io/docs/concepts/workloads/pods/disruptions/",
        Topic.POD,
    ),
    Row(
        "gpu-not-allocated",
        r"devices unavailable for nvidia\.com|OutOfnvidia\.com/gpu|have enough resource: nvidia\.com"
        r"|cannot allocate unregistered device nvidia\.com|UnexpectedAdmissionError: .*nvidia\.com/gpu",
        "the node had no free GPU when its kubelet took the pod, as after a restart of the node, the kubelet or the "
        "device plugin: another pod is made in its place; take this one away (`kubectl -n {namespace} delete pod "
        "{pod}`), and if others fail as well, the node (`kubectl drain {node} --ignore-daemonsets`)",
        "https://github.com/NVIDIA/k8s-device-plugin/issues/153",
        Topic.POD | Topic.START,
    ),
    Row(
        "node-full",
        r"OutOf(?:cpu|memory|pods|ephemeral-storage|CPU|Memory|Pods)\b"
        r"|have enough resource: (?:cpu|memory|pods|ephemeral)",
        "the node had less free than the scheduler took it to have, as after a restart of its kubelet or while it "
        "starts: another pod is made in its place (`kubectl -n {namespace} delete pod {pod}` takes this one away); "
        "where that goes on, lower `models.NAME.resources`, or take a larger `{setting}.machineType`",
        "https://github.com/kubernetes/website/issues/47264",
        Topic.POD | Topic.START,
    ),
    Row(
        "node-labels-changed",
        r"Predicate NodeAffinity failed|^NodeAffinity: ",
        "the node's labels were not the pool's when its kubelet took the pod, as after a restart: `kubectl get node "
        "{node} --show-labels` against `pulumi stack output node_pools`; another pod is made in its place",
        f"{_KUBELET}/lifecycle/predicate.go",
        Topic.POD | Topic.START,
    ),
    Row(
        "numa-nodes",
        r"TopologyAffinityError|cannot be allocated with Topology locality",
        "CPU, memory and GPUs of the pod are not free on one NUMA node of the machine, which the node's topology "
        "manager asks for: lower `models.NAME.resources.cpu` and `.memory` to that part of it, or have the pool's "
        "kubelet ask less",
        f"{_KUBELET}/cm/topologymanager/scope.go",
        Topic.POD | Topic.START,
    ),
    Row(
        "memory-pressure",
        r"low on resource: memory|MemoryPressure",
        "the node has no memory left, since pods take more than they ask for (`kubectl top pods -A --sort-by memory`): "
        "take a larger `{setting}.machineType`, or keep others off the pool by {setting}.taints",
        "https://github.com/FederatedAI/KubeFATE/issues/64",
        _NODE,
    ),
    Row(
        "pid-pressure",
        r"low on resource: pids|PIDPressure",
        "the node has too many processes: see which pod starts them (`kubectl debug node/{node} -it --image busybox -- "
        "ps`), and keep it off the pool by {setting}.taints",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
        _NODE,
    ),
)
_STARTED = (
    Row(
        "container-slow",
        r"^(?:CreateContainerError|RunContainerError|Failed: Error): context deadline exceeded"
        r"|failed to reserve (?:container|sandbox) name|error reserving (?:ctr|pod) name",
        "the node takes longer to make the container than its kubelet waits for (two minutes), mostly since its disk "
        "is slow or throttled: it comes by itself. For the next one take a faster {setting}.bootDisk.type or a larger "
        "{setting}.bootDisk.sizeGb, which is faster too; where it stays so for half an hour, take the node away "
        "(`kubectl drain {node} --ignore-daemonsets --delete-emptydir-data` and `kubectl delete node {node}`)",
        "https://github.com/containerd/containerd/issues/4604",
        Topic.START,
        passes=True,
        hides=("sandbox-failed",),
    ),
    Row(
        "node-addresses-exhausted",
        r"no IP addresses available in range|range is full|failed to assign an IP address to container",
        "the node has no address left for a pod, since pods that are gone still hold some or it has too many: take the "
        "node away (`kubectl drain {node} --ignore-daemonsets --delete-emptydir-data`, then `gcloud compute instances "
        "delete {node} --zone ZONE`); if new ones end so, raise `{setting}.maxPodsPerNode`, by which a node's "
        "addresses are counted",
        "https://github.com/kubernetes/test-infra/issues/13039",
        Topic.START | Topic.NODE,
        hides=("node-network", "sandbox-failed"),
    ),
    Row(
        "node-network",
        r"FailedCreatePodSandBox: .*(?:network|cni|CNI)|NetworkNotReady|NetworkPluginNotReady"
        r"|cni plugin not initialized",
        "the node's network is not ready for pods: on a node that is new it will be in a minute; else see its "
        "network's pods (`kubectl -n kube-system get pods -o wide --field-selector spec.nodeName={node}`), and take "
        "the node away if one fails (`kubectl drain {node} --ignore-daemonsets`)",
        "https://github.com/NVIDIA/gpu-operator/issues/1577",
        Topic.START | Topic.NODE,
        hides=("node-lost", "sandbox-failed"),
    ),
    Row(
        "runtime-class",
        r"no runtime for \S+ is configured|unknown runtime handler|RuntimeClass \S+ not found"
        r"|RuntimeHandler \S+ not supported",
        "the pod asks for a way to run containers (RuntimeClass) that the node does not have: see what has put it "
        "there (`kubectl -n {namespace} get pod {pod} -o jsonpath={.spec.runtimeClassName}`); GKE Sandbox is "
        "`{setting}.sandbox: gvisor`, and GPUs need none",
        f"{_KUBELET}/kuberuntime/kuberuntime_sandbox.go",
        Topic.START | Topic.ADMISSION,
        hides=("node-network", "sandbox-failed"),
    ),
    Row(
        "sandbox-failed",
        r"FailedCreatePodSandBox: (?!.*(?:image|layer|snapshot|content digest))",
        "the node cannot make the pod's sandbox, for a reason of its own: take it away and GKE makes another, `kubectl "
        "drain {node} --ignore-daemonsets --delete-emptydir-data`, then `gcloud compute instances delete {node} --zone "
        "ZONE`",
        "https://github.com/ministryofjustice/cloud-platform/issues/7561",
        Topic.START,
    ),
    Row(
        "secret-missing",
        r"(?i:(?P<kind>secret|configmap)) \\?\"(?P<name>(?!kube-root-ca)[^\"\\]+)\\?\" not found",
        "the pod names the {kind} {name}, which is not there: that of `models.NAME.secretEnv` `pulumi up --refresh` "
        "makes again; one that `models.NAME.env` names (secretKeyRef) is yours to make (`kubectl -n {namespace} get "
        "secrets,configmaps`)",
        "https://github.com/hetznercloud/csi-driver/issues/299",
        Topic.START,
        hides=("volume-not-mounted",),
    ),
    Row(
        "secret-key-missing",
        r"couldn't find key (?P<key>\S+) in (?P<of>\w+ \S+)",
        "{of} has no key {key}: name one that it has in `models.NAME.env` (secretKeyRef), or add it; that of "
        "`models.NAME.secretEnv` `pulumi up --refresh` writes as the settings say",
        "https://github.com/keptn/lifecycle-toolkit/issues/588",
        Topic.START,
    ),
    Row(
        "volume-key-missing",
        r"volume \\?\"(?P<volume>[^\"\\]+)\\?\" : .*references non-existent \w+ key: (?P<key>\S+)",
        "what the volume {volume} is made of has no key {key}: add it, or see what has put the volume into the pod "
        "(`kubectl -n {namespace} describe pod {pod}`): models have none of their own",
        "https://github.com/galexrt/kubernetes-keycloak/issues/5",
        Topic.START,
        hides=("volume-not-mounted",),
    ),
    Row(
        "volume-not-mounted",
        r"FailedMount: (?!.*(?:not registered|kube-root-ca))(?:Unable to |MountVolume)|FailedAttachVolume: ",
        "a volume of the pod cannot be mounted: models take their files from images and need no other, so see what has "
        "put it there, and why it fails (`kubectl -n {namespace} describe pod {pod}`)",
        "https://github.com/kubernetes/kubernetes/issues/30177",
        Topic.START,
    ),
)

ROWS = (*_DISKS, *_NODES, *_STARTED, *_AUTOSCALED, *_SCHEDULED)
