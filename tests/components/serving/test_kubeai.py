"""The KubeAI platform: chart, resource profiles from the pools, the pull secret, rollouts."""

from typing import Any

import pytest

from components.serving.charts import KEEP_CRDS
from components.serving.kubeai import KubeAI
from components.settings.serving import KubeAISettings
from components.settings.stack import Settings
from tests import serving
from tests.fields import unreached
from tests.integration import kubeai
from tests.mocks import Recording, Secret

RELEASE = "kubernetes:helm.sh/v3:Release"


def stack(models: dict[str, dict[str, Any]], **keys: Any) -> Recording:
    on_kubeai = {key: {"digest": serving.IMAGE, "delivery": "kubeai", **model} for key, model in models.items()}
    return serving.run(serving.gke(on_kubeai, **keys))


def values(models: dict[str, dict[str, Any]], **keys: Any) -> dict[str, Any]:
    made: dict[str, Any] = stack(models, **keys).only(RELEASE, "kubeai").inputs["values"]
    return made


def profile_of(recording: Recording, name: str) -> str:
    made: str = serving.one(recording, "Model", name)["spec"]["resourceProfile"]
    return made


def test_a_pool_gives_the_profile_of_one_gpu_and_a_model_takes_as_many() -> None:
    pool = {"accelerator": "nvidia-l4", "count": 4, "machineType": "g2-standard-48"}
    recording = stack({"qwen": {"nodePool": "l4", "gpus": 2}}, nodePools={"l4": pool})

    profile = recording.only(RELEASE, "kubeai").inputs["values"]["resourceProfiles"]["l4"]
    assert profile["imageName"] == "nvidia-gpu"
    assert profile["limits"] == profile["requests"] == {"cpu": "11", "memory": "36Gi", "nvidia.com/gpu": "1"}
    assert profile["nodeSelector"] == {"oci-model-serving/pool": "l4"}
    assert profile["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert profile_of(recording, "qwen") == "l4:2"
    assert "--tensor-parallel-size=2" in serving.one(recording, "Model")["spec"]["args"]


def test_a_model_without_a_pool_runs_on_the_profile_cpu() -> None:
    recording = stack({"qwen": {}})

    profile = recording.only(RELEASE, "kubeai").inputs["values"]["resourceProfiles"]["cpu"]
    assert profile == {
        "imageName": "cpu",
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }
    assert profile_of(recording, "qwen") == "cpu:1"


def test_a_model_with_its_own_cpu_or_memory_has_a_profile_of_its_own() -> None:
    recording = stack({"qwen-2.5": {"resources": {"cpu": "3"}}, "other": {}})

    profiles = recording.only(RELEASE, "kubeai").inputs["values"]["resourceProfiles"]
    assert profiles["qwen-2-5-3-4Gi"]["requests"] == {"cpu": "3", "memory": "4Gi"}
    assert profile_of(recording, "qwen-2-5") == "qwen-2-5-3-4Gi:1"
    assert profile_of(recording, "other") == "cpu:1"


@pytest.mark.parametrize(("nodes", "surge"), [(3, 1), (2, 0)])
def test_a_rollout_has_a_surplus_pod_only_where_every_pool_has_room(nodes: int, surge: int) -> None:
    pool = {"accelerator": "nvidia-l4", "maxNodes": nodes}
    models = {"a": {"nodePool": "l4"}, "b": {"nodePool": "l4"}, "c": {}}

    assert values(models, nodePools={"l4": pool})["modelRollouts"] == {"surge": surge}


def test_pods_finish_their_answers_for_as_long_as_the_most_patient_model_says() -> None:
    patches = values({"a": {"drainTimeout": 60}, "b": {"drainTimeout": 900}, "c": {}})["modelServerPods"]["jsonPatches"]

    grace, lifecycle = (patch["value"] for patch in patches[-2:])
    assert [patch["path"] for patch in patches[-2:]] == [
        "/spec/terminationGracePeriodSeconds",
        "/spec/containers/0/lifecycle",
    ]
    assert lifecycle["preStop"]["exec"]["command"][3:] == ["8000", "5", "900"]
    assert grace > 900


def test_without_room_for_a_surplus_pod_a_draining_one_is_not_kept_for_kubeai_counts_it() -> None:
    pool = {"accelerator": "nvidia-l4", "maxNodes": 1}

    made = values({"a": {"nodePool": "l4"}}, nodePools={"l4": pool})["modelServerPods"]
    assert not any("lifecycle" in patch["path"] for patch in made["jsonPatches"])


def test_engines_have_no_token_and_the_chat_ui_is_left_out() -> None:
    made = values({"qwen": {}})

    assert made["modelServiceAccount"] == {"automount": False}
    assert made["open-webui"] == {"enabled": False}
    assert "secrets" not in made


def test_credentials_are_one_secret_that_the_chart_names() -> None:
    recording = stack({"qwen": {}}, pullSecrets=serving.PULL_SECRETS)

    secret = recording.only("kubernetes:core/v1:Secret", "kubeai-oci-pull")
    assert secret.inputs["metadata"]["namespace"] == "kubeai"
    assert isinstance(secret.inputs["stringData"][".dockerconfigjson"], Secret)
    release = recording.only(RELEASE, "kubeai")
    assert release.inputs["values"]["secrets"] == {"oci": {"name": "oci-pull"}}
    assert secret.urn in release.dependencies


def test_the_namespace_is_restricted_and_both_kinds_of_pods_are_what_that_asks() -> None:
    recording = stack({"qwen": {}})
    made = recording.only(RELEASE, "kubeai").inputs["values"]

    namespace = serving.one(recording, "Namespace", "kubeai")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert made["podSecurityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pods = made["modelServerPods"]
    assert pods["podSecurityContext"] == {**made["podSecurityContext"], "runAsUser": 1010}
    container = pods["securityContext"]
    assert container["runAsNonRoot"] is container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_a_server_that_writes_nowhere_else_has_a_home_to_write_to() -> None:
    made = stack({"qwen": {}}).only(RELEASE, "kubeai").inputs["values"]
    body = {"metadata": {"name": "qwen", "uid": "1"}, "spec": serving.one(stack({"qwen": {}}), "Model")["spec"]}

    spec = kubeai.Controller(made).pod(body)["spec"]
    (server,) = spec["containers"]

    home = {one["name"]: one["value"] for one in server["env"]}["HOME"]
    assert {"name": "tmp", "mountPath": home} in server["volumeMounts"]
    assert {"name": "tmp", "emptyDir": {}} in spec["volumes"]
    assert spec["securityContext"]["runAsUser"] == 1010


def test_a_namespace_whose_kubeai_is_of_others_stays_as_its_chart_needs_it() -> None:
    namespace = serving.one(
        stack({"qwen": {}}, platforms={"kubeai": {"version": "0.24.0", "install": False}}), "Namespace", "kubeai"
    )

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


def test_the_chart_is_of_the_version_of_the_settings_and_from_where_they_say() -> None:
    kubeai = {"version": "0.25.1", "chartRepository": "oci://mirror.example/charts"}

    release = stack({"qwen": {}}, platforms={"kubeai": kubeai}).only(RELEASE, "kubeai").inputs

    assert (release["chart"], release["version"]) == ("oci://mirror.example/charts/kubeai", "0.25.1")


def test_removing_the_last_model_leaves_the_crd_and_with_it_every_model_of_the_cluster() -> None:
    assert stack({"qwen": {}}).only(RELEASE, "kubeai").inputs["postrender"] == KEEP_CRDS


def test_what_is_declared_present_is_not_installed() -> None:
    assert stack({"qwen": {}}, platforms={"kubeai": {"version": "0.24.0", "install": False}}).of_type(RELEASE) == []


def test_every_setting_has_an_effect() -> None:
    base = KubeAISettings.model_validate({"version": "0.24.0"})

    assert (
        unreached(
            lambda given: KubeAI("kubeai", given, Settings()),
            base,
            {"version": "0.25.0", "namespace": "llms", "chart_repository": "charts"},
            exempt={
                "server.image": "is the Models' (test_kubeai_model.py)",
                "server.cpu_image": "is the Models' (test_kubeai_model.py)",
                "server.profile": "is the Models' (test_runtime_profile.py)",
                "server.features": "is the Models' (test_runtime_profile.py)",
            },
        )
        == []
    )
