"""Everything that is known about one blueprint."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.blueprints import ReleaseRecord, find_blueprint_document, list_releases
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.registry.kernels import KernelRecord, list_kernels
from morph_kernels.blueprint import Blueprint


@dataclass(frozen=True)
class ShownBlueprint:
    """The newest release's design, all releases oldest first, and the kernels of any of them."""

    blueprint: Blueprint
    releases: tuple[ReleaseRecord, ...]
    kernels: tuple[KernelRecord, ...]


def show_blueprint(connections: Connections, name: str) -> ShownBlueprint:
    """Return what is known about the name.

    Raises:
        NotRegisteredError: nobody submitted it.
    """
    registry = connections.registry("platform")
    releases = list_releases(registry, name=name)
    if not releases:
        raise NotRegisteredError(f"no blueprint named {name}: submit it first")
    newest = releases[-1]
    document = find_blueprint_document(registry, newest.blueprint_digest)
    if document is None:
        raise NotRegisteredError(f"the document of {name}@{newest.version} is missing")
    blueprint = Blueprint.from_bytes(document, name=name, tags=newest.tags)
    digests = dict.fromkeys(release.blueprint_digest for release in releases)
    kernels = (kernel for digest in digests for kernel in list_kernels(registry, blueprint_digest=digest))
    return ShownBlueprint(blueprint, tuple(releases), tuple(kernels))
