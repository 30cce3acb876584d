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

NAMESPACE = "objects/10-namespace-models.yaml"
OBJECTS = [
    NAMESPACE,
    "objects/30-serviceaccount-models-model.yaml",
    "objects/70-inferenceservice-models-m.yaml",
]


def plan(program: Callable[[], object]) -> Plan:
    return Plan("p", "s", record(program))


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def content_of(files: dict[str, str]) -> str:
    """The one file beside the list for Kustomize."""
    (content,) = (text for name, text in files.items() if name != "kustomization.yaml")
    return content


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
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [*OBJECTS, "kustomization.yaml"]
    account = yaml.safe_load((tmp_path / "out" / OBJECTS[1]).read_text())
    assert account == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "model", "namespace": "models"},
        "automountServiceAccountToken": False,
    }
    service = yaml.safe_load((tmp_path / "out" / OBJECTS[2]).read_text())
    predictor = {"minReplicas": 1, "model": {"storageUri": "oci://r/m"}, "under_score": True}
    assert service["spec"] == {"predictor": predictor}


def test_the_next_run_replaces_and_removes_what_an_earlier_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    write(plan(objects), tmp_path)
    mine = ["mine.yaml", "notes.txt", "objects/mine.yaml"]
    for name in mine:
        (tmp_path / name).write_text("kind: Namespace\n")
    write(plan(lambda: k8s.core.v1.Namespace("models", metadata={"name": "models"})), tmp_path)
    assert files_of(tmp_path) == sorted([*mine, NAMESPACE, "kustomization.yaml"])
    assert "labels" not in (tmp_path / NAMESPACE).read_text()


def test_what_the_version_before_wrote_into_one_folder_goes_with_the_next_run(tmp_path: Path) -> None:
    before = (
        "# Written by `oms plan --manifests`, which replaces or removes this file on its next run.\nkind: Namespace\n"
    )
    (tmp_path / "namespace-models.yaml").write_text(before)
    (tmp_path / "helm-release-kserve.yaml").write_text(before)
    write(plan(objects), tmp_path)
    assert files_of(tmp_path) == ["kustomization.yaml", *OBJECTS]


def test_a_folder_that_is_empty_after_a_run_goes(tmp_path: Path) -> None:
    write(plan(lambda: k8s.helm.v3.Release("r", name="r", chart="oci://h/r", version="1")), tmp_path)
    assert (tmp_path / "helm").is_dir()
    write(plan(objects), tmp_path)
    assert not (tmp_path / "helm").exists()


def test_a_file_of_somebody_else_is_not_replaced_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / NAMESPACE).write_text("kind: Namespace\n")
    with pytest.raises(InputError, match=r"10-namespace-models\.yaml was not written by this command"):
        write(plan(objects), tmp_path)
    assert files_of(tmp_path) == [NAMESPACE]
    assert (tmp_path / NAMESPACE).read_text() == "kind: Namespace\n"


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--manifests"):
        write(plan(objects), tmp_path / "file" / "out")


def test_a_secret_is_written_without_its_data() -> None:
    def program() -> None:
        k8s.core.v1.Secret(
            "s", metadata={"name": "s", "namespace": "models"}, type="Opaque", string_data={"token": "hunter2"}
        )

    content = content_of(render(plan(program)))
    assert "hunter2" not in content
    assert "# Left out, since it is secret: stringData (token)" in content
    # Applied as it is it would be a Secret without data: so neither kubectl nor Kustomize is given it.
    assert list(render(plan(program))) == ["secrets/secret-models-s.yaml", "kustomization.yaml"]
    assert "secret" not in render(plan(program))["kustomization.yaml"].partition("resources:")[2]
    assert yaml.safe_load(content)["type"] == "Opaque"


def test_a_secret_elsewhere_is_masked_and_named() -> None:
    def program() -> None:
        k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, data={"a": pulumi.Output.secret("hunter2"), "b": "x"})

    content = content_of(render(plan(program)))
    assert "hunter2" not in content
    assert "# Left out, since it is secret: data.a" in content


def test_what_is_known_later_is_named_at_the_top() -> None:
    def program() -> None:
        run = command.local.Command("c", create="x")
        k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, data={"image": run.stdout, "b": "x"})

    content = content_of(render(plan(program)))
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
    content = files["helm/1-kserve.yaml"]
    assert (
        "# helm upgrade --install kserve-resources oci://ghcr.io/kserve/charts/kserve-resources "
        "--version v0.20.0 --namespace kserve --create-namespace --values THIS-FILE" in content
    )
    assert yaml.safe_load(content) == {"kserve": {"storage": {"enableModelcar": True}}}


def test_objects_of_one_kind_and_name_in_two_groups_have_files_of_their_own() -> None:
    def program() -> None:
        for group in ("a.example/v1", "b.example/v1"):
            k8s.apiextensions.CustomResource(group, api_version=group, kind="Thing", metadata={"name": "x"})

    assert list(render(plan(program)))[:2] == ["objects/80-thing-x.yaml", "objects/80-thing.b.example-x.yaml"]


def test_a_name_that_is_no_file_name_is_spelled_as_one() -> None:
    def program() -> None:
        k8s.rbac.v1.ClusterRole("r", metadata={"name": "system:model/reader"})

    assert next(iter(render(plan(program)))) == "objects/30-clusterrole-system_model_reader.yaml"


def test_an_object_that_only_the_engine_could_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"ConfigMap 'c' has no metadata\.name"):
        render(plan(lambda: k8s.core.v1.ConfigMap("c", data={})))


def test_looked_up_objects_are_not_written() -> None:
    assert list(render(plan(lambda: k8s.core.v1.Namespace.get("n", "kube-system")))) == ["kustomization.yaml"]
