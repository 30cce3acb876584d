"""Why there is no pod: what the API server, its webhooks and policies, and the platforms' controllers refuse."""

from watch.table.row import Row

ROWS = (
    Row(
        "not-allowed",
        r"ValidatingAdmissionPolicy 'oci-model-serving-[^']*' with binding .* denied request",
        "the cluster takes only what the stack has verified: change the model in the stack's settings and run "
        "`pulumi up`; an image that something else puts into pods is named in `cluster.allowList.images`",
        "kube-apiserver 1.35; the policies are those of components/serving/admission_rules.py",
    ),
    Row(
        "paused",
        r"\bis paused\b",
        "bring it back with `oms resume`, or with `models.NAME.paused: false` and `pulumi up`",
        "watch/controllers.py",
    ),
    Row(
        "runtime-missing",
        r"RuntimeNotRecognized|RuntimeDisabled|NoSupportingRuntime|InvalidPredictorSpec",
        "KServe cannot use the model's ServingRuntime, which this project makes: `pulumi up --refresh` brings it back "
        "as it must be",
        "KServe v0.20.0, pkg/apis/serving/v1beta1/inference_service_status.go",
    ),
    Row(
        "resource-quota",
        r"exceeded quota:",
        "the namespace's ResourceQuota leaves no room for the pod: raise it (`kubectl describe resourcequota`), or "
        "lower `models.NAME.resources` or `models.NAME.replicas`",
        "kube-apiserver 1.35, plugin/pkg/admission/resourcequota",
    ),
    Row(
        "limit-range",
        r"(?:maximum|minimum) \S+ usage per (?:Container|Pod) is",
        "the namespace's LimitRange refuses the pod: change it (`kubectl describe limitrange`), or "
        "`models.NAME.resources`",
        "kube-apiserver 1.35, plugin/pkg/admission/limitranger",
    ),
    Row(
        "service-account-missing",
        r"error looking up service account",
        "the model's service account is gone: `pulumi up --refresh` brings it back",
        "kube-apiserver 1.35, plugin/pkg/admission/serviceaccount",
    ),
    Row(
        "object-missing",
        r"there is no (?:inferenceservices|models)/",
        "`pulumi up --refresh` makes it again",
        "watch/controllers.py",
    ),
    Row(
        "webhook-unreachable",
        r"failed calling webhook",
        "a webhook that must answer does not: see that KServe's controller and cert-manager run, and run `pulumi up` "
        "again once they are Ready",
        "tests/watch/statuses/webhook-unreachable.json",
    ),
    Row(
        "pod-security",
        r"violates PodSecurity",
        "the namespace's Pod Security level refuses the pod: modelcar passes `baseline` but not `restricted`; relax "
        "the namespace's label pod-security.kubernetes.io/enforce, or set `models.NAME.delivery: native`",
        "tests/watch/statuses/pod-security.json",
    ),
)
