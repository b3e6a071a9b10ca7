"""Logins that the server refused: only its own log knows of them, so they are brought into the chain from there."""

from datetime import datetime

from morph_assets.registry.connection import Registry


def record_failed_logins(registry: Registry, login: str, minute: datetime, count: int) -> bool:
    """Tell how often the login was refused in that minute. As auditor.

    False for what was told before, and for a login that is not this tenant's.
    """
    (seq,) = registry.call("SELECT morph.record_failed_logins(%s, %s, %s)", (login, minute, count))
    return seq is not None
