"""The suite's fixtures are those of tests/e2e."""

from tests.e2e.conftest import base, node, nothing_left, server, weights  # noqa: F401 - fixtures
