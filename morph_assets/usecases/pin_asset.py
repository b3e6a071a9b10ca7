"""Keeps a kernel, a release or a checkpoint from being removed."""

from datetime import datetime

from morph_assets.connections import Connections
from morph_assets.registry import pins
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def pin_asset(connections: Connections, subject: str, *, reason: str, until: datetime | None = None) -> None:
    """Pin the subject (`kernel/<digest>`, `release/<name>@<version>`, `checkpoint/<id>`).

    Raises:
        NotRegisteredError: there is no such thing.
        GuardError: it is retired or gone already.
    """
    pins.pin(connections.registry("curator"), subject, reason=reason, until=until)
