import json

import pulumi
import pulumi_command as command
import pulumi_docker as docker
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s
import pytest

from oci_model_serving.errors import InputError
from offline.recording import UnansweredReferenceError, record
from offline.values import KnownAfter, Secret, plain
from tests.mocks import DIGEST, built

ISVC = "kubernetes:serving.kserve.io/v1beta1:InferenceService"


class ModelImage(pulumi.ComponentResource):
    def __init__(self, name: str, create: pulumi.Input[str] = "python -m modelimage pack a b") -> None:
        super().__init__("oci-model-serving:index:ModelImage", name)
        run = command.local.Command(f"{name}-build", create=create, opts=pulumi.ResourceOptions(parent=self))
        self.reference = run.stdout.apply(json.loads).apply(lambda image: image["reference"])


def serve(uri: pulumi.Input[str], labels: dict[str, pulumi.Input[str]] | None = None) -> None:
    k8s.apiextensions.CustomResource(
        "q",
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=k8s.meta.v1.ObjectMetaArgs(name="q", namespace="models", labels=labels),
        spec={"predictor": {"minReplicas": 1, "model": {"storageUri": uri, "args": ["--port=8080"]}}},
    )


def test_an_unknown_value_names_the_build_that_it_waits_for_and_nothing_around_it_is_lost() -> None:
    def program() -> None:
        account = gcp.serviceaccount.Account("nodes", account_id="nodes", project="demo")
        serve(pulumi.Output.concat("oci://", ModelImage("qwen2.5").reference), labels={"account": account.email})

    service = record(program).only(ISVC)
    assert service.inputs["spec"]["predictor"] == {
        "minReplicas": 1,
        "model": {"storageUri": KnownAfter("build of qwen2.5"), "args": ["--port=8080"]},
    }
    assert service.inputs["metadata"]["labels"] == {"account": "nodes@demo.iam.gserviceaccount.com"}


def test_an_unknown_deep_in_an_args_class_keeps_its_path_and_the_providers_key() -> None:
    def program() -> None:
        cluster = gcp.container.Cluster("c", name="c", location="us-central1", project="demo")
        gcp.container.NodePool(
            "p",
            cluster=cluster.name,
            node_config=gcp.container.NodePoolNodeConfigArgs(
                machine_type="g2-standard-8", labels={"endpoint": cluster.endpoint}, service_account="n@x"
            ),
        )

    pool = record(program).only("gcp:container/nodePool:NodePool")
    assert pool.inputs["nodeConfig"] == {
        "machineType": "g2-standard-8",
        "labels": {"endpoint": KnownAfter("creation of Cluster c")},
        "serviceAccount": "n@x",
    }
    assert pool.inputs["cluster"] == "c"


@pytest.mark.parametrize(
    ("create", "event"),
    [
        ("python -m modelimage copy a b", "copy of m"),
        ("python -m modelimage inspect a", "check of m"),
        ("python -m modelimage tag a", "build of m"),
        ("make weights", "build of m"),
    ],
)
def test_an_image_that_is_only_copied_or_checked_is_not_said_to_be_built(create: str, event: str) -> None:
    recording = record(lambda: serve(ModelImage("m", create).reference))
    assert recording.only(ISVC).inputs["spec"]["predictor"]["model"]["storageUri"] == KnownAfter(event)


def test_a_docker_image_without_component_is_named_by_itself() -> None:
    def program() -> None:
        image = docker.Image("weights", image_name="r.example/m:1", build={"context": "."})
        pulumi.export("digest", image.repo_digest)

    assert record(program).outputs == {"digest": KnownAfter("build of weights")}


def test_a_value_that_depends_on_a_settled_and_an_open_resource_names_the_open_one() -> None:
    def program() -> None:
        account = gcp.serviceaccount.Account("nodes", account_id="nodes", project="demo")
        cluster = gcp.container.Cluster("c", location="x")
        pulumi.export("both", pulumi.Output.concat(account.email, cluster.endpoint))

    assert record(program).outputs == {"both": KnownAfter("creation of Cluster c")}


def test_a_look_up_that_only_a_provider_can_do_is_named() -> None:
    def program() -> None:
        found = gcp.container.get_cluster_output(name="c", location="x")
        pulumi.export("endpoint", found.endpoint)

    assert record(program).outputs == {"endpoint": KnownAfter("a look-up by getCluster")}


def test_the_clients_own_settings_come_from_the_configuration() -> None:
    def program() -> None:
        pulumi.export("project", gcp.organizations.get_client_config_output().project)

    assert record(program, config={"gcp:project": "demo"}).outputs == {"project": "demo"}


