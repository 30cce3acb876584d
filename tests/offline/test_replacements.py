import inspect
import json
import re

import pulumi_command
import pytest

from offline import replacements
from offline.replacements import replaces
from tests.offline import replacing
from tests.plans import golden

TABLE = json.loads(replacing.OUTPUT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("stack", golden.STACKS)
def test_every_type_of_a_provider_in_the_plans_has_an_entry(stack: str) -> None:
    resources = json.loads(golden.path(stack).read_text(encoding="utf-8"))["resources"]
    types = {one["type"] for one in resources if one["type"].startswith(("gcp:", "command:", "pulumi:providers:"))}

    assert types <= TABLE["types"].keys()
    assert types


@pytest.mark.parametrize(
    "path",
    ["nodeConfig.machineType", "nodeConfig.bootDisk.sizeGb", "nodeConfig.bootDisk.diskType", "autoscaling", "version"],
)
def test_what_a_pool_takes_in_place_does_not_replace_it(path: str) -> None:
    assert not replaces("gcp:container/nodePool:NodePool", path, "a", "b")


@pytest.mark.parametrize(
    ("type_", "path"),
    [
        ("gcp:container/nodePool:NodePool", "name"),
        ("gcp:container/nodePool:NodePool", "initialNodeCount"),
        ("gcp:container/nodePool:NodePool", "nodeConfig.spot"),
        ("gcp:container/nodePool:NodePool", "nodeConfig.guestAccelerators[0].type"),
        ("gcp:container/cluster:Cluster", "network"),
        ("gcp:compute/router:Router", "region"),
        ("gcp:compute/routerNat:RouterNat", "router"),
        ("gcp:projects/iAMMember:IAMMember", "member"),
        ("kubernetes:core/v1:Namespace", "metadata.name"),
        ("kubernetes:serving.kserve.io/v1beta1:InferenceService", "metadata.namespace"),
    ],
)
def test_what_cannot_change_in_place_replaces(type_: str, path: str) -> None:
    assert replaces(type_, path, "a", "b")


def test_what_a_command_is_replaced_for_is_what_its_installed_sdk_says() -> None:
    (said,) = re.findall(r"replace_on_changes=\[(.*?)\]\)", inspect.getsource(pulumi_command.local.Command))
    assert TABLE["types"]["command:local:Command"] == [one.strip('" ').removesuffix("[*]") for one in said.split(",")]


SCHEMA = {
    "resources": {
        "gcp:compute/router:Router": {
            "inputProperties": {
                "region": {"type": "string", "willReplaceOnChanges": True},
                "description": {"type": "string"},
                "bgp": {"$ref": "#/types/gcp:compute%2FRouterBgp:RouterBgp", "willReplaceOnChanges": True},
                "peers": {"type": "array", "items": {"$ref": "#/types/gcp:compute%2FRouterPeer:RouterPeer"}},
                "triggers": {"type": "array", "items": {"$ref": "pulumi.json#/Any"}, "replaceOnChanges": True},
            }
        }
    },
    "types": {
        "gcp:compute/RouterBgp:RouterBgp": {
            "properties": {"asn": {"type": "integer", "willReplaceOnChanges": True}, "mode": {"type": "string"}}
        },
        "gcp:compute/RouterPeer:RouterPeer": {
            "properties": {
                "name": {"type": "string", "willReplaceOnChanges": True},
                "next": {"$ref": "#/types/gcp:compute%2FRouterPeer:RouterPeer"},
            }
        },
    },
}
"""In the form of `pulumi package get-schema`, bridged and native marks alike."""


def test_a_schemas_marks_are_read_however_deep_they_are() -> None:
    assert replacing.replacing(SCHEMA, "gcp:compute/router:Router") == [
        "bgp.asn",
        "bgp{}",
        "peers.name",
        "region",
        "triggers",
    ]


def test_a_providers_rows_change_with_its_schema_and_the_others_stay() -> None:
    table = {
        "sources": {"gcp": "old", "command": "x"},
        "types": {"gcp:compute/router:Router": [], "command:l:C": ["t"]},
    }

    fresh = replacing.updated(table, "gcp", SCHEMA, "schema")

    assert fresh["sources"] == {"gcp": "schema", "command": "x"}
    assert fresh["types"]["command:l:C"] == ["t"]
    assert "region" in fresh["types"]["gcp:compute/router:Router"]
    assert json.loads(replacing.written(fresh)) == fresh


def test_a_block_replaces_where_it_appears_and_not_for_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        replacements, "_table", lambda: {"router": replacing.replacing(SCHEMA, "gcp:compute/router:Router")}
    )

    assert replaces("router", "bgp", "(not set)", {"mode": "x"})
    assert replaces("router", "bgp.asn", 1, 2)
    assert not replaces("router", "bgp.mode", "a", "b")


def test_the_committed_table_is_in_the_form_that_the_script_writes() -> None:
    assert replacing.OUTPUT.read_text(encoding="utf-8") == replacing.written(TABLE)
