"""The release that a name stands for, with the shipped blueprints at hand without being submitted by anybody."""

from morph_assets.connections import Connections
from morph_assets.registry import blueprints
from morph_assets.registry.blueprints import ReleaseRecord
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.usecases.submit_blueprint import submit_blueprint
from morph_kernels.blueprint.shipped import library_paths
from morph_kernels.identity import parse_name


def shipped_names() -> tuple[str, ...]:
    """Return the names of the blueprints that come with the distribution; reads no file."""
    return tuple(path.stem for path in library_paths())


def adopt_blueprint(connections: Connections, name: str) -> ReleaseRecord:
    """Return the newest release of the name; a shipped blueprint that has none is released now.

    Raises:
        NotRegisteredError: nobody submitted it, and none of this name is shipped.
        InvalidNameError: it is no name.
    """
    registry = connections.registry("platform")
    found = blueprints.find_release(registry, parse_name(name, what="blueprint"))
    if found is not None:
        return found
    shipped = {path.stem: path for path in library_paths()}
    if name not in shipped:
        raise NotRegisteredError(f"no blueprint named {name}: run `morph blueprint submit`")
    submit_blueprint(connections, shipped[name])
    return adopt_blueprint(connections, name)