def test_the_known_parts_of_an_output_stay_known() -> None:
    def program() -> None:
        image = ModelImage("m")
        pulumi.export("nested", {"image": image.reference, "name": "m", "taints": [{"key": image.reference}]})
        pulumi.export("all", pulumi.Output.all(image=image.reference, name="m"))

    later = KnownAfter("build of m")
    outputs = record(program).outputs
    assert outputs["nested"] == {"image": later, "name": "m", "taints": [{"key": later}]}
    assert outputs["all"] == {"image": later, "name": "m"}


def test_an_output_without_value_is_kept_and_an_input_without_value_is_not_there() -> None:
    def program() -> None:
        k8s.apiextensions.CustomResource(
            "x", api_version="a.example/v1", kind="X", metadata={"name": "x"}, spec={"a": None, "b": [{"c": None}]}
        )
        pulumi.export("model", {"node_pool": None, "pools": [None]})

    recording = record(program)
    assert recording.only("kubernetes:a.example/v1:X").inputs["spec"] == {"b": [{}]}
    assert recording.outputs == {"model": {"node_pool": None, "pools": [None]}}


def test_secrets_are_marked_at_their_place_and_reach_the_program_as_secrets() -> None:
    def program() -> None:
        config = pulumi.Config("a")
        password = config.require_secret("password")
        run = command.local.Command("c", create="login", environment={"USER": "u", "PASSWORD": password})
        pulumi.export("environment", run.environment)
        pulumi.export("plain", password.apply(len))

    recording = record(program, config={"a:password": "hunter2"}, secret_keys=["a:password"])
    assert recording.only("command:local:Command").inputs["environment"] == {"PASSWORD": Secret("hunter2"), "USER": "u"}
    assert plain(recording.outputs) == {
        "environment": {"PASSWORD": "[secret]", "USER": "[secret]"},
        "plain": "[secret]",
    }


def test_the_data_of_a_kubernetes_secret_is_secret_whatever_the_program_says() -> None:
    def program() -> None:
        k8s.core.v1.Secret("s", metadata={"name": "s"}, string_data={"token": "hunter2"})
        k8s.Provider("p", kubeconfig="apiVersion: v1")

    recording = record(program)
    assert plain(recording.only("kubernetes:core/v1:Secret").inputs["stringData"]) == {"token": "[secret]"}
    assert plain(recording.only("pulumi:providers:kubernetes").inputs["kubeconfig"]) == "[secret]"


def test_a_secret_that_is_not_known_yet_stays_a_secret() -> None:
    def program() -> None:
        cluster = gcp.container.Cluster("c", location="x")
        pulumi.export("endpoint", pulumi.Output.secret(cluster.endpoint))

    outputs = record(program).outputs
    assert outputs == {"endpoint": Secret(KnownAfter("creation of Cluster c"))}


def test_answers_make_the_digest_known_everywhere() -> None:
    def program() -> None:
        image = ModelImage("m", "python -m modelimage pack ./weights r.example/m --base scratch --json")
        serve(pulumi.Output.concat("oci://", image.reference))

    service = record(program, answer=built()).only(ISVC)
    assert service.inputs["spec"]["predictor"]["model"]["storageUri"] == f"oci://r.example/m@{DIGEST}"


def test_stack_references_are_answered_with_the_outputs_given() -> None:
    def program() -> None:
        stack = pulumi.StackReference("ref", stack_name="acme/p/dev")
        pulumi.export("image", stack.require_output("models").apply(lambda models: models["m"]["image"]))
        pulumi.export("kubeconfig", stack.get_output("kubeconfig"))

    outputs = {"models": {"m": {"image": "r/m@sha256:x"}}, "kubeconfig": Secret("k")}
    recording = record(program, stack_outputs={"acme/p/dev": outputs})
    assert recording.outputs == {"image": "r/m@sha256:x", "kubeconfig": Secret("k")}


def test_an_unknown_output_of_another_stack_waits_for_that_stack() -> None:
    def program() -> None:
        stack = pulumi.StackReference("ref", stack_name="acme/p/dev")
        serve(stack.require_output("models").apply(lambda models: models["m"]["image"]))

    outputs = {"models": {"m": {"image": KnownAfter("build of m")}}}
    service = record(program, stack_outputs={"acme/p/dev": outputs}).only(ISVC)
    uri = service.inputs["spec"]["predictor"]["model"]["storageUri"]
    assert str(uri) == "known after an update of stack acme/p/dev"


