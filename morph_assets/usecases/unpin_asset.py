"""Takes a pin away."""

from morph_assets.connections import Connections
from morph_assets.registry import pins
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def unpin_asset(connections: Connections, subject: str, *, reason: str) -> bool:
    """Unpin the subject; false if it was not pinned."""
    return pins.unpin(connections.registry("curator"), subject, reason=reason)
