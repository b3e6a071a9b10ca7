"""Takes a design into the registry, after the same rules that judge a hostile one."""

from collections.abc import Sequence
from pathlib import Path

from morph_assets.connections import Connections
from morph_assets.registry import blueprints as registry_blueprints
from morph_assets.registry.blueprints import SubmittedRelease
from morph_assets.usecases.acknowledge import acknowledged
from morph_kernels.blueprint import Blueprint


@acknowledged
def submit_blueprint(
    connections: Connections, source: Blueprint | Path | str, *, tags: Sequence[str] = (), author: str | None = None
) -> SubmittedRelease:
    """Release the blueprint under its name; the same design submitted twice is one release.

    Args:
        connections: the platform's servers.
        source: a blueprint, a yaml file, or yaml text.
        tags: beside the blueprint's own.
        author: who made it; nobody where None.

    Raises:
        BlueprintError: the design is refused; nothing of it was kept.
    """
    blueprint = source if isinstance(source, Blueprint) else Blueprint.from_yaml(source)
    data = blueprint.to_bytes()
    # Through the rules once more: what is stored must be readable by everybody who will have only the bytes.
    checked = Blueprint.from_bytes(data, name=blueprint.name, tags=tuple(dict.fromkeys((*blueprint.tags, *tags))))
    return registry_blueprints.submit_blueprint(
        connections.registry("platform"), checked.name, checked.digest, data, tags=checked.tags, author=author or ""
    )