def test_outputs_of_another_stack_are_known_one_by_one() -> None:
    def program() -> None:
        stack = pulumi.StackReference("ref", stack_name="acme/p/dev")
        for name in ("models", "cluster", "kubeconfig", "missing"):
            pulumi.export(name, stack.get_output(name))
        pulumi.export("required", stack.require_output("models"))

    outputs = {"models": ["m"], "cluster": {"version": KnownAfter("creation of Cluster c")}, "kubeconfig": Secret("k")}
    recording = record(program, stack_outputs={"acme/p/dev": outputs})
    assert recording.outputs == {
        "models": ["m"],
        "required": ["m"],
        "cluster": {"version": KnownAfter("an update of stack acme/p/dev")},
        "kubeconfig": Secret("k"),
    }


def test_a_required_output_that_another_stack_lacks_fails() -> None:
    with pytest.raises(KeyError, match="models"):
        record(lambda: pulumi.StackReference("d").require_output("models"), stack_outputs={"d": {"other": 1}})


def test_all_references_without_answer_are_found_in_one_run() -> None:
    def program() -> None:
        pulumi.StackReference("acme/p/dev")
        pulumi.StackReference("acme/p/stage")

    with pytest.raises(UnansweredReferenceError) as raised:
        record(program)
    assert raised.value.stack_names == ("acme/p/dev", "acme/p/stage")


def test_two_resources_of_one_urn_are_refused_as_the_engine_does() -> None:
    def program() -> None:
        for location in ("a", "b"):
            gcp.container.Cluster("c", location=location)

    with pytest.raises(InputError, match="rename one"):
        record(program)


def test_an_error_of_the_program_comes_out_as_it_is() -> None:
    def program() -> None:
        account = gcp.serviceaccount.Account("nodes", account_id="nodes", project="demo")
        known: dict[str, str] = {}
        pulumi.export("x", account.email.apply(lambda email: known[email]))

    with pytest.raises(KeyError, match="nodes@demo"):
        record(program)


def test_a_failing_answer_is_the_error_although_others_follow_from_it(recwarn: pytest.WarningsRecorder) -> None:
    class BrokenError(Exception):
        pass

    def fail(resource: object) -> None:
        raise BrokenError(str(resource))

    def program() -> None:
        image = ModelImage("m")
        serve(image.reference)
        pulumi.export("image", image.reference)

    with pytest.raises(BrokenError):
        record(program, answer=fail)
    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []


def test_a_transformation_of_the_program_runs_before_the_recording() -> None:
    def label(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        return pulumi.ResourceTransformationResult({**args.props, "description": "ours"}, args.opts)

    def program() -> None:
        gcp.serviceaccount.Account("a", account_id="a", opts=pulumi.ResourceOptions(transformations=[label]))

    account = record(program).only("gcp:serviceaccount/account:Account")
    assert account.inputs == {"accountId": "a", "description": "ours"}


def test_parents_components_and_order_are_kept() -> None:
    recording = record(lambda: [ModelImage(name) for name in ("b", "a", "c")])
    parents = {resource.urn: resource.name for resource in recording.resources if resource.component}
    assert [resource.name for resource in recording.of_type("command:local:Command")] == [
        "b-build",
        "a-build",
        "c-build",
    ]
    assert [parents[one.parent] for one in recording.of_type("command:local:Command")] == ["b", "a", "c"]


def test_what_the_program_logs_is_kept_for_the_caller() -> None:
    recording = record(lambda: pulumi.log.warn("careful"))
    assert recording.messages == [("warning", "careful")]


def test_a_run_leaves_nothing_behind_for_the_next_one() -> None:
    def program() -> None:
        assert pulumi.Config("a").get("b") is None
        pulumi.export("stack", pulumi.get_stack())

    record(lambda: pulumi.export("x", 1), config={"a:b": "c"}, stack_name="first")
    assert record(program, stack_name="second").outputs == {"stack": "second"}


def test_without_preview_a_missing_output_is_known_and_empty() -> None:
    def program() -> None:
        run = command.local.Command("c", create="x")
        pulumi.export("seen", run.stdout.apply(lambda text: f"got {text}"))

    assert record(program, preview=False).outputs == {"seen": "got None"}
    assert record(program).outputs == {"seen": KnownAfter("command c")}


def test_the_error_of_a_wrong_look_up_in_a_recording_lists_what_there_is() -> None:
    recording = record(lambda: ModelImage("m"))
    with pytest.raises(LookupError, match="m-build"):
        recording.only("command:local:Command", "other")
