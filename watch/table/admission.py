"""Why there is no pod: what the API server, its webhooks and policies, and the platforms' controllers refuse."""

from watch.complaints import Topic
from watch.table.row import Row

_ADMISSION = "kube-apiserver 1.35, plugin/pkg/admission"
_KSERVE = "KServe v0.20.0, pkg/apis/serving/v1beta1/inference_service_status.go"
_NAMED = r"failed calling webhook \\?\"(?P<webhook>{name})\\?\""

_POLICIES = (
    Row(
        "not-allowed",
        r"ValidatingAdmissionPolicy 'oci-model-serving-[^']*' with binding .* denied request",
        "the cluster takes only what the stack has verified: change the model in the stack's settings and run `pulumi "
        "up`; an image that something else puts into pods is named in `cluster.allowList.images`",
        "kube-apiserver 1.35; the policies are those of components/serving/admission_rules.py",
        Topic.ADMISSION,
    ),
    Row(
        "binary-authorization",
        r"imagepolicywebhook\.image-policy|image policy webhook backend denied|VIOLATES_POLICY|[Dd]enied by [Aa]ttestor"
        r"|[Dd]enied by (?:Binary Authorization|\w+ admission rule|always_deny)|Binary Authorization",
        "the project's Binary Authorization policy takes no such image: have its registry exempted there (`gcloud "
        "container binauthz policy export`, admissionWhitelistPatterns, `import`), or the image attested (`gcloud "
        "container binauthz attestations sign-and-create`), which works for one by digest only: write `{server}` as "
        "HOST/REPO@sha256:… (`oms pin`); a cluster of the stack's own asks it where "
        "`cluster.create.hardening.binaryAuthorization` is true",
        "https://github.com/GoogleCloudPlatform/gke-binary-auth-tools/issues/4",
        Topic.ADMISSION | Topic.PULL | Topic.START,
        lasting=True,
    ),
    Row(
        "autopilot-refused",
        r"warden-validating[\s\S]*?denied by (?P<constraint>[\w-]+)",
        "GKE Autopilot takes no such pod ({constraint}): what it objects to stands in its words, and comes from the "
        "settings or from what else puts containers into pods; a Standard cluster (`cluster.create`, or `cluster.name` "
        "of one) has no such rules",
        "https://cloud.google.com/kubernetes-engine/docs/troubleshooting/autopilot-clusters",
        Topic.ADMISSION,
    ),
    Row(
        "kserve-refused",
        r"admission webhook \\?\"[^\"\\]*k(?:f|serve)[^\"\\]*\\?\" denied the request",
        "KServe itself refuses what it is asked for, in its own words: compare its version with "
        "`platforms.kserve.version`; what the settings give (`models.NAME.args`, `.env`, `.labels`, `.resources`) goes "
        "there as it is",
        "KServe v0.20.0, pkg/apis/serving/v1beta1/inference_service_validation.go",
        Topic.ADMISSION,
    ),
    Row(
        "policy-refused",
        r"(?:admission webhook \\?\"|ValidatingAdmissionPolicy ')"
        r"(?P<policy>(?!oci-model-serving-|warden-|imagepolicywebhook)(?![^\"']*(?:kserve|kfserving))[^\"'\\]+)"
        r"\\?[\"'] (?:denied|with binding .* denied)",
        "a policy of the cluster ({policy}) takes no such pod, and says what it wants: follow it where a setting can "
        "(`models.NAME.labels`, `.resources`, `.server.image`; an image by digest), else have its owner except the "
        "namespace {namespace}",
        "https://github.com/streamdal/streamdal/pull/306",
        Topic.ADMISSION,
    ),
    Row(
        "pod-security-baseline",
        r"violates PodSecurity \\?\"baseline",
        "a pod of this project keeps to `baseline`: something else has added to it what the message names, as a "
        "webhook that injects sidecars; take it out, or relax the namespace's label pod-security.kubernetes.io/enforce",
        "https://kubernetes.io/docs/concepts/security/pod-security-standards/",
        Topic.ADMISSION,
        hides=("pod-security",),
    ),
    Row(
        "pod-security",
        r"violates PodSecurity",
        "the namespace's Pod Security level refuses the pod: modelcar passes `baseline` but not `restricted`; relax "
        "the namespace's label pod-security.kubernetes.io/enforce, or set `models.NAME.delivery: native`",
        "tests/watch/statuses/pod-security.json",
        Topic.ADMISSION,
    ),
)
_LIMITS = (
    Row(
        "resource-quota",
        r"exceeded quota: (?P<quota>[^,\s]+)",
        "the namespace's ResourceQuota {quota} leaves no room for the pod: raise it (`kubectl -n {namespace} describe "
        "resourcequota {quota}`), or lower `models.NAME.resources`, `models.NAME.gpus` or `models.NAME.replicas`",
        f"{_ADMISSION}/resourcequota",
        Topic.ADMISSION,
    ),
    Row(
        "quota-wants-resources",
        r"failed quota: (?P<quota>[^:\s]+): must specify (?P<resources>[^\n]+)",
        "the namespace's ResourceQuota {quota} wants every container to say {resources}: set them in "
        "`models.NAME.resources` for the server; for one that something else adds give the namespace a LimitRange with "
        "defaults (`kubectl -n {namespace} get limitrange`)",
        "https://github.com/kserve/kserve/issues/1242",
        Topic.ADMISSION,
    ),
    Row(
        "limit-range",
        r"maximum (?P<resource>cpu|memory) usage per Container is (?P<bound>\d+(?:\.\d+)?[A-Za-z]*)",
        "the namespace's LimitRange allows a container {bound} of {resource}: set `models.NAME.resources.{resource}: "
        "{bound}`, or raise it (`kubectl -n {namespace} describe limitrange`)",
        "https://github.com/harn3ss/open-infra/issues/9",
        Topic.ADMISSION,
    ),
    Row(
        "limit-range-minimum",
        r"minimum (?P<resource>cpu|memory) usage per Container is (?P<bound>\d+(?:\.\d+)?[A-Za-z]*)",
        "the namespace's LimitRange wants at least {bound} of {resource} for each container, and KServe's modelcar has "
        "less: set `platforms.kserve.modelcar.{resource}: {bound}`, or lower it (`kubectl -n {namespace} describe "
        "limitrange`)",
        "https://github.com/rhobs/troubleshooting-scenarios/pull/54",
        Topic.ADMISSION,
    ),
    Row(
        "limit-range-of-others",
        r"(?:maximum|minimum) \S+ usage per Pod is|(?:maximum|minimum) (?!cpu|memory)\S+ usage per Container is"
        r"|max limit to request ratio per",
        "the namespace's LimitRange refuses the pod: change it (`kubectl -n {namespace} describe limitrange`), or "
        "`models.NAME.resources` and `models.NAME.gpus`",
        f"{_ADMISSION}/limitranger",
        Topic.ADMISSION,
    ),
    Row(
        "priority-class-missing",
        r"no PriorityClass with name (?P<class>\S+) was found",
        "there is no PriorityClass {class}: make it (`kubectl create priorityclass {class} --value 1000`), or change "
        "`models.NAME.priorityClass`",
        "https://github.com/alphagov/gsp/pull/843",
        Topic.ADMISSION,
    ),
    Row(
        "priority-class-forbidden",
        r"priorityClass is not permitted in|insufficient quota to match these scopes",
        "Kubernetes' own priority classes (system-…) are for its own namespaces: set another "
        "`models.NAME.priorityClass`",
        "https://github.com/giantswarm/chart-operator/pull/140",
        Topic.ADMISSION,
    ),
)
_WEBHOOKS = (
    Row(
        "webhook-certificate",
        _NAMED.format(name=r"[^\"\\]+") + r".*(?:x509: |tls: )",
        "the webhook {webhook} and the API server do not agree on its certificate: cert-manager's cainjector writes it "
        "into the registration, so see that its pods run (`kubectl -n cert-manager get pods`), then restart the "
        "webhook's own (`kubectl -n kserve rollout restart deploy/kserve-controller-manager`)",
        "https://github.com/kserve/kserve/issues/1749",
        Topic.ADMISSION,
        hides=("webhook-unreachable", "foreign-webhook-unreachable"),
    ),
    Row(
        "webhook-unreachable",
        _NAMED.format(name=r"[^\"\\]*(?:kserve|kfserving|cert-manager)[^\"\\]*"),
        "the webhook {webhook} must answer and does not: see that KServe's controller (kserve-controller-manager) and "
        "cert-manager run, and run `pulumi up` again once they are Ready; a timeout while they run is a firewall's: "
        "the control plane must reach the nodes on port 9443 (KServe) and 10250 (cert-manager)",
        "tests/watch/statuses/webhook-unreachable.json",
        Topic.ADMISSION,
    ),
    Row(
        "foreign-webhook-unreachable",
        _NAMED.format(name=r"(?![^\"\\]*(?:kserve|kfserving|cert-manager))[^\"\\]+"),
        "the webhook {webhook}, which is not of this project, must answer for each pod and does not: see that what it "
        "belongs to runs (`kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations`), or have its "
        "owner except the namespace {namespace}",
        "https://github.com/phenixblue/imageswap-webhook/issues/82",
        Topic.ADMISSION,
    ),
)
_CONTROLLERS = (
    Row(
        "paused",
        r"\bis paused\b",
        "bring it back with `oms resume`, or with `models.NAME.paused: false` and `pulumi up`",
        "watch/controllers.py",
        Topic.ADMISSION,
    ),
    Row(
        "object-missing",
        r"there is no (?:inferenceservices|models)/",
        "`pulumi up --refresh` makes it again",
        "watch/controllers.py",
        Topic.ADMISSION,
    ),
    Row(
        "runtime-missing",
        r"RuntimeNotRecognized|[Ss]erving[Rr]untimes?\S* \S+ not found",
        "the model's ServingRuntime, which this project makes, is gone: `pulumi up --refresh` brings it back",
        _KSERVE,
        Topic.ADMISSION,
    ),
    Row(
        "runtime-disabled",
        r"RuntimeDisabled|specified runtime \S+ is disabled",
        "somebody has switched the model's ServingRuntime off (spec.disabled): `pulumi up --refresh` brings it back as "
        "it must be",
        _KSERVE,
        Topic.ADMISSION,
    ),
    Row(
        "no-supporting-runtime",
        r"NoSupportingRuntime|InvalidPredictorSpec|[Nn]o runtime found to support",
        "KServe finds no ServingRuntime for the model as its object says now: `pulumi up --refresh` brings both back "
        "as they must be",
        _KSERVE,
        Topic.ADMISSION,
    ),
    Row(
        "storage-uri-refused",
        r"StorageURI not supported|[Ss]torage ?[Uu]ri,? must be one of",
        "this KServe does not know how the weights are named: `oci+native://` it knows from v0.20 on "
        "(`platforms.kserve.version: v0.20.0`), `oci://` where modelcar is on (kserve.storage.enableModelcar); or set "
        "another `models.NAME.delivery`",
        "https://github.com/kserve/kserve/issues/6136",
        Topic.ADMISSION,
    ),
    Row(
        "kubeai-profile-missing",
        r"resource profile not found: \\?\"(?P<profile>[^\"\\]+)",
        "KubeAI has no resource profile {profile}, which the stack makes of each node pool: `pulumi up --refresh` "
        "writes it; with `platforms.kubeai.install: false` its owner adds it to the chart's values (resourceProfiles)",
        "KubeAI 0.23.2, internal/modelcontroller/model_controller.go",
        Topic.ADMISSION,
    ),
    Row(
        "service-account-missing",
        r"error looking up service account",
        "the model's service account is gone: `pulumi up --refresh` brings it back",
        f"{_ADMISSION}/serviceaccount",
        Topic.ADMISSION,
    ),
    Row(
        "controller-forbidden",
        r"User \\?\"system:serviceaccount:(?P<who>[^\"\\]+)\\?\" cannot (?P<verb>\w+) resource",
        "the controller {who} may not {verb} what it must: its roles are the chart's, which `helm get manifest RELEASE "
        "-n NAMESPACE | kubectl apply --server-side --force-conflicts -f -` brings back",
        "kube-apiserver 1.35, plugin/pkg/auth/authorizer/rbac",
        Topic.ADMISSION,
    ),
    Row(
        "namespace-going",
        r"because it is being terminated",
        "the namespace is being deleted, with all that is in it: once it is gone (`kubectl get namespaces`), `pulumi "
        "up --refresh` makes all again; what keeps it stands in its status",
        f"{_ADMISSION}/namespace/lifecycle",
        Topic.ADMISSION,
    ),
)

ROWS = (*_POLICIES, *_LIMITS, *_WEBHOOKS, *_CONTROLLERS)
