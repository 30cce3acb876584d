import json

import pytest

from tests.plans import golden

NODE = "roles/container.defaultNodeServiceAccount"
READER = "roles/artifactregistry.reader"


def grants(stack: str) -> set[tuple[str, str, str]]:
    """Role, what it is bound on and to whom: every binding of a stack, of whatever kind."""
    resources = json.loads(golden.path(stack).read_text(encoding="utf-8"))["resources"]
    bindings = [resource["inputs"] for resource in resources if "iam" in resource["type"].lower()]
    return {
        (
            binding["role"],
            f"repository {binding['repository']}" if "repository" in binding else f"project {binding['project']}",
            binding["member"],
        )
        for binding in bindings
    }


@pytest.mark.parametrize(("stack", "project", "cluster"), [("dev", "demo", "demo"), ("prod", "demo-prod", "prod")])
def test_a_stack_grants_what_its_nodes_need_and_nothing_else(stack: str, project: str, cluster: str) -> None:
    account = f"serviceAccount:{cluster}-{{}}@{project}.iam.gserviceaccount.com"

    assert grants(stack) == {
        (NODE, f"project {project}", account.format("system")),
        (NODE, f"project {project}", account.format("l4")),
        (READER, "repository models", account.format("l4")),
    }


@pytest.mark.parametrize("stack", golden.STACKS)
def test_no_binding_takes_roles_from_others(stack: str) -> None:
    resources = json.loads(golden.path(stack).read_text(encoding="utf-8"))["resources"]

    authoritative = [
        resource["type"]
        for resource in resources
        if resource["type"].lower().endswith(("iambinding", "iampolicy")) or "accountkey" in resource["type"].lower()
    ]
    assert authoritative == []
