"""What pytest is told for all tests."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `xdist_group` count: pytest 9.2 reads a test's id from elsewhere than pytest-xdist 3.8 writes the group to.

    Without it each worker starts what a group shares, a cluster or deployed stacks.
    """
    for item in items:
        grouped = vars(item).get("_nodeid")
        if grouped:
            item._id = type(item.id).parse(grouped)
