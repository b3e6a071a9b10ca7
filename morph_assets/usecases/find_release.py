"""From what a person asks for to one release with its design."""

from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry import blueprints
from morph_assets.registry.blueprints import ReleaseRecord
from morph_assets.registry.errors import NotRegisteredError
from morph_kernels.blueprint import Blueprint
from morph_kernels.identity import parse_name


@dataclass(frozen=True)
class FoundRelease:
    """A release and the blueprint in it."""

    record: ReleaseRecord
    blueprint: Blueprint


def find_release(connections: Connections, what: str, *, version: int | None = None) -> FoundRelease:
    """Return the release of `name` (the newest), `name@3` (by version) or `name@production` (by alias).

    Raises:
        NotRegisteredError: there is none.
        InvalidNameError: the name or the alias has not the right form.
    """
    registry = connections.registry("platform")
    name, _, place = what.partition("@")
    name, alias = parse_name(name, what="blueprint"), None
    if place.isdigit():
        version = int(place)
    elif place:
        alias = parse_name(place, what="alias")
    record = blueprints.find_release(registry, name, version=version, alias=alias)
    document = None if record is None else blueprints.find_blueprint_document(registry, record.blueprint_digest)
    if record is None or document is None:
        asked = f"{name}@{alias or version}" if alias or version else name
        raise NotRegisteredError(
            f"no release {asked}: submit the blueprint first, or see `morph blueprint show {name}`"
        )
    return FoundRelease(record, Blueprint.from_bytes(document, name=name, tags=record.tags))
