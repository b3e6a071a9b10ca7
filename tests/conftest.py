"""Fixtures that several kinds of tests share come from the modules in `tests/support`."""

import pytest

# The support modules import each other, so they are to be rewritten before the first of them is.
pytest.register_assert_rewrite("tests.support")

pytest_plugins = [
    "tests.support.services",
    "tests.support.backups",
    "tests.support.flawed_kernel",
    "tests.support.hostile_ground",
    "tests.support.hostile_host",
    "tests.support.judging",
    "tests.support.kernels",
    "tests.support.registry",
    "tests.support.registry_life",
    "tests.support.sandboxes",
    "tests.support.seaweedfs",
    "tests.support.project_folder",
    "tests.support.signing",
    "tests.support.platform",
    "tests.support.traps",
    "tests.support.valkey",
    "tests.support.orchestration",
    "tests.support.browser",
    "tests.support.served",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests, so that no worker is left alone with one in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
