"""What pytest is told for all tests."""

import os

import hypothesis
import pytest

# A plan asks the hub where it can be reached: what a test says must not hang on that. Tests with a hub of their own
# (tests/hub.py) take it away again. Set before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"
# How long an example takes is the machine's load, and no property.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `xdist_group` count: pytest 9.2 reads a test's id from elsewhere than pytest-xdist 3.8 writes the group to.

    Without it each worker starts what a group shares, a cluster or deployed stacks.
    """
    for item in items:
        grouped = vars(item).get("_nodeid")
        if grouped:
            item._id = type(item.id).parse(grouped)
