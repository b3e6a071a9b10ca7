"""Lets training have a kernel: the registry's guard first, then the alias, then the index."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.registry.errors import GuardError, IllegalTransitionError
from morph_assets.registry.kernels import KernelRecord
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.find_release import FoundRelease, find_release
from morph_assets.usecases.move_alias import move_alias
from morph_assets.usecases.publish_index import refresh_index
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest

_FIT = ("PUBLISHED", "VALIDATED")


@dataclass(frozen=True)
class PublishedKernel:
    """A kernel in service and the alias and index generation by which loaders find it."""

    name: str
    digest: KernelDigest
    version: int
    alias: str
    generation: int


class NotPublishableError(MorphError):
    """No kernel of the release may be published; the message names the newest one's state and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} cannot be published: {why}")


@acknowledged
def publish_kernel(
    connections: Connections, name: str, *, alias: str = "production", version: int | None = None
) -> PublishedKernel:
    """Publish every validated kernel of a release and point the alias at it; doing it again changes nothing.

    One that the registry does not let pass, as a speculative one that no curator approved, stays VALIDATED.

    Raises:
        NotPublishableError: none is validated, or the registry's guard refuses every one.
        StoreError: the registry has it, the loaders do not yet; the relay or another call brings it to them.
    """
    release = find_release(connections, name, version=version)
    digest = _publish_validated(connections, release)
    name = release.blueprint.name
    move_alias(connections, name, alias, release.record.version)
    return PublishedKernel(name, digest, release.record.version, alias, refresh_index(connections, name))


def _publish_validated(connections: Connections, release: FoundRelease) -> KernelDigest:
    registry = connections.registry("publisher")
    found = kernels.list_kernels(registry, blueprint_digest=release.blueprint.digest)
    fit = sorted((kernel for kernel in found if kernel.state in _FIT), key=lambda kernel: kernel.created_at)
    if not fit:
        raise NotPublishableError(release.blueprint.name, _why_none(found))
    refused: list[MorphError] = []
    published: list[KernelDigest] = []
    for kernel in fit:
        try:
            kernels.publish_kernel(registry, kernel.digest)
        except (GuardError, IllegalTransitionError) as error:
            refused.append(error)
        else:
            published.append(kernel.digest)
    if not published:
        raise NotPublishableError(release.blueprint.name, str(refused[-1])) from refused[-1]
    return published[-1]


def _why_none(found: list[KernelRecord]) -> str:
    if not found:
        return "it has no kernel yet; run `morph kernel compile` first"
    newest = max(found, key=lambda kernel: kernel.created_at)
    reason = f" ({newest.state_reason})" if newest.state_reason else ""
    return f"kernel {newest.digest[:12]} is {newest.state}{reason}, and only a VALIDATED one may be"
