"""Hears what loaders asked for."""

from datetime import UTC, datetime
from itertools import islice

from morph_assets.connections import Connections
from morph_assets.registry import blueprints, kernels
from morph_assets.registry.artifacts import list_places
from morph_assets.usecases.plan_build_requests import AnsweredRequest, Workshop, plan_build_requests
from morph_kernels.artifact.build_request import MAX_REQUEST_BYTES, BuildRequest, read_request
from morph_kernels.artifact.target import current_runtime
from morph_kernels.compile.recipe import STANDARD_ISA
from morph_kernels.identity import BlueprintDigest, KernelDigest, ObjectKey
from morph_kernels.store import ObjectNotFoundError, ObjectTooLargeError
from morph_kernels.store.keys import build_request_prefix

# Whoever may write to the store may leave any number; the rest is heard once these are answered.
_HEARD = 500


def find_build_requests(connections: Connections) -> tuple[AnsweredRequest, ...]:
    """Return what loaders asked for, each with its answer; changes nothing.

    Raises:
        StoreError: the store does not answer.
    """
    listed = islice(connections.store.list_objects(build_request_prefix(connections.tenant)), _HEARD)
    requests = [(info.key, _read(connections, info.key)) for info in listed]
    if not requests:
        return ()
    return plan_build_requests(requests, _workshop(connections, [request for _, request in requests if request]))


def _read(connections: Connections, key: ObjectKey) -> BuildRequest | None:
    try:
        return read_request(connections.store.get(key, max_bytes=MAX_REQUEST_BYTES))
    except (ObjectNotFoundError, ObjectTooLargeError):
        return None


def _workshop(connections: Connections, requests: list[BuildRequest]) -> Workshop:
    registry = connections.registry("platform")
    releases = {release.blueprint_digest: release.name for release in blueprints.list_blueprints(registry)}
    states = {
        digest: {kernel.state for kernel in kernels.list_kernels(registry, blueprint_digest=digest)}
        for digest in {request.blueprint_digest for request in requests} & set(releases)
    }
    today = datetime.now(UTC).date()
    return Workshop(releases, states, STANDARD_ISA, current_runtime().torch, today, _cold(connections, requests))


def _cold(connections: Connections, requests: list[BuildRequest]) -> dict[BlueprintDigest, tuple[KernelDigest, ...]]:
    registry = connections.registry("platform")
    places = {} if connections.cold_store is None else list_places(registry)
    if "cold" not in places.values():
        return {}
    return {
        blueprint: tuple(
            kernel.digest
            for kernel in kernels.list_kernels(registry, blueprint_digest=blueprint, states=("PUBLISHED",))
            if places.get(kernel.digest) == "cold"
        )
        for blueprint in {request.blueprint_digest for request in requests}
    }
