from collections.abc import Callable
from pathlib import Path

import pulumi
import pulumi_command as command
import pulumi_kubernetes as k8s
import pytest
import yaml

from oci_model_serving.errors import InputError
from offline.manifests import HEADER, render, write
from offline.plan import Plan
from offline.recording import record


def plan(program: Callable[[], object]) -> Plan:
    return Plan("p", "s", record(program))


def objects() -> None:
    k8s.core.v1.Namespace("models", metadata={"name": "models", "labels": {"a/b_c": "d"}})
    k8s.core.v1.ServiceAccount(
        "sa", metadata={"name": "model", "namespace": "models"}, automount_service_account_token=False
    )
    k8s.apiextensions.CustomResource(
        "m",
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata={"name": "m", "namespace": "models"},
        spec={"predictor": {"minReplicas": 1, "model": {"storageUri": "oci://r/m"}, "under_score": True}},
    )


def test_each_object_is_a_file_with_exactly_what_the_provider_receives(tmp_path: Path) -> None:
    written = write(plan(objects), tmp_path / "out")
    assert [path.name for path in written] == [
        "inferenceservice-models-m.yaml",
        "namespace-models.yaml",
        "serviceaccount-models-model.yaml",
    ]
    account = yaml.safe_load((tmp_path / "out" / "serviceaccount-models-model.yaml").read_text())
    assert account == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "model", "namespace": "models"},
        "automountServiceAccountToken": False,
    }
    service = yaml.safe_load((tmp_path / "out" / "inferenceservice-models-m.yaml").read_text())
    predictor = {"minReplicas": 1, "model": {"storageUri": "oci://r/m"}, "under_score": True}
    assert service["spec"] == {"predictor": predictor}


def test_the_next_run_replaces_and_removes_what_an_earlier_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    write(plan(objects), tmp_path)
    (tmp_path / "mine.yaml").write_text("kind: Namespace\n")
    (tmp_path / "notes.txt").write_text("notes\n")
    write(plan(lambda: k8s.core.v1.Namespace("models", metadata={"name": "models"})), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "namespace-models.yaml", "notes.txt"]
    assert "labels" not in (tmp_path / "namespace-models.yaml").read_text()


def test_a_file_of_somebody_else_is_not_replaced_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "namespace-models.yaml").write_text("kind: Namespace\n")
    with pytest.raises(InputError, match=r"namespace-models\.yaml was not written by this command"):
        write(plan(objects), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["namespace-models.yaml"]
    assert (tmp_path / "namespace-models.yaml").read_text() == "kind: Namespace\n"


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--manifests"):
        write(plan(objects), tmp_path / "file" / "out")


def test_a_secret_is_written_without_its_data() -> None:
    def program() -> None:
        k8s.core.v1.Secret(
            "s", metadata={"name": "s", "namespace": "models"}, type="Opaque", string_data={"token": "hunter2"}
        )

    (content,) = render(plan(program)).values()
    assert "hunter2" not in content
    assert "# Left out, since it is secret: stringData (token)" in content
    assert yaml.safe_load(content)["type"] == "Opaque"


def test_a_secret_elsewhere_is_masked_and_named() -> None:
    def program() -> None:
        k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, data={"a": pulumi.Output.secret("hunter2"), "b": "x"})

    (content,) = render(plan(program)).values()
    assert "hunter2" not in content
    assert "# Left out, since it is secret: data.a" in content


def test_what_is_known_later_is_named_at_the_top() -> None:
    def program() -> None:
        run = command.local.Command("c", create="x")
        k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, data={"image": run.stdout, "b": "x"})

    (content,) = render(plan(program)).values()
    assert content.startswith(f"{HEADER}# Not complete: data.image is known after command c\n")


def test_a_helm_release_is_a_values_file_with_the_command_that_uses_it() -> None:
    def program() -> None:
        k8s.helm.v3.Release(
            "kserve",
            name="kserve-resources",
            chart="oci://ghcr.io/kserve/charts/kserve-resources",
            version="v0.20.0",
            namespace="kserve",
            create_namespace=True,
            values={"kserve": {"storage": {"enableModelcar": True}}},
        )

    files = render(plan(program))
    content = files["helm-release-kserve.yaml"]
    assert (
        "# helm upgrade --install kserve-resources oci://ghcr.io/kserve/charts/kserve-resources "
        "--version v0.20.0 --namespace kserve --create-namespace --values THIS-FILE" in content
    )
    assert yaml.safe_load(content) == {"kserve": {"storage": {"enableModelcar": True}}}


def test_objects_of_one_kind_and_name_in_two_groups_have_files_of_their_own() -> None:
    def program() -> None:
        for group in ("a.example/v1", "b.example/v1"):
            k8s.apiextensions.CustomResource(group, api_version=group, kind="Thing", metadata={"name": "x"})

    assert sorted(render(plan(program))) == ["thing-x.yaml", "thing.b.example-x.yaml"]


def test_a_name_that_is_no_file_name_is_spelled_as_one() -> None:
    def program() -> None:
        k8s.rbac.v1.ClusterRole("r", metadata={"name": "system:model/reader"})

    assert list(render(plan(program))) == ["clusterrole-system_model_reader.yaml"]


def test_an_object_that_only_the_engine_could_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"ConfigMap 'c' has no metadata\.name"):
        render(plan(lambda: k8s.core.v1.ConfigMap("c", data={})))


def test_looked_up_objects_are_not_written() -> None:
    assert render(plan(lambda: k8s.core.v1.Namespace.get("n", "kube-system"))) == {}
