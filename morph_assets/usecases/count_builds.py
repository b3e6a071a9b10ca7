"""Counts how often the compiler really ran."""

from morph_assets.connections import Connections
from morph_assets.registry import builds
from morph_kernels.identity import BuildKey


def count_builds(connections: Connections, build_key: BuildKey) -> int:
    """Return how many compiler runs of the build key gave a kernel; more than one was work for nothing."""
    found = builds.list_builds(connections.registry("platform"), build_key=build_key)
    return sum(build.outcome != "failed" for build in found)
