"""Refusals, told on a connection of their own: the refused transaction is rolled back, and these must stay."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

RefusalType = Literal["security.access_refused", "security.signature_refused", "security.trust_changed"]

# What nobody does by accident: another's rows, a change without its event, an edit of what is written once.
REFUSED_STATES = frozenset({"42501", "MO001", "MO007", "MO009"})
_CONNECT_S = 2
_LIMITS = "SET statement_timeout = '500ms'; SET lock_timeout = '250ms'"
# After a server that did not answer nobody who is refused waits for it again at once.
_PAUSE_S = 10.0
_MAX_TEXT = 200


class RefusalTeller:
    """Tells of refusals as one login; never raises, and never takes longer than its limits.

    `untold` counts those that could not be told: an unreachable server, a login without a tenant.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._silent_until = 0.0
        self.untold = 0

    def tell(self, kind: RefusalType, facts: Mapping[str, Any], *, subject: str | None = None) -> bool:
        """Tell of a refusal and return whether it was taken note of; the database suppresses repetitions itself."""
        if time.monotonic() >= self._silent_until:
            try:
                self._tell(kind, facts, subject)
            except psycopg.OperationalError:
                self._silent_until = time.monotonic() + _PAUSE_S
            except psycopg.Error:
                pass  # this one cannot be told, the next one may
            else:
                return True
        self.untold += 1
        return False

    def _tell(self, kind: RefusalType, facts: Mapping[str, Any], subject: str | None) -> None:
        short = {name: value[:_MAX_TEXT] if isinstance(value, str) else value for name, value in facts.items()}
        with psycopg.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_S, prepare_threshold=None
        ) as connection:
            about = (subject or f"login/{connection.info.user}").encode("ascii", "replace").decode()[:_MAX_TEXT]
            connection.execute(_LIMITS)
            connection.execute("SELECT morph.record_security(%s, %s, %s)", (kind, about, Jsonb(short)))
