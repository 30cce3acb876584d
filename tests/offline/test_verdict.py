"""What a difference is said to do to models and pools, what stops for how long, and what it costs."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from components.serving import kubeai_model, predictor
from offline.changes import told
from offline.comment import as_markdown, as_text
from offline.diff import compare
from offline.picture import Fate
from offline.predicted import WrittenCost
from offline.revisions import NO_PLAN
from offline.subjects import Effect, fates
from offline.verdict import Policy, Verdict, cost_change
from tests import serving
from tests.offline.typical_changes import QWEN, STACK, changed, image, plan

Settings = dict[str, Any]
NAME = "qwen2.5-0.5b-instruct"
ROOM = {"nodePools__l4__maxNodes": 5}
KUBEAI = {"kubeai": {"version": "0.24.0", "server": {"image": f"docker.io/vllm/vllm-openai@sha256:{'1f' * 32}"}}}


def verdict(before: Settings, after: Settings, **edited: Any) -> Verdict:
    plans = [plan("prod", one) if one.get("resources") is None else one for one in (before, after)]
    return Verdict(compare(plans[0], {**plans[1], **edited}))


def effects(found: Verdict) -> dict[str, Effect]:
    return {f"{one.kind} {one.name}": one.effect for one in found.subjects}


def kubeai(**keys: Any) -> Settings:
    found = changed(**{"models__qwen__delivery": "kubeai", **keys})
    return {**found, "platforms": KUBEAI}


def test_a_rollout_with_room_for_a_pod_more_stops_nothing() -> None:
    found = verdict(changed(**ROOM), changed(**ROOM, models__qwen__digest=image("b")))
    assert effects(found) == {f"model {NAME}": Effect.ROLLED_OUT}
    stop = found.stops[NAME]
    assert (stop.stops, stop.text) == (False, "no: the new pod starts first")


def test_a_rollout_without_room_stops_a_single_pod_for_what_its_node_has_to_do_again() -> None:
    stages = plan("prod", STACK)["predictions"]["models"][NAME]["cold_start"]
    own = {"digest": image("b")}
    pulled = verdict(STACK, changed(models__qwen={**QWEN, **own})).stops[NAME]
    least, most = pulled.seconds or (0, 0)
    assert least == most == pytest.approx(stages["image_pull"] + stages["load"] + stages["server_start"], abs=0.2)
    told_anew = verdict(STACK, changed(models__qwen__args=["--max-model-len=4096"])).stops[NAME]
    least, most = told_anew.seconds or (0, 0)
    assert least == most == pytest.approx(stages["load"] + stages["server_start"], abs=0.2)
    assert told_anew.text == "80 s: the pool has no room for a second pod"


def test_several_pods_without_room_go_one_at_a_time() -> None:
    two = {"min": 2, "max": 2}
    found = verdict(
        changed(models__qwen__replicas=two), changed(models__qwen__replicas=two, models__qwen__digest=image("b"))
    )
    assert found.stops[NAME].text == "no: pods go one at a time, the pool has no room for one more"


@pytest.mark.parametrize(("nodes", "stops"), [(2, True), (5, False)])
def test_on_kubeai_its_chart_says_which_pod_goes_first(nodes: int, stops: bool) -> None:
    before, after = (kubeai(nodePools__l4__maxNodes=nodes, models__qwen__digest=image(one)) for one in "ab")
    found = verdict(before, after)
    assert effects(found) == {f"model {NAME}": Effect.ROLLED_OUT}
    assert found.stops[NAME].stops is stops


def test_a_platform_that_moves_replaces_what_serves_and_the_old_one_answers_meanwhile() -> None:
    after = kubeai(**ROOM)
    found = verdict(changed(**ROOM), after)
    assert effects(found)[f"model {NAME}"] is Effect.REPLACED
    assert found.stops[NAME].text == "no: the old one answers until the new one is ready"
    (model,) = [one for one in found.subjects if one.kind == "model"]
    said = {one.name: (one.before, one.after) for one in told(model, found.diff)}
    assert said["delivery"] == ("modelcar", "kubeai")
    assert said["url"][1] == "http://kubeai.kubeai.svc.cluster.local/openai"


def test_recreated_nodes_stop_a_single_pod_and_several_in_turn() -> None:
    machine = {"nodePools__l4__machineType": "g2-standard-12"}
    one = verdict(STACK, changed(**machine))
    assert effects(one) == {"pool l4": Effect.RECREATED, f"model {NAME}": Effect.STOPPED}
    assert one.stops[NAME].seconds == tuple(
        plan("prod", changed(**machine))["predictions"]["models"][NAME]["cold_start"]["total"]
    )
    two = {"models__qwen__replicas": {"min": 2, "max": 2}}
    several = verdict(changed(**two), changed(**two, **machine))
    assert several.stops[NAME].in_turn
    assert f"model {NAME} has fewer pods meanwhile" in several.sentence()
    assert "stops" not in several.sentence()


def test_a_pool_that_surges_has_the_new_node_before_the_old_one_goes() -> None:
    stages = plan("prod", STACK)["predictions"]["models"][NAME]["cold_start"]

    def surging(all_: list[dict[str, Any]]) -> None:
        (pool,) = [one for one in of_type(all_, "NodePool") if one["name"] == "l4"]
        pool["inputs"]["upgradeSettings"] = {**pool["inputs"]["upgradeSettings"], "maxSurge": 1}
        pool["inputs"]["nodeConfig"]["machineType"] = "g2-standard-12"

    least, most = edited(surging).stops[NAME].seconds or (0, 0)
    on_node = [stages[name] for name in ("server_image_pull", "image_pull", "load", "server_start")]
    assert least == most == pytest.approx(sum(on_node), abs=0.2)


def test_a_model_that_only_shares_the_pool_has_a_row_because_it_stops() -> None:
    """Nothing of what serves it changes: only its pool does."""
    found = verdict(STACK, changed(nodePools__l4__bootDisk={"sizeGb": 300, "type": "pd-balanced"}))
    assert effects(found) == {"pool l4": Effect.RECREATED, f"model {NAME}": Effect.STOPPED}
    assert fates(found.diff) == {
        "oci-model-serving:index:GpuNodePool::l4": Fate.RECREATED,
        f"oci-model-serving:index:InferenceService::{NAME}": Fate.UPDATED,
    }


def test_a_zone_that_is_left_takes_its_nodes_and_stops_what_runs_there() -> None:
    both = ["us-central1-a", "us-central1-b"]
    found = verdict(changed(nodePools__l4__zones=both), changed(nodePools__l4__zones=both[1:]))
    assert effects(found) == {"pool l4": Effect.RECREATED, f"model {NAME}": Effect.STOPPED}
    assert found.sentence().startswith(f"pool l4 loses the nodes of a zone; model {NAME} stops for ")
    assert found.stops[NAME].why == "pool l4 loses the nodes of a zone"
    (zones,) = told(found.subjects[0], found.diff)
    assert (zones.name, zones.before, zones.after, zones.does) == ("zones", both, both[1:], "removes the nodes there")


def test_a_zone_more_stops_nothing_and_the_order_of_zones_means_nothing() -> None:
    one, both = ["us-central1-a"], ["us-central1-a", "us-central1-b"]
    more = verdict(changed(nodePools__l4__zones=one), changed(nodePools__l4__zones=both))
    assert effects(more) == {"pool l4": Effect.UPDATED}
    assert not verdict(changed(nodePools__l4__zones=both), changed(nodePools__l4__zones=both[::-1])).subjects


def test_what_a_models_callers_have_to_change_is_in_the_verdict() -> None:
    renamed = verdict(STACK, changed(models__qwen__servedName="chat"))
    assert f"callers of model {NAME} need its new name;" in renamed.sentence()
    moved = verdict(changed(**ROOM), kubeai(**ROOM))
    assert f"callers of model {NAME} need its new name and URL;" in moved.sentence()
    assert "callers" not in verdict(STACK, changed(models__qwen__digest=image("b"))).sentence()


def test_an_update_that_only_follows_from_another_still_says_what_it_is() -> None:
    found = verdict(STACK, changed(**ROOM))
    model = next(one for one in found.subjects if one.kind == "model")
    assert ("deploymentStrategy.type", "Recreate", "RollingUpdate") in [
        (one.name, one.before, one.after) for one in told(model, found.diff)
    ]


def test_taints_and_what_tolerates_them_are_told_by_their_keys() -> None:
    team = [{"key": "team", "value": "a"}]
    found = verdict(changed(nodePools__l4__taints=team), changed(nodePools__l4__taints=[{"key": "old"}, *team]))
    names = {one.name for subject in found.subjects for one in told(subject, found.diff)}
    assert {"tolerations.old", "taints.old"} <= names
    assert not any("[" in name for name in names)


def test_two_charts_of_one_version_are_told_once() -> None:
    found = verdict(STACK, changed(platforms__kserve__version="v0.19.0"))
    assert as_markdown(found.diff, "prod").split("<details>")[0].count("`v0.20.0` → `v0.19.0`") == 1


def test_an_adapter_that_is_looked_up_makes_no_model_anew() -> None:
    adapter = {"sql": {"digest": image("c").replace("instruct@", "sql@")}}
    found = verdict(changed(**ROOM), changed(**ROOM, models__qwen__adapters=adapter))
    assert found.sentence().startswith("1 model rolls out;")
    assert told(found.subjects[0], found.diff)[0].name == "an image beside its own is made or looked up"


def test_a_replaced_pool_takes_all_of_a_models_pods() -> None:
    two = {"models__qwen__replicas": {"min": 2, "max": 2}}
    found = verdict(changed(**two), changed(**two, nodePools__l4__accelerator="nvidia-tesla-t4"))
    assert found.stops[NAME].stops
    assert found.sentence().startswith(f"pool l4 is replaced; model {NAME} stops for 7.2 to 12 min; ")


def test_a_replaced_cluster_stops_every_model() -> None:
    create = {"name": "demo", "channel": "REGULAR", "version": "1.35"}
    found = verdict(STACK, changed(cluster__create={**create, "name": "other"}))
    assert effects(found)["cluster cluster"] is Effect.REPLACED
    assert effects(found)[f"model {NAME}"] is Effect.STOPPED
    assert found.stops[NAME].text == "yes, how long is not predicted: the cluster is replaced"


def edited(edit: Callable[[list[dict[str, Any]]], object]) -> Verdict:
    """What becomes of the stack when its plan is edited."""
    before = plan("prod", STACK)
    after = json.loads(json.dumps(before))
    edit(after["resources"])
    return Verdict(compare(before, after))


def of_type(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in resources if one["type"].endswith(f":{kind}")]


def test_what_goes_in_a_component_is_told_apart_from_it() -> None:
    """A cluster is not deleted with its NAT, nor recreated with the nodes of its system pool."""
    found = edited(lambda all_: all_.remove(of_type(all_, "RouterNat")[0]))
    assert effects(found) == {"resource gcp:compute:RouterNat cluster": Effect.DELETED}
    (row,) = [line for line in as_markdown(found.diff, "prod").splitlines() if line.startswith("| **deleted**")]
    assert "`gcp:compute:RouterNat cluster`" in row

    (system,) = [
        one for one in of_type(plan("prod", STACK)["resources"], "NodePool") if one["name"] == "cluster-system"
    ]
    machine = {**system["inputs"]["nodeConfig"], "machineType": "e2-standard-8"}

    def larger(all_: list[dict[str, Any]]) -> None:
        all_[all_.index(system)] = {**system, "inputs": {**system["inputs"], "nodeConfig": machine}}

    found = edited(larger)
    assert effects(found) == {"resource gcp:container:NodePool cluster-system": Effect.RECREATED}
    assert found.stops == {}


def test_a_right_that_is_taken_away_is_told_and_one_that_is_bound_anew_is_not() -> None:
    gone = edited(lambda all_: all_.remove(of_type(all_, "RepositoryIamMember")[0]))
    assert effects(gone) == {"resource gcp:artifactregistry:RepositoryIamMember models-reader-l4": Effect.DELETED}
    anew = edited(lambda all_: of_type(all_, "RepositoryIamMember")[0]["inputs"].update(member="serviceAccount:x"))
    assert effects(anew) == {"registry models": Effect.UPDATED}
    assert anew.diff.counts()["replace"] == 1


def test_a_guard_of_the_cluster_that_goes_is_told() -> None:
    found = edited(lambda all_: all_.remove(of_type(all_, "ValidatingAdmissionPolicyBinding")[0]))
    assert [one.effect for one in found.subjects] == [Effect.DELETED]


def test_a_stack_without_a_cluster_has_images_that_nobody_is_served() -> None:
    images = {key: value for key, value in STACK.items() if key not in {"cluster", "nodePools", "platforms"}}
    taken = {key: value for key, value in QWEN.items() if key not in {"nodePool", "replicas", "args", "digest"}}

    def only(commit: str) -> Settings:
        return {**images, "models": {NAME: {**taken, "source": f"hf://Qwen/Qwen2.5-0.5B-Instruct@{commit * 40}"}}}

    found = verdict(only("0"), only("1"))
    assert effects(found) == {f"model {NAME}": Effect.UPDATED}
    assert found.stops == {}


def test_a_pause_stops_for_good_and_its_end_starts_a_model() -> None:
    paused = changed(models__qwen__paused=True)
    found = verdict(STACK, paused)
    assert effects(found) == {f"model {NAME}": Effect.STOPPED}
    assert found.stops[NAME].text == "yes: it is paused"
    assert found.sentence().startswith(f"model {NAME} is paused; nothing is replaced or deleted")
    back = verdict(paused, STACK)
    assert effects(back) == {f"model {NAME}": Effect.UPDATED}
    assert "paused" in [one.name for one in told(back.subjects[0], back.diff)]


def test_what_becomes_of_a_paused_model_stops_nobody() -> None:
    paused = {"models__qwen__paused": True}
    found = verdict(changed(**paused), changed(**paused, nodePools__l4__machineType="g2-standard-12"))
    assert effects(found) == {"pool l4": Effect.RECREATED, f"model {NAME}": Effect.UPDATED}
    assert NAME not in found.stops


def test_another_number_of_pods_replaces_none() -> None:
    found = verdict(changed(**ROOM), changed(**ROOM, models__qwen__replicas={"min": 1, "max": 3}))
    assert effects(found) == {f"model {NAME}": Effect.UPDATED}
    assert found.stops[NAME].text == "no: no pod is replaced"
    assert [one.name for one in told(found.subjects[0], found.diff)] == ["maxReplicas"]


def built(commit: str = "7ae557604adf67be50417f59c2c2f167def9a775", **keys: Any) -> Settings:
    taken = {key: value for key, value in QWEN.items() if key != "digest"}
    return changed(models__qwen={**taken, "source": f"hf://Qwen/Qwen2.5-0.5B-Instruct@{commit}", **keys}, **ROOM)


def test_a_model_that_is_built_anew_rolls_out_though_no_plan_knows_its_digest() -> None:
    found = verdict(built(), built("0" * 40))
    assert effects(found) == {f"model {NAME}": Effect.ROLLED_OUT}
    assert found.sentence().startswith("1 model is built anew and rolls out; nothing is replaced or deleted")
    (source,) = [one for one in told(found.subjects[0], found.diff) if one.name == "source"]
    assert str(source.after).endswith("0" * 40)
    assert fates(found.diff)[f"oci-model-serving:index:InferenceService::{NAME}"] is Fate.UPDATED


def test_a_model_more_on_the_pool_changes_none_of_those_that_are_there() -> None:
    """Their digests wait for one build more (the pool's disk), and are the same."""
    after = built()
    after["models"]["second"] = {**after["models"][NAME], "source": f"hf://org/second@{'1' * 40}"}
    found = verdict(built(), after)
    assert effects(found) == {"model second": Effect.CREATED}
    back = verdict(after, built())
    assert effects(back) == {"model second": Effect.DELETED}
    assert back.stops["second"].text == "yes: it is gone for good"


def test_arguments_of_a_model_whose_digest_is_not_known_roll_it_out_as_well() -> None:
    found = verdict(built(), built(args=["--max-model-len=4096"]))
    assert effects(found) == {f"model {NAME}": Effect.ROLLED_OUT}
    assert not found.subjects[0].built
    assert effects(verdict(built(), built(replicas={"min": 1, "max": 3}))) == {f"model {NAME}": Effect.UPDATED}
    other = {"kserve": {"version": "v0.20.0", "server": {"image": f"docker.io/vllm/vllm-openai@sha256:{'2e' * 32}"}}}
    served = verdict(built(), {**built(), "platforms": other})
    assert effects(served)[f"model {NAME}"] is Effect.ROLLED_OUT


def test_an_adapter_is_a_part_of_its_model() -> None:
    adapters = {"adapters": {"sql": {"digest": image("c"), "sizeGb": 0.1}}}
    found = verdict(changed(**ROOM), changed(**ROOM, models__qwen={**QWEN, **adapters}))
    assert effects(found) == {f"model {NAME}": Effect.ROLLED_OUT}


def test_what_another_stack_builds_anew_is_told_where_it_is_promoted() -> None:
    before = plan("prod", STACK)
    after = {**before, "promoted": {NAME: "b"}}
    diff = compare({**before, "promoted": {NAME: "a"}}, after)
    assert diff
    found = Verdict(diff)
    # The digest is known here: whatever the other stack does, this one takes the image that it names.
    assert found.subjects == []
    unknown = json.loads(json.dumps(after))
    model = unknown["outputs"]["models"][NAME]
    model.update(dict.fromkeys(("digest", "revision"), "known after an update of stack acme/x/dev"))
    found = Verdict(compare({**unknown, "promoted": {NAME: "a"}}, unknown))
    assert effects(found) == {f"model {NAME}": Effect.ROLLED_OUT}
    assert found.sentence().startswith("1 model rolls out to what another stack builds anew")
    assert "1 image that another stack makes anew" in as_text(found.diff)
    assert "another stack builds its image anew" in as_markdown(found.diff, "prod")


@pytest.mark.parametrize(
    ("other", "effect"),
    [
        ({"create": {"repository": "other"}}, Effect.REPLACED),
        ({"url": "us-docker.pkg.dev/elsewhere/models", "mutableTags": "accept"}, Effect.DELETED),
    ],
)
def test_a_protected_resource_that_goes_is_told_to_be_refused(other: Settings, effect: Effect) -> None:
    protected = changed(registry={"create": {"repository": "models", "protect": True}})
    found = verdict(protected, changed(registry=other))
    assert effects(found)["registry models"] is effect
    assert "gcp:artifactregistry:Repository is protected: the update will be refused" in as_markdown(found.diff, "prod")
    loose = changed(registry={"create": {"repository": "models", "protect": False}})
    assert "will be refused" not in as_markdown(verdict(loose, changed(registry=other)).diff, "prod")


def test_what_runs_again_with_every_change_makes_nothing_replaced() -> None:
    found = verdict(changed(**ROOM), changed(**ROOM, models__qwen__digest=image("b")))
    assert found.diff.counts()["replace"] >= 2
    assert "nothing is replaced or deleted" in found.sentence()


def test_a_new_stack_is_counted_and_priced_from_nothing() -> None:
    found = Verdict(compare(NO_PLAN, plan("prod", STACK)))
    assert found.sentence() == (
        "a new stack: 1 cluster, 1 registry, 1 pool, 1 platform, 1 allow list and 1 model; "
        "+$1.12/h at min, +$2.28/h at max"
    )


def test_the_same_plan_is_no_difference() -> None:
    one = plan("prod", STACK)
    found = Verdict(compare(one, one))
    assert (found.subjects, found.sentence()) == ([], "no differences")
    assert "\nNo differences.\n" in as_markdown(found.diff, "prod")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"at_min": [1, 1], "at_max": [1, 1]}, {"at_min": [1, 1], "at_max": [1, 1]}, "+$0.00/h"),
        (
            {"at_min": [1, 1], "at_max": [2, 2]},
            {"at_min": [1.5, 1.5], "at_max": [2, 2]},
            "+$0.50/h at min, +$0.00/h at max",
        ),
        ({"at_min": [2, 4], "at_max": [2, 4]}, {"at_min": [1, 1], "at_max": [1, 1]}, "-$3.00 to -$1.00/h"),
        ({"at_min": [1, 1]}, {"at_min": [1.001, 1.001]}, "+$0.00/h"),
        (
            {"at_min": [1, 1]},
            {"at_min": [1, 1], "unpriced": ["nodePools.b200"]},
            "+$0.00/h without nodePools.b200, which no price is known of",
        ),
    ],
)
def test_the_cost_is_told_by_what_it_adds(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    assert cost_change(WrittenCost.model_validate(before), WrittenCost.model_validate(after)) == said


def test_a_cost_that_one_plan_does_not_say_is_not_told_as_a_change() -> None:
    some = WrittenCost(at_min=(1, 1), at_max=(1, 1))
    assert cost_change(None, some) == ""
    assert cost_change(some, None) == ""
    assert cost_change(None, some, is_new=True) == "+$1.00/h"


def test_the_policys_refusal_comes_first_and_its_words_are_not_folded() -> None:
    diff = compare(NO_PLAN, plan("prod", STACK))
    policy = Policy(mandatory=["by-digest: m: write a digest"], advisory=["a: b: c"], new=["a: b: c"])
    text = as_markdown(diff, "prod", policy)
    assert text.splitlines()[1].startswith("### `prod`: the policy refuses it; a new stack")
    assert "**Policy: refused.**\n\n- `by-digest: m: write a digest`" in text.partition("<details>")[0]
    passed = as_markdown(diff, "prod", Policy(advisory=["a: b: c", "d: e: f"], new=["d: e: f"]))
    assert "**Policy:** passed, with 2 notes. New:\n\n- `d: e: f`\n" in passed
    assert "**Policy" not in as_markdown(diff, "prod")


def test_a_rule_that_many_resources_break_alike_is_one_note() -> None:
    """Of what the plan before broke as well nothing is new."""
    from oms.plan import policy_of

    tag = {"server": {"image": "docker.io/vllm/vllm-openai:v0.23.0"}}
    one = plan("prod", changed(platforms={"kserve": {"version": "v0.20.0", **tag}}))
    many = json.loads(json.dumps(one))
    found = [item for item in one["resources"] if item["type"].endswith(":InferenceService") and item["parent"]]
    many["resources"] += [{**found[0], "name": f"copy-{number}"} for number in range(5)]
    policy = policy_of(one, many, "prod")
    assert policy.mandatory == []
    (note,) = [message for message in policy.new if "tag can move" in message]
    assert note.endswith("(InferenceService copy-0, InferenceService copy-1, InferenceService copy-2 and 2 more)")
    (said,) = [message for message in policy.advisory if message.startswith(note.partition(" (")[0])]
    assert said.endswith("and 3 more)")
    assert policy_of(one, one, "prod").new == []
    many["resources"][0] = {
        **found[0],
        "inputs": {"spec": {"predictor": {"model": {"storageUri": "oci://r.example/m:v1"}}}},
    }
    assert any("storageUri" in message for message in policy_of(one, many, "prod").mandatory)


def test_a_model_that_scales_to_zero_stops_if_a_pod_of_it_runs() -> None:
    zero = {"models__qwen__replicas": {"min": 0, "max": 2}}
    before = kubeai(**zero)
    found = verdict(before, kubeai(**zero, nodePools__l4__machineType="g2-standard-12"))
    assert found.stops[NAME].text == "7.2 to 12 min: the nodes of pool l4 are recreated, unless it is at zero"
    assert f"model {NAME} stops for 7.2 to 12 min" in found.sentence()


def test_a_warning_that_the_plan_before_had_is_not_told_again() -> None:
    before, after = plan("prod", STACK), plan("prod", changed(models__qwen__digest=image("b")))
    text = as_markdown(compare({**before, "warnings": ["old"]}, {**after, "warnings": ["old", "new `x`"]}), "prod")
    assert "**New warnings:**\n\n- `new 'x'`\n" in text
    assert "`old`" not in text


def test_scripts_get_the_verdict_its_subjects_and_the_policy() -> None:
    found = verdict(STACK, changed(nodePools__l4__machineType="g2-standard-12"))
    data = json.loads(json.dumps(Verdict(found.diff, Policy(advisory=["a"])).data()))
    assert data["verdict"] == found.sentence()
    assert [(one["kind"], one["name"], one["effect"]) for one in data["subjects"]] == [
        ("pool", "l4", "nodes recreated"),
        ("model", NAME, "pods stop"),
    ]
    assert data["subjects"][1]["stop"]["stops"] is True
    assert len(data["subjects"][1]["stop"]["seconds"]) == 2
    assert data["policy"] == {"mandatory": [], "advisory": ["a"], "new": []}
    assert data["counts"]["update"] == 2 + 1


def test_what_is_said_to_be_of_no_pod_is_what_the_models_scale_by() -> None:
    """The two lists of the components hold what is set of them, for a model with all of it."""
    scaled: Callable[..., Settings] = lambda delivery: serving.gke(  # noqa: E731
        {"m": {"digest": serving.IMAGE, "nodePool": "l4", "delivery": delivery, "replicas": {"min": 1, "max": 3}}}
    )
    recording = serving.run(scaled("kubeai"))
    (kube,) = serving.of_kind(recording, "Model")
    assert {"minReplicas", "maxReplicas", "autoscalingDisabled"} <= kube["spec"].keys() & kubeai_model.NOT_OF_THE_POD
    (isvc,) = serving.of_kind(serving.run(scaled("modelcar")), "InferenceService")
    assert isvc["spec"]["predictor"].keys() & predictor.NOT_OF_THE_POD == predictor.NOT_OF_THE_POD - {"autoScaling"}
